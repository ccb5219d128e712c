"""Unpacking zip and tar archives that strangers made: whole or not at all, and nothing but what a set is made of.

Names, kinds and sizes of all members are looked at before the first byte is written. Images, MATLAB arrays and lists
are written, as plain files below one folder; whatever else lies in the archive is left in it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Self

from harness.assets.datasets.folders import IMAGE_SUFFIXES, MAC_SHADOWS
from harness.assets.datasets.registry import TARRED, ZIPPED
from harness.assets.places import ADVICE
from harness.assets.progress import ProgressBar, bytes_text
from harness.errors import HarnessError
from harness.files import cannot_write
from harness.names import is_safe

_KEPT = (*IMAGE_SUFFIXES, ".mat", ".txt")
# Images hardly shrink when they are packed. Small files have headers and lists of text.
_RATIO = 10
_SMALL = 1 << 20
_MOST_FILES = 200_000  # seven times as many as the largest set has
# Left free on the disk: what is written next to the set would fail as well.
_SPARE = 64 << 20
_AT_ONCE = 1 << 20
_MOST_PADDING = 16  # MiB; tar writes 10 kB

# Headers of a tar file that hold text about the next one, and are read into memory whole.
_TELLING = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Member(NamedTuple):
    """A member that is no folder: its name, its size, whether it is a plain file, and what the archive calls it."""

    name: str
    size: int
    plain: bool
    handle: Any


class _Header(tarfile.TarInfo):
    """A header of a tar file that declares no more than headers have."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        header = super().frombuf(buf, encoding, errors)
        if header.size < 0 or (header.type in _TELLING and header.size > _SMALL):
            raise ValueError("a header of an impossible size")
        return header


def is_plausible(path: Path) -> bool:
    """Return whether a file may be what its name says and is no page of a server; OSError where it cannot be read.

    `path`: A file called like an archive, or so with a dot in front and another suffix behind while it is downloaded.
    """
    with open(path, "rb") as file:
        if file.read(64).lstrip()[:1] == b"<":
            return False
    name = path.name.removesuffix(".part").lower()
    if name.endswith(ZIPPED):
        return zipfile.is_zipfile(path)
    return not name.endswith(TARRED) or tarfile.is_tarfile(path)


def unpack_archive(path: Path, folder: Path) -> list[str]:
    """Unpack an archive into a folder, which then holds nothing else.

    `path`: A zip file or a tar file, by its name.
    `folder`: Appears when everything is written. A run that was broken off leaves a hidden folder, which the next one
        clears.
    Returns: Relative names of the files that were written, sorted.
    Raises HarnessError: The archive is damaged or encrypted, holds names that leave the folder, links or devices among
        the images, or unpacks to more than it may or than the disk has room for; or something cannot be written.
    """
    part = folder.with_name(f".{folder.name}.part")
    with _told(path, part):
        with _opened(path) as (members, read):
            wanted = _planned(path, members, _room(part))
            with ProgressBar(f"unpacking {path.name}", sum(one.size for one in wanted), in_bytes=True) as bar:
                for member in wanted:
                    target = part / member.name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    with read(member.handle) as source, open(target, "xb") as file:
                        shutil.copyfileobj(source, file, _AT_ONCE)
                    if target.stat().st_size != member.size:
                        raise ValueError(f"'{member.name}' is cut short")
                    bar.advance(member.size)
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(part, folder)
    return sorted(member.name for member in wanted)


@contextlib.contextmanager
def _told(path: Path, part: Path) -> Iterator[None]:
    """Turn what goes wrong into a sentence, and leave nothing behind."""
    try:
        yield
    except HarnessError:
        shutil.rmtree(part, ignore_errors=True)
        raise
    # A damaged archive fails anywhere in the readers, with whatever is at hand there.
    except Exception as error:
        shutil.rmtree(part, ignore_errors=True)
        # Also with an OSError that no system call made.
        if isinstance(error, OSError) and error.errno is not None:
            raise cannot_write(part, error, ADVICE) from error
        raise HarnessError(
            f"{path}: cannot be unpacked ({error or type(error).__name__}); delete it and fetch it again, or unpack it "
            "with another program and give that folder with --from"
        ) from None


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[Iterable[_Member], Callable[[Any], IO[bytes]]]]:
    """Give the members of an archive in its order, and what opens one of them."""
    if path.name.lower().endswith(ZIPPED):
        with zipfile.ZipFile(path) as zipped:
            yield (_zip_member(one) for one in zipped.infolist() if not one.is_dir()), zipped.open
        return
    with tarfile.open(path, "r:*", tarinfo=_Header) as tarred:

        def read(member: tarfile.TarInfo) -> IO[bytes]:
            file = tarred.extractfile(member)
            if file is None:
                raise ValueError(f"'{member.name}' is no plain file")
            return file

        yield _tar_members(tarred), read


def _tar_members(tarred: tarfile.TarFile) -> Iterator[_Member]:
    for one in tarred:
        if not one.isdir():
            yield _Member(one.name, one.size, one.isreg(), one)
    # What checks the bytes of a compressed file stands at its very end, behind the last member and some padding.
    for _ in range(_MOST_PADDING):
        if tarred.fileobj is None or not tarred.fileobj.read(_AT_ONCE):
            return
    raise ValueError("goes on and on behind its end")


def _zip_member(one: zipfile.ZipInfo) -> _Member:
    # The upper half is the mode of a file where Unix packed it, and 0 elsewhere.
    kind = stat.S_IFMT(one.external_attr >> 16)
    return _Member(one.filename, one.file_size, kind in (0, stat.S_IFREG), one)


def _planned(path: Path, members: Iterable[_Member], room: int) -> list[_Member]:
    """Look at all members before any is written; give those that are, with the names under which they are."""
    most = _RATIO * path.stat().st_size + _SMALL
    wanted: dict[str, _Member] = {}
    total = 0
    for count, member in enumerate(members):
        total += member.size
        # Before the next member is asked for: a compressed tar file is unpacked on the way to it.
        if member.size < 0 or total > most or count == _MOST_FILES:
            raise HarnessError(
                f"{path}: would unpack to more than {bytes_text(most)} or {_MOST_FILES} files; it is not what it "
                "should be, delete it"
            )
        name = member.name.removeprefix("./")
        if not name.lower().endswith(_KEPT) or _is_hidden(name):
            continue
        if not is_safe(name) or name in wanted:
            what = "is in it twice" if name in wanted else "is a name that leaves the folder or that systems refuse"
            raise HarnessError(f"{path}: '{name}' {what}; nothing was unpacked")
        if not member.plain:
            raise HarnessError(f"{path}: '{name}' is a link or a device instead of a file; nothing was unpacked")
        wanted[name] = member._replace(name=name)
    needed = sum(member.size for member in wanted.values())
    if needed > room:
        raise HarnessError(
            f"{path}: unpacks to {bytes_text(needed)} and {bytes_text(room)} are free; make room or name another "
            "folder with --data; nothing was unpacked"
        )
    return list(wanted.values())


def _is_hidden(name: str) -> bool:
    parts = name.split("/")
    return any((part.startswith(".") and part not in (".", "..")) or part == MAC_SHADOWS for part in parts)


def _room(part: Path) -> int:
    """Clear what an earlier run left, and give the bytes that may be written."""
    if part.is_dir():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    return shutil.disk_usage(part).free - _SPARE
