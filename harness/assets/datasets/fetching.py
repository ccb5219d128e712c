"""Getting a dataset whose files are registered one by one, or that is made from another one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Unpack

import msgspec

from harness.assets.datasets import folders, layouts
from harness.assets.datasets.registry import File, dataset
from harness.assets.datasets.supplied import DatasetCollection, Supplied
from harness.assets.fetching import Failure, FetchOptions, some
from harness.assets.hosts import MIRROR_VARIABLE
from harness.assets.manifest import DatasetManifest, DatasetManifestFile, Role, complete_dataset, missing_dataset


def fetch(name: str, data: str | os.PathLike[str] | None = None, **options: Unpack[FetchOptions]) -> DatasetManifest:
    """Get a dataset and write its manifest.

    `data`: Folder of fetched files; by default that of the project in use, HARNESS_DATA or ``data``.
    `**options`: Those of `harness.assets.fetching.Collection`: ``folder``, ``retry``, ``jobs``, ``hosts``, ``say``,
        ``archives``.
    Raises HarnessError: The name is unknown, the folder is none or holds another set, HARNESS_MIRROR cannot be
        understood, or nothing can be written.
    """
    record = dataset(name)
    kind: type[DatasetCollection] = Derived if record.base else Registered if record.files else Supplied
    if record.supply == "made":
        from harness.assets.datasets.defining import Made

        kind = Made
    return kind(record, data, **options).fetch()


class Derived(DatasetCollection):
    """Collects what a dataset is made from."""

    def collect(self) -> DatasetManifest:
        """Get the base; give its files with the registered derived pixels."""
        given, self.given = self.given, None  # the base remembers it
        options: FetchOptions = {"folder": given, "jobs": self.jobs, "hosts": self.hosts, "say": self.say}
        options["archives"] = self.archives
        base = fetch(self.record.base, self.paths.data, **options)
        if not base.complete:
            return missing_dataset(self.record.name, f"it is made from '{base.dataset}': {base.reason}", base.dataset)
        derived = {file.name: file for file in self.record.files}
        files = [
            msgspec.structs.replace(
                file, pixels_sha256=derived[file.name].pixels_sha256, shape=derived[file.name].shape
            )
            for file in base.files
        ]
        return complete_dataset(self.record.name, files, base.dataset)


class Registered(DatasetCollection):
    """Collects registered files: from the dataset's folder, mirrors, public sources, own folders, in this order."""

    def collect(self) -> DatasetManifest:
        """Collect a dataset whose files are registered one by one."""
        self.keep_what_is_there()
        if self.record.supply == "embedded":
            self._from_wheel()
        self._from_mirror_folders()
        self._from_own_folder(self.given)  # given just now: nearer than the network
        self.from_network()
        for folder in self.paths.own_folders:
            self._from_own_folder(folder)
        wanted = self.wanted()
        if wanted:
            return missing_dataset(self.record.name, self._reason(len(wanted)))
        if self.given is not None:
            self._tell_of_given(self.given)
        return complete_dataset(self.record.name, self._describe())

    def is_registered(self, file: File, path: Path) -> bool:
        """Return whether a file is the registered one, or another encoding of its pixels."""
        return super().is_registered(file, path) or self.hashes.image(path)[1] == file.pixels_sha256

    def _from_wheel(self) -> None:
        wheel = folders.embedded_folder()
        wanted = self.wanted()
        if wheel is None or not wanted:
            self.tried += ["scikit-image is not installed"] if wanted else []
            return
        self._take_matches(wanted, wheel, "scikit-image's wheel")

    def _from_mirror_folders(self) -> None:
        for mirror in self.mirrors_that_exist():
            copies: dict[str, Path] = {}
            for file in self.wanted():
                paths = [mirror / path for path in self.record.in_mirror(file)]
                copies[file.name] = next(filter(os.path.exists, paths), paths[0])
            if self.in_mirror(mirror) is None and not any(map(os.path.exists, copies.values())):
                self.tried.append("the mirror does not have it")
                continue
            damaged: list[str] = []
            unchanged = lambda file, path: path.stat().st_size == file.bytes and file.is_at(path, self.hashes)  # noqa: E731
            for file, good in self.examine(copies, unchanged):
                if good:
                    self.take(file, copies[file.name])
                elif good is False:
                    damaged.append(file.name)
                    self.say(f"{copies[file.name]}: has a wrong checksum; it is not used")
            self._note(damaged, "has a wrong checksum in the mirror", "have wrong checksums in the mirror")
            rest = [file.name for file in self.wanted() if file.name not in damaged]
            self._note(rest, "is not in the mirror", "are not in the mirror")

    def _from_own_folder(self, folder: Path | None) -> None:
        wanted = self.wanted()
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
                self.take(file, match.found[file.name])
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
        absent = [file.name for file in self.wanted() if file.name not in match.differing]
        self._note(absent, f"is not in {label}", f"are not in {label}")

    def _tell_of_given(self, folder: Path) -> None:
        """Say when the folder that was named is no copy of the set, although all was had from elsewhere."""
        files = list(self.record.files)
        found = len(folders.match_files(files, folder, self.record.name, self.hashes).found)
        if found < len(files):
            self.say(
                f"{self.record.name}: {folder} holds {found or 'none'} of its {len(files)} files; the "
                f"{'others' if found else 'set'} had been fetched, or came from a mirror or public source"
            )

    def _note(self, names: list[str], one: str, many: str) -> None:
        if names:
            self.tried.append(some(names, one, many))

    def note_failures(self, failures: dict[str, list[Failure]], grouped: dict[Failure, list[str]]) -> None:
        """Note each reason once, with the files that were not to be had anywhere."""
        for failure, names in sorted(grouped.items(), key=lambda item: item[0].text):
            rest = [name for name in names if name not in self.have]
            if rest:
                self.tried.append(some(rest, failure.text, failure.text) if failure.problem else failure.text)

    def _describe(self) -> list[DatasetManifestFile]:
        """Describe the files, all of which are there."""
        names = [file.name for file in self.record.files]
        images: dict[str, tuple[str, Role]] = {}
        for key, name in layouts.apply_layout(self.record, self.record.folder_layouts[0], names).items():
            images[name] = key
        described: list[DatasetManifestFile] = []
        for file in self.record.files:
            path = self.path(file.name)
            sha256 = self.hashes.sha256(path)
            image, role = images[file.name]
            size = path.stat().st_size
            described.append(DatasetManifestFile(file.name, image, role, size, sha256, file.pixels_sha256, file.shape))
        return described

    def _reason(self, missing: int) -> str:
        total = len(self.record.files)
        head = f"none of its {total} files" if missing == total else f"{missing} of its {total} files"
        verb = "could be obtained" if missing == total else "could not be obtained"
        tried = self.what_was_tried(network=self.record.supply != "embedded")
        command = f"`harness datasets fetch {self.record.name} --from FOLDER`"
        remedy = f"connect to the network, set {MIRROR_VARIABLE}, or run {command} with a copy of your own"
        if self.record.supply == "embedded":
            remedy = f"install scikit-image again, or run {command}"
        elif self.record.supply == "user":
            remedy = f"get it from {self.record.homepage} and run {command}"
        return f"{head} {verb}{tried}; {remedy}"
