"""Getting released weights: from a mirror, from pinned public sources, from a folder of the user's own.

A file with a registered checksum is held to it before it gets its name. One without is taken as the user supplies it,
and its checksum goes into the manifest. Files of a folder are linked, not copied. What cannot be had is no error: the
manifest says why, and tables print it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import quote

from harness.assets.datasets.collection import own_folders, remember_folder
from harness.assets.datasets.download import Downloader, DownloadError, UnreachableError
from harness.assets.datasets.folders import MIRROR_VARIABLE, mirrors, place
from harness.assets.datasets.hosts import Hosts, origin, without_user
from harness.assets.datasets.places import cannot_write, write_whole
from harness.assets.datasets.progress import progress
from harness.assets.datasets.registered import SOURCE_HOST
from harness.assets.datasets.verified import file_sha256
from harness.assets.weights import places
from harness.assets.weights.manifest import WeightsManifest, WeightsManifestFile, make_manifest, read_manifest
from harness.assets.weights.registry import WeightFile, WeightSet, record_path, weight_set
from harness.assets.weights.verified import stat_key, still_complete, write_state
from harness.errors import HarnessError, printable

DEFAULT_JOBS = 8


def fetch(
    name: str,
    data: str | os.PathLike[str] | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    retry: bool = False,
    jobs: int = DEFAULT_JOBS,
    hosts: Hosts | None = None,
    say: Callable[[str], None] | None = None,
) -> WeightsManifest:
    """Get the files of a weight set and write its manifest.

    Parameters
    ----------
    name : str
        Weight set.
    data : path, optional
        Folder of fetched files; by default that of the project in use, HARNESS_DATA or ``data``.
    folder : path, optional
        The user's own copy, remembered for later calls.
    retry : bool
        Whether to ask hosts again that could not be reached a short while ago.
    jobs : int
        Downloads at a time.
    hosts : Hosts, optional
        Shared by several calls, so that a host is probed once.
    say : callable, optional
        Gets sentences about what was noticed; by default they go to standard error.

    Returns
    -------
    WeightsManifest
        Complete, partial or missing, with its reason.

    Raises
    ------
    HarnessError
        The name is unknown, the folder is none or holds none of the files, or nothing can be written.
    """
    record = weight_set(name)
    root = places.data_folder(data)
    if folder is None and still_complete(name, root) is not None:
        return read_manifest(places.manifest_path(root, name))
    given = Path(folder) if folder is not None else None
    if given is not None and not given.is_dir():
        raise HarnessError(f"{given}: no such folder; name the one that holds your copy of the weights '{name}'")
    collection = _Collection(record, root, given, hosts or Hosts(root, retry), jobs, say or _say)
    manifest = collection.collect()
    if given is not None:
        remember_folder(root, _own_key(name), given)
    write_whole(places.manifest_path(root, name), manifest.text())
    if manifest.complete:
        path = record_path(name)
        seen = {file.name: stat_key(places.weights_folder(root, name) / file.name) for file in manifest.files}
        write_state(root, name, stat_key(path) if path else "", manifest.text(), seen)
    return manifest


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _own_key(name: str) -> str:
    # Own folders of datasets and weights are remembered in one file.
    return f"weights/{name}"


class _Collection:
    """One weight set being collected."""

    def __init__(
        self,
        record: WeightSet,
        data: Path,
        given: Path | None,
        hosts: Hosts,
        jobs: int,
        say: Callable[[str], None],
    ) -> None:
        self.record = record
        self.data = data
        self.folder = places.weights_folder(data, record.name)
        self.given = given
        self.hosts = hosts
        self.jobs = jobs
        self.say = say
        self.have: dict[str, WeightsManifestFile] = {}
        self.tried: list[str] = []

    def collect(self) -> WeightsManifest:
        """Get every file that can be had; the nearest place first, and a folder given just now before all."""
        if self.given is not None:
            self._from_folder(self.given, "the folder", searching=True)
            if not self.have:
                names = dict.fromkeys(
                    name for file in self.record.files for name in (file.name, file.released_as) if name
                )
                found = f" ({', '.join(self.tried)})" if self.tried else ""
                raise HarnessError(
                    f"{self.given}: holds no weights of '{self.record.name}'{found}; it should hold {', '.join(names)}"
                )
        self._keep()
        mirror_folders, mirror_urls = mirrors()
        remembered = own_folders(self.data).get(_own_key(self.record.name))
        own = [Path(remembered)] if remembered else []
        own.append(places.own_folder(self.data, self.record.name))
        # Without a checksum the user's own copy goes before a mirror's: the two may differ, and the user has chosen.
        for folder in own:
            if folder.is_dir():
                self._from_folder(folder, "the own folder", searching=True, pinned=False)
        for mirror in mirror_folders:
            if not mirror.is_dir():
                self.tried.append(f"{MIRROR_VARIABLE} names a folder that does not exist")
                continue
            self._from_folder(mirror / "weights" / self.record.name, "the mirror", searching=False)
        self._from_network(mirror_urls)
        for folder in own:
            if folder.is_dir():
                self._from_folder(folder, "the own folder", searching=True)
        files = [self.have[file.name] for file in self.record.files if file.name in self.have]
        reason = self._reason(bool(mirror_folders or mirror_urls))
        return make_manifest(self.record.name, files, len(self.record.files), reason)

    def _wanted(self) -> list[WeightFile]:
        return [file for file in self.record.files if file.name not in self.have]

    def _keep(self) -> None:
        """Keep what is there already and good."""
        for file in self._wanted():
            path = self.folder / file.name
            with contextlib.suppress(OSError):
                sha256 = file_sha256(path)
                if file.sha256 in ("", sha256):
                    self.have[file.name] = WeightsManifestFile(file.name, path.stat().st_size, sha256)
                else:
                    self.say(f"{path}: is not the registered file; fetching it again")

    def _from_folder(self, folder: Path, label: str, *, searching: bool, pinned: bool = True) -> None:
        """Take files from a folder, where `searching` from its subfolders too and under the names of the release."""
        for file in self._wanted():
            if file.sha256 and not pinned:
                continue
            problems: dict[Path, str] = {}
            for path in self._candidates(file, folder, searching):
                try:
                    sha256 = file_sha256(path)
                except OSError as error:
                    problems[path] = f"cannot be read ({error.strerror or error})"
                    continue
                if file.sha256 not in ("", sha256):
                    problems[path] = "has a wrong checksum"
                    continue
                place(path, self.folder / file.name)
                self.have[file.name] = WeightsManifestFile(file.name, path.stat().st_size, sha256)
                break
            else:
                for path, problem in problems.items():
                    self.say(f"{path}: {problem}; it is not used")
                if problems:
                    self.tried.append(f"{file.name} in {label} {next(iter(problems.values()))}")

    @staticmethod
    def _candidates(file: WeightFile, folder: Path, searching: bool) -> list[Path]:
        names = [name for name in (file.name, file.released_as if searching else "") if name]
        found = [folder / name for name in names if (folder / name).is_file()]
        if searching:
            found += [path for name in names for path in sorted(folder.rglob(name)) if path.is_file()]
        return list(dict.fromkeys(found))

    def _urls(self, file: WeightFile, mirror_urls: list[str]) -> list[str]:
        if not file.sha256:
            return []
        urls = [f"{url}/weights/{self.record.name}/{quote(file.name)}" for url in mirror_urls]
        for index, path in file.at:
            source = self.record.sources[index]
            urls.append(f"{SOURCE_HOST}/{source.repo}/{source.commit}/{quote(path)}")
        return urls

    def _from_network(self, mirror_urls: list[str]) -> None:
        wanted = [file for file in self._wanted() if self._urls(file, mirror_urls)]
        if not wanted:
            return
        with progress(self.record.name, sum(file.bytes for file in wanted), in_bytes=True) as report:
            downloader = Downloader(self.hosts, report)

            def download(file: WeightFile) -> list[str]:
                return self._download(downloader, file, self._urls(file, mirror_urls), mirror_urls)

            with ThreadPoolExecutor(max(1, self.jobs)) as pool:
                try:
                    for failures in pool.map(download, wanted):
                        self.tried += failures
                except BaseException:
                    downloader.cancelled.set()
                    raise

    def _download(self, downloader: Downloader, file: WeightFile, urls: list[str], mirrors: list[str]) -> list[str]:
        """Try every address of a file in turn; give what went wrong where it could not be had."""
        target = self.folder / file.name
        # A name of this process: two that fetch at once must not write into one file.
        part = target.with_name(f".{file.name}.{os.getpid()}.part")
        failures: list[str] = []
        try:
            part.parent.mkdir(parents=True, exist_ok=True)
            for url in urls:
                where = "the mirror" if any(url.startswith(f"{m}/") for m in mirrors) else _host(url)
                try:
                    downloader.download(url, part, file.bytes, file.sha256)
                    os.replace(part, target)
                except UnreachableError:
                    failures.append(f"{where} could not be reached")
                except DownloadError as error:
                    self.say(f"{self.record.name}: {file.name} at {without_user(url)} {error}")
                    failures.append(f"{file.name} at {where} {error}")
                else:
                    self.have[file.name] = WeightsManifestFile(file.name, file.bytes, file.sha256)
                    return []
        except OSError as error:
            raise cannot_write(target, error) from error
        finally:
            for leftover in (part, part.with_name(f"{part.name}.from")):
                with contextlib.suppress(OSError):
                    leftover.unlink(missing_ok=True)
        return failures

    def _reason(self, mirrored: bool) -> str:
        wanted = self._wanted()
        if not wanted:
            return ""
        total = len(self.record.files)
        head = f"none of its {total} files could be had"
        if len(wanted) == 1:
            head = f"{wanted[0].name} could not be had"
        elif len(wanted) < total:
            head = f"{wanted[0].name} and {len(wanted) - 1} more of its {total} files could not be had"
        tried = list(dict.fromkeys(self.tried))
        if not mirrored:
            tried.insert(0, f"{MIRROR_VARIABLE} is not set")
        noticed = f" ({', '.join(tried)})" if tried else ""
        return f"{head}{noticed}; {self._remedy(wanted)}"

    def _remedy(self, wanted: list[WeightFile]) -> str:
        command = f"`harness weights fetch {self.record.name} --from FOLDER`"
        unpinned = [file for file in wanted if not file.at]
        if unpinned and self.record.obtain:
            return f"{self.record.obtain}, and run {command}"
        return f"connect to the network, set {MIRROR_VARIABLE}, or run {command} with a copy of your own"


def _host(url: str) -> str:
    return origin(url).split("//")[1].rsplit(":", 1)[0]
