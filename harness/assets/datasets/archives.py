"""The archives in which owners give their sets out: fetched when they are asked for, verified, unpacked once.

What was unpacked lies in ``data/archives/<folder>/`` and is looked at as a folder of the user's own would be. An
archive lies beside it until it is unpacked, and is deleted then if it was downloaded. One that a browser has to fetch
is put there by the user, or into ``archives/`` of a mirror; such a file is never deleted.

The SHA-256 of every archive is noted when it is first seen, and held from then on; where a checksum is published, the
archive has to have that one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.assets.datasets.extracting import is_plausible, unpack_archive
from harness.assets.datasets.registry import Archive, Dataset
from harness.assets.download import Downloader, DownloadError, UnreachableError
from harness.assets.fetching import Failure, alone, place
from harness.assets.hosts import Hosts, host_name, mirrors
from harness.assets.places import ADVICE
from harness.assets.progress import ProgressBar, bytes_text
from harness.assets.verified import Hashes
from harness.errors import HarnessError
from harness.files import cannot_write, update_text

FOLDER = "archives"


def archive_note(data: Path, archive: Archive) -> dict[str, Any]:
    """Read what is known of an archive that was seen here.

    Returns: ``sha256`` of the file, ``downloaded`` (whether by this program), and ``files``: size and modification time
        (ns) by relative name, none while it is not unpacked. Empty where it was never seen, or the note is damaged.
    """
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads(_note_path(data, archive).read_bytes())
        return {key: kind(note[key]) for key, kind in (("sha256", str), ("downloaded", bool), ("files", dict))}
    return {}


def archive_text(archive: Archive) -> str:
    """Name an archive with its size and where it comes from, for readers."""
    size = bytes_text(archive.bytes) if archive.bytes else "size not known"
    return f"{archive.name} ({size}) from {host_name((*archive.urls, archive.page)[0])}"


class ArchiveFetch:
    """Gets the archives of one set.

    `say`: Gets sentences about what was noticed.
    """

    def __init__(self, record: Dataset, data: Path, hosts: Hosts, say: Callable[[str], None]) -> None:
        self.record = record
        self.tried: list[str] = []
        self._data = data
        self._hosts = hosts
        self._say = say
        self._hashes = Hashes({})

    def fetch(self) -> None:
        """Get and unpack what is not unpacked yet; `tried` says why an archive could not be had.

        Raises HarnessError: An archive that is here is damaged or another file, it may not be unpacked, or the disk has
            no room.
        """
        for archive in self.record.archives:
            with alone(_note_path(self._data, archive).with_suffix(".lock"), archive.name, self._say):
                note = archive_note(self._data, archive)
                if self._is_unpacked(archive, note):
                    continue
                path = self._here(archive, note) or self._mirrored(archive, note) or self._downloaded(archive, note)
                if path is not None:
                    self._unpack(archive, path)

    def _is_unpacked(self, archive: Archive, note: dict[str, Any]) -> bool:
        """Return whether what was unpacked from this very archive is there and unchanged."""
        if not note.get("files") or archive.sha256 not in ("", note["sha256"]):
            return False
        folder = self._data / FOLDER / archive.unpacked_into
        if note["files"] == _stats(folder, note["files"]):
            return True
        self._say(f"{folder}: is not what was unpacked from {archive.name} any more; fetching that again")
        return False

    def _here(self, archive: Archive, note: dict[str, Any]) -> Path | None:
        """Give the archive that lies in its place: put there, or downloaded by a run that was broken off."""
        path = self._data / FOLDER / archive.name
        if not path.is_file():
            return None
        wrong = self._wrong(archive, path, note)
        if not wrong:
            return path
        if note.get("downloaded"):
            self._say(f"{path}: {wrong}; fetching it again")
            return None
        raise HarnessError(f"{path}: {wrong}; delete it, or put the right file there")

    def _mirrored(self, archive: Archive, note: dict[str, Any]) -> Path | None:
        """Give the archive of a mirror's folder."""
        for path in (mirror / FOLDER / archive.name for mirror in mirrors()[0]):
            if path.is_file():
                wrong = self._wrong(archive, path, note)
                if not wrong:
                    return path
                self.tried.append(f"the mirror's {archive.name} {wrong}")
                self._say(f"{path}: {wrong}; it is not used")
        return None

    def _wrong(self, archive: Archive, path: Path, note: dict[str, Any]) -> str:
        """Say how a file differs from the archive that is registered or was seen before; empty where it does not."""
        try:
            size = path.stat().st_size
            if archive.bytes not in (0, size):
                return f"has {size} bytes instead of {archive.bytes}"
            sha256 = self._hashes.sha256(path)
            with open(path, "rb") as file:
                sha1 = hashlib.file_digest(file, lambda: hashlib.sha1(usedforsecurity=False)) if archive.sha1 else None
            if archive.sha256 not in ("", sha256) or (sha1 and sha1.hexdigest() != archive.sha1):
                return "has a wrong checksum"
            if not archive.sha256 and note.get("sha256", sha256) != sha256:
                return f"has another SHA-256 than at the first fetch, which state/archives/{archive.name}.json holds"
            if not (archive.sha256 or archive.sha1) and not is_plausible(path):
                return "is no file of the kind that its name says"
        except OSError as error:
            return f"cannot be read ({error.strerror or error})"
        return ""

    def _downloaded(self, archive: Archive, note: dict[str, Any]) -> Path | None:
        """Download the archive from the first address that has it, and note its SHA-256."""
        path = self._data / FOLDER / archive.name
        part = path.with_name(f".{archive.name}.part")
        mirrored = [f"{url}/{FOLDER}/{archive.name}" for url in mirrors()[1]]
        urls = [*mirrored, *archive.urls]
        if not urls:
            self.tried.append(f"{archive.name} has to be fetched by a browser, from {archive.page}")
            return None
        free = _make(path.parent)
        here = part.stat().st_size if part.is_file() else 0
        # Images hardly shrink when they are packed.
        needed = archive.bytes * (2 if archive.packed else 1) - here
        if archive.bytes and needed > free:
            raise HarnessError(
                f"{path}: downloading and unpacking it takes {bytes_text(needed)} and {bytes_text(free)} are free; "
                "make room or name another folder with --data"
            )
        wrong = ""

        def is_whole(file: Path) -> bool:
            nonlocal wrong
            wrong = self._wrong(archive, file, note)
            return not wrong

        with ProgressBar(archive.name, archive.bytes or None, in_bytes=True) as bar:
            bar.advance(here)
            downloader = Downloader(self._hosts, bar.advance)
            for url in urls:
                wrong = ""
                where = "the mirror" if url in mirrored else host_name(url)
                try:
                    downloader.download(url, part, archive.bytes, is_whole, here + free)
                    os.replace(part, path)
                    self._write(archive, True, {})
                    return path
                except UnreachableError:
                    failure = Failure(where, "")
                except DownloadError as error:
                    failure = Failure(where, f"what it sends {wrong}" if wrong else str(error))
                except OSError as error:
                    raise cannot_write(path, error, ADVICE) from error
                self.tried.append(f"{archive.name} {failure.text}" if failure.problem else failure.text)
                self._say(f"{self.record.name}: {archive.name}: {failure.text}")
        return None

    def _unpack(self, archive: Archive, path: Path) -> None:
        """Unpack a verified archive, or put a file that is none in its place; delete it if it was downloaded."""
        folder = self._data / FOLDER / archive.unpacked_into
        downloaded = path.parent == folder.parent and bool(archive_note(self._data, archive).get("downloaded"))
        sha256 = self._hashes.sha256(path)
        if archive.packed:
            names = unpack_archive(path, folder)
        else:
            names = [archive.name]
            _make(folder)
            if downloaded:
                os.replace(path, folder / archive.name)
            else:
                place(path, folder / archive.name)
        self._write(archive, downloaded, _stats(folder, names), sha256)
        if downloaded and archive.packed:
            path.unlink(missing_ok=True)

    def _write(self, archive: Archive, downloaded: bool, files: dict[str, Any], sha256: str = "") -> None:
        sha256 = sha256 or self._hashes.sha256(self._data / FOLDER / archive.name)
        note = {"sha256": sha256, "downloaded": downloaded, "files": files}
        update_text(_note_path(self._data, archive), json.dumps(note, separators=(",", ":")), ADVICE)


def _note_path(data: Path, archive: Archive) -> Path:
    return data / "state" / FOLDER / f"{archive.name}.json"


def _stats(folder: Path, names: Any) -> dict[str, list[int]]:
    """Give size and modification time of files; those that are not there are left out."""
    stats: dict[str, list[int]] = {}
    for name in names:
        with contextlib.suppress(OSError):
            stat = (folder / name).stat()
            stats[name] = [stat.st_size, stat.st_mtime_ns]
    return stats


def _make(folder: Path) -> int:
    """Make a folder; give the free bytes of its disk."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return shutil.disk_usage(folder).free
    except OSError as error:
        raise cannot_write(folder, error, ADVICE) from error
