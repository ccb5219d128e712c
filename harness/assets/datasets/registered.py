"""Collecting a dataset whose files are registered one by one, with checksums."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

from harness.assets.datasets import folders, layouts, places
from harness.assets.datasets.collection import HASHING_THREADS, Collection, wait_for
from harness.assets.datasets.download import CancelledError, Downloader, DownloadError, UnreachableError
from harness.assets.datasets.hosts import origin
from harness.assets.datasets.manifest import (
    DatasetManifest,
    DatasetManifestFile,
    Role,
    complete_manifest,
    missing_manifest,
)
from harness.assets.datasets.progress import progress
from harness.assets.datasets.registry import File
from harness.errors import HarnessError

# Sources are GitHub repositories at a commit; this host serves their files.
SOURCE_HOST = "https://raw.githubusercontent.com"


class _Failure(NamedTuple):
    """Why files were not downloaded; an address that cannot be reached is none of a single file's."""

    text: str
    unreachable: bool


class Registered(Collection):
    """Collects registered files: from the dataset's folder, mirrors, public sources, own folders, in this order."""

    def collect(self) -> DatasetManifest:
        """Collect a dataset whose files are registered one by one."""
        self._keep_what_is_there()
        if self.record.supply == "embedded":
            self._from_wheel()
        self._from_mirror_folders()
        self._from_own_folder(self.given)  # given just now: nearer than the network
        self._from_network()
        for folder in self._own():
            self._from_own_folder(folder)
        wanted = self._wanted()
        if wanted:
            return missing_manifest(self.record.name, self._reason(wanted))
        return complete_manifest(self.record.name, self._describe())

    def _wanted(self) -> list[File]:
        return [file for file in self.record.files if file.name not in self.have]

    def _keep_what_is_there(self) -> None:
        def check(file: File) -> str:
            path = self._path(file.name)
            try:
                if self.hashes.sha256(path) == file.sha256:
                    return "good"
                return "good" if self.hashes.image(path)[1] == file.pixels_sha256 else "bad"
            except FileNotFoundError:
                return "absent"
            except (OSError, HarnessError):
                return "bad"

        with ThreadPoolExecutor(HASHING_THREADS) as pool:
            for file, state in zip(self.record.files, pool.map(check, self.record.files), strict=True):
                if state == "good":
                    self.have.add(file.name)
                elif state == "bad":
                    self.say(f"{self._path(file.name)}: is not the registered file; fetching it again")

    def _take(self, file: File, path: Path) -> None:
        folders.place(path, self._path(file.name))
        self.hashes.sha256(self._path(file.name))  # a copy has stats of its own
        self.have.add(file.name)

    def _from_wheel(self) -> None:
        wheel = folders.embedded_folder()
        wanted = self._wanted()
        if wheel is None or not wanted:
            self.tried += ["scikit-image is not installed"] if wanted else []
            return
        self._take_matches(wanted, wheel, "scikit-image's wheel")

    def _from_mirror_folders(self) -> None:
        for mirror in self.mirror_folders:
            wanted = self._wanted()
            if not wanted:
                return
            if not mirror.is_dir():
                self.tried.append(f"{folders.MIRROR_VARIABLE} names a folder that does not exist")
                self.say(f"{folders.MIRROR_VARIABLE}: {mirror} is not a folder")
                continue
            holder = self._in_mirror(mirror)
            if holder is None:
                self.tried.append("the mirror does not have it")
                continue
            damaged = self._check_mirror(wanted, holder)
            for name in damaged:
                self.say(f"{holder / name}: has a wrong checksum; it is not used")
            self._note(damaged, "has a wrong checksum in the mirror", "have wrong checksums in the mirror")
            rest = [file.name for file in self._wanted() if file.name not in damaged]
            self._note(rest, "is not in the mirror", "are not in the mirror")

    def _check_mirror(self, wanted: list[File], holder: Path) -> list[str]:
        """Take the good files of a mirror's folder; give the names of those that are there and not good."""

        def check(file: File) -> bool | None:
            path = holder / file.name
            try:
                return path.stat().st_size == file.bytes and self.hashes.sha256(path) == file.sha256
            except FileNotFoundError:
                return None
            except OSError:
                return False

        damaged: list[str] = []
        with ThreadPoolExecutor(HASHING_THREADS) as pool:
            for file, good in zip(wanted, pool.map(check, wanted), strict=True):
                if good:
                    self._take(file, holder / file.name)
                elif good is False:
                    damaged.append(file.name)
        return damaged

    def _from_own_folder(self, folder: Path | None) -> None:
        wanted = self._wanted()
        if folder is None or not wanted:
            return
        if not folder.is_dir():
            self.tried.append("the own folder is gone")
            self.say(f"{self.record.name}: {folder} is gone")
            return
        self._take_matches(wanted, folder, "the own folder")

    def _take_matches(self, wanted: list[File], folder: Path, label: str) -> None:
        match = folders.match_files(wanted, folder, self.record.name, self.hashes)
        for file in wanted:
            if file.name in match.found:
                self._take(file, match.found[file.name])
        if match.reencoded:
            self.say(
                f"{self.record.name}: {some(match.reencoded, 'is', 'are')} encoded otherwise than registered in "
                f"{folder}, with the same pixels; accepted"
            )
        for name, problem in match.differing.items():
            self.say(f"{self.record.name}: in {folder}, {name} {problem}")
        if match.differing:
            name, problem = next(iter(match.differing.items()))
            more = len(match.differing) - 1
            self.tried.append(f"in {label} {name} {problem}" + (f" and {more} more differ" if more else ""))
        absent = [file.name for file in self._wanted() if file.name not in match.differing]
        self._note(absent, f"is not in {label}", f"are not in {label}")

    def _note(self, names: list[str], one: str, many: str) -> None:
        if names:
            self.tried.append(some(names, one, many))

    # Network --------------------------------------------------------------------------------------------------------

    def _urls(self, file: File) -> list[str]:
        path = self.record.mirror_paths[0]
        urls = [f"{url}/{path}/{quote(file.name)}" for url in self.mirror_urls]
        for index, path in file.at:
            source = self.record.sources[index]
            urls.append(f"{SOURCE_HOST}/{source.repo}/{source.commit}/{quote(path)}")
        return urls

    def _from_network(self) -> None:
        wanted = [file for file in self._wanted() if self._urls(file)]
        if not wanted:
            return
        failures: dict[_Failure, list[str]] = {}
        done = sum(self._part(file).stat().st_size for file in wanted if self._part(file).exists())
        with progress(self.record.name, sum(file.bytes for file in wanted), in_bytes=True) as report:
            report(done)
            downloader = Downloader(self.hosts, report)
            with ThreadPoolExecutor(max(1, self.jobs)) as pool:
                futures = [pool.submit(self._download, downloader, file, failures) for file in wanted]
                wait_for(futures, downloader.cancelled.set)
        for file, future in zip(wanted, futures, strict=True):
            if future.result():
                self.have.add(file.name)
        rest = {file.name for file in self._wanted()}
        for failure in sorted(failures):
            names = sorted(set(failures[failure]))
            if not failure.unreachable:
                self.say(f"{self.record.name}: {some(names, failure.text, failure.text)}")
            names = [name for name in names if name in rest]
            if names:
                self.tried.append(failure.text if failure.unreachable else some(names, failure.text, failure.text))
        skipped = [host for host in self.hosts.remembered if any(host == origin(url) for url in self._urls(wanted[0]))]
        if skipped and rest:
            self.say(
                f"{self.record.name}: {', '.join(_host(host) for host in skipped)} could not be reached a short while "
                "ago and was not asked again; --retry asks now"
            )

    def _part(self, file: File) -> Path:
        path = self._path(file.name)
        return path.with_name(f".{path.name}.{file.sha256[:12]}.part")

    def _download(self, downloader: Downloader, file: File, failures: dict[_Failure, list[str]]) -> bool:
        """Try every address of a file in turn; True where it is there now."""
        part, target = self._part(file), self._path(file.name)
        for url in self._urls(file):
            if downloader.cancelled.is_set():
                return False
            where = "the mirror" if any(url.startswith(f"{mirror}/") for mirror in self.mirror_urls) else _host(url)
            try:
                part.parent.mkdir(parents=True, exist_ok=True)
                downloader.download(url, part, file.bytes, file.sha256)
                self.hashes.sha256(part)  # renaming keeps the stats
                os.replace(part, target)
                return True
            except CancelledError:
                return False
            except UnreachableError:
                failures.setdefault(_Failure(f"{where} could not be reached", True), []).append(file.name)
            except DownloadError as error:
                failures.setdefault(_Failure(f"from {where}: {error}", False), []).append(file.name)
            except OSError as error:
                raise places.cannot_write(target, error) from error
        return False

    # The outcome ----------------------------------------------------------------------------------------------------

    def _describe(self) -> list[DatasetManifestFile]:
        """Describe the files that are there."""
        names = [file.name for file in self.record.files]
        roles: dict[str, tuple[str, Role]] = {}
        for which, name in layouts.apply_layout(self.record, self.record.folder_layouts[0], names).items():
            roles[name] = which
        described: list[DatasetManifestFile] = []
        for file in self.record.files:
            path = self._path(file.name)
            sha256 = self.hashes.sha256(path)
            image, role = roles[file.name]
            size = path.stat().st_size
            described.append(DatasetManifestFile(file.name, image, role, size, sha256, file.pixels_sha256, file.shape))
        return described

    def _reason(self, wanted: list[File]) -> str:
        names = [file.name for file in wanted]
        total = len(self.record.files)
        all_of_them = f"none of its {total} files could be had"
        head = all_of_them if len(names) == total else f"{len(names)} of its {total} files could not be had"
        tried = list(dict.fromkeys(self.tried))
        if not (self.mirror_folders or self.mirror_urls) and self.record.supply != "embedded":
            tried.insert(0, f"{folders.MIRROR_VARIABLE} is not set")
        return f"{head} ({', '.join(tried)}); {self._remedy()}"

    def _remedy(self) -> str:
        command = f"`harness datasets fetch {self.record.name} --from FOLDER`"
        if self.record.supply == "embedded":
            return f"install scikit-image again, or run {command}"
        if self.record.supply == "user":
            return f"get it from {self.record.homepage} and run {command}"
        return f"connect to the network, set {folders.MIRROR_VARIABLE}, or run {command} with a copy of your own"


def _host(url: str) -> str:
    return origin(url).split("//")[1].rsplit(":", 1)[0]


def some(names: list[str], one: str, many: str) -> str:
    """Name the first of several files and count the others."""
    if len(names) == 1:
        return f"{names[0]} {one}"
    return f"{names[0]} and {len(names) - 1} more {many}"
