"""Getting a dataset or a weight set: from a mirror, from pinned public sources, from a folder of the user's own.

A file with a registered checksum is held to it before it gets its name. Files of a folder are linked, not copied. What
cannot be obtained is no error: the manifest says why, and tables print it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, TypedDict, TypeVar
from urllib.parse import quote

from harness.assets.download import CancelledError, Downloader, DownloadError, UnreachableError
from harness.assets.hosts import MIRROR_VARIABLE, Hosts, host_name, mirrors, origin
from harness.assets.manifest import Manifest
from harness.assets.places import ADVICE, AssetPaths, Kind, data_folder
from harness.assets.progress import ProgressBar
from harness.assets.registry import AssetFile, AssetRecord
from harness.assets.verified import Hashes, read_state, still_complete, write_state
from harness.errors import HarnessError, printable
from harness.files import cannot_write, update_text, whole_file

DEFAULT_JOBS = 8
HASHING_THREADS = 4

RecordType = TypeVar("RecordType", bound=AssetRecord)
ManifestType = TypeVar("ManifestType", bound=Manifest)


class FetchOptions(TypedDict, total=False):
    """How a set is to be fetched; each option is described at `Collection`."""

    folder: str | os.PathLike[str] | None
    retry: bool
    jobs: int
    hosts: Hosts | None
    say: Callable[[str], None] | None
    archives: bool


class Failure(NamedTuple):
    """Why a file was not downloaded from a host; without a problem the host could not be reached at all."""

    where: str
    problem: str

    @property
    def text(self) -> str:
        """Say it for readers."""
        return f"from {self.where}: {self.problem}" if self.problem else f"{self.where} could not be reached"


class Collection(Generic[RecordType, ManifestType]):
    """One dataset or weight set being collected; each kind says where it looks, and in what order.

    `data`: Folder of fetched files; by default that of the project in use, HARNESS_DATA or ``data``.
    `folder`: The user's own copy; looked at before the network, and remembered for later calls.
    `retry`: Whether to ask hosts again that could not be reached a short while ago.
    `hosts`: Shared by several calls, so that a host is probed once.
    `say`: Gets sentences about what was noticed; by default they go to standard error.
    `archives`: Whether a dataset's archives may be downloaded, which can be many gigabytes.
    Raises HarnessError: The folder is none.
    """

    kind: ClassVar[Kind]
    manifest_type: type[ManifestType]
    copy_of: ClassVar[str] = ""  # what comes before the name where a user's copy of it is spoken of

    def __init__(
        self,
        record: RecordType,
        data: str | os.PathLike[str] | None = None,
        *,
        folder: str | os.PathLike[str] | None = None,
        retry: bool = False,
        jobs: int = DEFAULT_JOBS,
        hosts: Hosts | None = None,
        say: Callable[[str], None] | None = None,
        archives: bool = False,
    ) -> None:
        self.record = record
        self.paths = AssetPaths(data_folder(data), self.kind, record.name)
        self.given = Path(folder) if folder is not None else None
        if self.given is not None and not self.given.is_dir():
            copy = f"{self.copy_of}'{record.name}'"
            raise HarnessError(f"{self.given}: no such folder; name the one that holds your copy of {copy}")
        self.hosts = hosts or Hosts(self.paths.data, retry)
        self.jobs = jobs
        self.archives = archives
        self.say = say or _say
        self.hashes = Hashes({})
        self.held: dict[str, str] = {}
        self.mirror_folders: list[Path] = []
        self.mirror_urls: list[str] = []
        self.have: set[str] = set()
        self.tried: list[str] = []

    def collect(self) -> ManifestType:
        """Get every file that can be obtained, from the nearest place first."""
        raise NotImplementedError

    def fetch(self) -> ManifestType:
        """Collect the set, unless it is complete and unchanged, and write its manifest.

        Raises HarnessError: The folder holds another set, HARNESS_MIRROR cannot be understood, or nothing can be
            written.
        """
        if self._is_complete():
            return self.manifest_type.read(self.paths.manifest)
        with alone(self.paths.state.with_suffix(".lock"), self.paths.name, self.say):
            if self._is_complete():  # another process was quicker
                return self.manifest_type.read(self.paths.manifest)
            state = read_state(self.paths)
            self.hashes, self.held = Hashes(state.get("seen", {})), state.get("held", {})
            self.mirror_folders, self.mirror_urls = mirrors()
            try:
                manifest = self.collect()
            except BaseException:
                with contextlib.suppress(HarnessError):  # what was hashed is not lost
                    write_state(self.paths, "", self.hashes, self.held)
                raise
            if self.given is not None:
                self.paths.remember_folder(self.given)
            update_text(self.paths.manifest, manifest.text(), ADVICE)
            self.held |= {file.name: file.sha256 for file in manifest.files}
            write_state(self.paths, manifest.text() if manifest.complete else "", self.hashes, self.held)
            return manifest

    def _is_complete(self) -> bool:
        return self.given is None and still_complete(self.paths) is not None

    # What is here ----------------------------------------------------------------------------------------------------

    def path(self, name: str) -> Path:
        """Where a file of the set lies."""
        return self.paths.folder / name

    def wanted(self) -> list[Any]:
        """List the files that are not here yet."""
        return [file for file in self.record.files if file.name not in self.have]

    def is_registered(self, file: Any, path: Path) -> bool:
        """Return whether a file is the registered one; OSError or HarnessError where it cannot be read."""
        return self._is_held(file, path)

    def _is_held(self, file: AssetFile, path: Path) -> bool:
        """Compare checksums; where git's id alone is registered, also the SHA-256 of the first file that had it."""
        if not file.is_at(path, self.hashes):
            return False
        held = self.held.get(file.name) if file.git_blob and not file.sha256 else None
        return held in (None, self.hashes.sha256(path))

    def examine(
        self, paths: Mapping[str, Path], is_good: Callable[[Any, Path], bool]
    ) -> Iterator[tuple[Any, bool | None]]:
        """Look for what is wanted at `paths` by name, in a few threads: is each file good? None where it is absent."""

        def look(file: Any) -> bool | None:
            try:
                return is_good(file, paths[file.name])
            except FileNotFoundError:
                return None
            except (OSError, HarnessError):
                return False

        wanted = self.wanted()
        with ThreadPoolExecutor(HASHING_THREADS) as pool:
            yield from zip(wanted, pool.map(look, wanted), strict=True)

    def keep_what_is_there(self) -> None:
        """Keep the good files that are here already."""
        for file, good in self.examine({file.name: self.path(file.name) for file in self.wanted()}, self.is_registered):
            if good:
                self.have.add(file.name)
            elif good is False:
                self.say(f"{self.path(file.name)}: is not the registered file; fetching it again")

    def take(self, file: AssetFile, path: Path) -> None:
        """Make a file of a folder appear in the set's."""
        place(path, self.path(file.name))
        self.hashes.sha256(self.path(file.name))  # a copy has stats of its own
        self.have.add(file.name)

    def mirrors_that_exist(self) -> Iterator[Path]:
        """Give the mirrors' folders as long as something is wanted; note those that are not there."""
        for mirror in self.mirror_folders:
            if not self.wanted():
                return
            if mirror.is_dir():
                yield mirror
            else:
                self.tried.append(f"{MIRROR_VARIABLE} names a folder that does not exist")
                self.say(f"{MIRROR_VARIABLE}: {mirror} is not a folder")

    def in_mirror(self, mirror: Path) -> Path | None:
        """Find the set's folder in a mirror; None where it has none."""
        return next((mirror / path for path in self.record.mirror_paths if (mirror / path).is_dir()), None)

    def what_was_tried(self, *, network: bool) -> str:
        """Say what was tried, in parentheses and after a space, where there is something to say."""
        tried = list(dict.fromkeys(self.tried))
        if network and not (self.mirror_folders or self.mirror_urls):
            tried.insert(0, f"{MIRROR_VARIABLE} is not set")
        return f" ({', '.join(tried)})" if tried else ""

    # The network -----------------------------------------------------------------------------------------------------

    def _urls(self, file: AssetFile) -> list[str]:
        """List the addresses of a file in the order in which they are asked; none for one without a checksum."""
        if not file.pinned:
            return []
        first = len(self.record.mirror_paths)
        paths = self.record.in_mirror(file)
        mirrored = [f"{url}/{quote(path)}" for url in self.mirror_urls for path in (paths[0], *paths[first:])]
        return [*mirrored, *(self.record.sources[index].url(path) for index, path in file.at)]

    def from_network(self) -> None:
        """Download what is wanted from the mirrors' addresses and the public sources."""
        wanted = [file for file in self.wanted() if self._urls(file)]
        if not wanted:
            return
        done = sum(self._part(file).stat().st_size for file in wanted if self._part(file).exists())
        with ProgressBar(self.record.name, sum(file.bytes for file in wanted), in_bytes=True) as bar:
            bar.advance(done)
            downloader = Downloader(self.hosts, bar.advance)
            with ThreadPoolExecutor(max(1, self.jobs)) as pool:
                futures = [pool.submit(self._download, downloader, file) for file in wanted]
                wait_for(futures, downloader.cancelled.set)
        failures = {file.name: future.result() for file, future in zip(wanted, futures, strict=True)}
        grouped: dict[Failure, list[str]] = {}
        for name in sorted(failures):
            for failure in dict.fromkeys(failures[name]):
                grouped.setdefault(failure, []).append(name)
        for failure, names in sorted(grouped.items(), key=lambda item: item[0].text):
            if failure.problem:
                self.say(f"{self.record.name}: {some(names, failure.text, failure.text)}")
        self.note_failures(failures, grouped)
        skipped = [host for host in self.hosts.remembered if any(host == origin(url) for url in self._urls(wanted[0]))]
        if skipped and self.wanted():
            self.say(
                f"{self.record.name}: {', '.join(map(host_name, skipped))} could not be reached a short while "
                "ago and was not asked again; --retry asks now"
            )

    def note_failures(self, failures: dict[str, list[Failure]], grouped: dict[Failure, list[str]]) -> None:
        """Note for the manifest why files were not downloaded: by file, in order, and by reason."""
        raise NotImplementedError

    def _part(self, file: AssetFile) -> Path:
        path = self.path(file.name)
        return path.with_name(f".{path.name}.{(file.sha256 or file.git_blob)[:12]}.part")

    def _download(self, downloader: Downloader, file: AssetFile) -> list[Failure]:
        """Try every address of a file in turn; give what went wrong on the way."""
        part, target = self._part(file), self.path(file.name)
        failures: list[Failure] = []
        for url in self._urls(file):
            where = "the mirror" if any(url.startswith(f"{mirror}/") for mirror in self.mirror_urls) else host_name(url)
            try:
                if downloader.cancelled.is_set():
                    break
                part.parent.mkdir(parents=True, exist_ok=True)
                downloader.download(url, part, file.bytes, lambda path: self._is_held(file, path))
                os.replace(part, target)  # which keeps the stats that its hash is known by
                self.have.add(file.name)
                break
            except CancelledError:
                break
            except UnreachableError:
                failures.append(Failure(where, ""))
            except DownloadError as error:
                failures.append(Failure(where, str(error)))
            except OSError as error:
                raise cannot_write(target, error, ADVICE) from error
        return failures


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)


