"""Getting released weights: files of which some have no checksum, and are then taken as the user supplies them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, Unpack

from harness.assets.fetching import Collection, Failure, FetchOptions
from harness.assets.hosts import MIRROR_VARIABLE
from harness.assets.manifest import WeightsManifest, WeightsManifestFile
from harness.assets.weights.registry import WeightFile, WeightSet, weight_set
from harness.errors import HarnessError


def fetch(name: str, data: str | os.PathLike[str] | None = None, **options: Unpack[FetchOptions]) -> WeightsManifest:
    """Get the files of a weight set and write its manifest.

    `data`: Folder of fetched files; by default that of the project in use, HARNESS_DATA or ``data``.
    `**options`: Those of `harness.assets.fetching.Collection`: ``folder``, ``retry``, ``jobs``, ``hosts``, ``say``.
    Returns: Complete, partial or missing, with its reason.
    Raises HarnessError: The name is unknown, the folder is none or holds none of the files, or nothing can be written.
    """
    return WeightsCollection(weight_set(name), data, **options).fetch()


class WeightsCollection(Collection[WeightSet, WeightsManifest]):
    """One weight set being collected."""

    kind = "weights"
    manifest_type = WeightsManifest
    copy_of = "the weights "

    def collect(self) -> WeightsManifest:
        """Get every file that can be obtained; the nearest place first, and a folder given just now before all."""
        if self.given is not None:
            self._from_folder(self.given, "the folder", self.wanted())
            if not self.have:
                names = dict.fromkeys(name for file in self.record.files for name in _names(file))
                raise HarnessError(
                    f"{self.given}: holds no weights of '{self.record.name}'{self.what_was_tried(network=False)}; "
                    f"it should hold {', '.join(names)}"
                )
        self.keep_what_is_there()
        own = [folder for folder in self.paths.own_folders if folder.is_dir()]
        # Without a checksum the user's own copy goes before a mirror's: the two may differ, and the user has chosen.
        for folder in own:
            self._from_folder(folder, "the own folder", [file for file in self.wanted() if not file.pinned])
        for mirror in self.mirrors_that_exist():
            for file in self.wanted():
                self._take_first(file, [mirror / path for path in self.record.in_mirror(file)], "the mirror")
        self.from_network()
        for folder in own:
            self._from_folder(folder, "the own folder", self.wanted())
        return self._manifest()

    def _from_folder(self, folder: Path, label: str, wanted: list[WeightFile]) -> None:
        """Take files from a folder and its subfolders, under their names here and those of the release."""
        for file in wanted:
            paths = [folder / name for name in _names(file)]
            paths += [path for name in _names(file) for path in sorted(folder.rglob(name))]
            self._take_first(file, list(dict.fromkeys(paths)), label)

    def _take_first(self, file: WeightFile, paths: list[Path], label: str) -> None:
        """Take the first of some files that is the wanted one, or note what is wrong with them."""
        problems: dict[Path, str] = {}
        for path in filter(Path.is_file, paths):
            try:
                if foreign := _foreign(path):
                    problems[path] = foreign
                    continue
                if self.is_registered(file, path):
                    self.take(file, path)
                    return
                problems[path] = "has a wrong checksum"
            except OSError as error:
                problems[path] = f"cannot be read ({error.strerror or error})"
        for path, problem in problems.items():
            self.say(f"{path}: {problem}; it is not used")
        if problems:
            self.tried.append(f"{file.name} in {label} {next(iter(problems.values()))}")

    def note_failures(self, failures: dict[str, list[Failure]], grouped: dict[Failure, list[str]]) -> None:
        """Note what went wrong at each address of the files that were not to be had anywhere."""
        for file in self.wanted():
            for failure in failures.get(file.name, []):
                problem = f"{file.name} at {failure.where} {failure.problem}"
                self.tried.append(problem if failure.problem else failure.text)

    def _manifest(self) -> WeightsManifest:
        files = tuple(
            WeightsManifestFile(file.name, path.stat().st_size, self.hashes.sha256(path))
            for file in self.record.files
            if file.name in self.have and (path := self.path(file.name))
        )
        name = self.record.name
        if not self.wanted():
            return WeightsManifest(weights=name, status="complete", reason="", files=files)
        status: Literal["partial", "missing"] = "partial" if files else "missing"
        return WeightsManifest(weights=name, status=status, reason=self._reason(), files=files)

    def _reason(self) -> str:
        wanted, total = self.wanted(), len(self.record.files)
        head = f"none of its {total} files could be obtained"
        if len(wanted) == 1:
            head = f"{wanted[0].name} could not be obtained"
        elif len(wanted) < total:
            head = f"{wanted[0].name} and {len(wanted) - 1} more of its {total} files could not be obtained"
        command = f"`harness weights fetch {self.record.name} --from FOLDER`"
        remedy = f"connect to the network, set {MIRROR_VARIABLE}, or run {command} with a copy of your own"
        if self.record.obtain and any(not file.at for file in wanted):
            remedy = f"{self.record.obtain}, and run {command}"
        return f"{head}{self.what_was_tried(network=True)}; {remedy}"


def _foreign(path: Path) -> str:
    """Say what lies in the place of a file that was not really fetched; empty where nothing is wrong with its head."""
    with path.open("rb") as file:
        head = file.read(64).lstrip()
    if head.startswith(b"version https://git-lfs"):
        return "is a pointer of Git LFS"
    # No format of weights begins so.
    return "is a web page" if head.startswith(b"<") else "" if head else "is empty"


def _names(file: WeightFile) -> list[str]:
    return [name for name in (file.name, file.released_as) if name]