def some(names: list[str], one: str, many: str) -> str:
    """Name the first of several files and count the others."""
    if len(names) == 1:
        return f"{names[0]} {one}"
    return f"{names[0]} and {len(names) - 1} more {many}"


def wait_for(futures: Iterable[Future[Any]], cancel: Callable[[], None] = lambda: None) -> None:
    """Wait for all; at the first failure or Ctrl-C stop the others and pass it on."""
    waiting = list(futures)
    try:
        done, _ = wait(waiting, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    except BaseException:
        cancel()
        for future in waiting:
            future.cancel()
        raise


def place(source: Path, target: Path) -> None:
    """Make a file appear under another name: as a link, or as a copy where links cannot be made.

    Raises HarnessError: It cannot be written.
    """
    absolute = os.path.abspath(source)
    if absolute == os.path.abspath(target):
        return
    try:
        if os.readlink(target) == absolute:
            return
    except OSError:
        pass
    with whole_file(target, ADVICE) as part:
        try:
            os.symlink(absolute, part)
        except (OSError, NotImplementedError):
            shutil.copyfile(absolute, part)


@contextlib.contextmanager
def alone(path: Path, name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Keep what is called `name` locked by a file; the system drops the lock when the process ends, however it ends."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system: files are still replaced whole
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "w")  # noqa: SIM115 (opening is what may fail; it is closed below)
    except OSError as error:
        raise cannot_write(path, error, ADVICE) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: another process fetches it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some network file systems have no locks
            pass
        yield
