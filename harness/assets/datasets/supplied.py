"""Collecting a dataset of which only the folder layout and the number of images are registered."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from harness.assets.datasets import folders, layouts
from harness.assets.datasets.archives import FOLDER, ArchiveFetch, archive_text
from harness.assets.datasets.reading import gray_among_colour
from harness.assets.datasets.registry import Dataset
from harness.assets.fetching import HASHING_THREADS, Collection, place, wait_for
from harness.assets.manifest import DatasetManifest, DatasetManifestFile, Role, complete_dataset, missing_dataset
from harness.assets.progress import ProgressBar
from harness.errors import HarnessError
from harness.images import ImageError, look_at_image
from harness.names import is_safe


class DatasetCollection(Collection[Dataset, DatasetManifest]):
    """One dataset being collected."""

    kind = "datasets"
    manifest_type = DatasetManifest


class Supplied(DatasetCollection):
    """Collects a set that the user supplies: counts its images, and records the checksums that they have."""

    explained = ""  # what the folder that was looked at first holds instead

    def collect(self) -> DatasetManifest:
        """Collect a dataset of which only the layout and the number of images are registered."""
        mirrored = [holder for mirror in self.mirror_folders if (holder := self.in_mirror(mirror)) is not None]
        if self.given is not None:
            files = self._from_layout(self.given, "the folder")
            if files is None:
                raise HarnessError(
                    f"{self.given}: is no copy of '{self.record.name}': {self._tried()}; {self._wanted()}"
                    + (f"; {self.explained}" if self.explained else "")
                )
            self._drop_links({file.name for file in files})
            return complete_dataset(self.record.name, files)
        # A folder given before comes before a mirror: without checksums the two may differ, and the user has chosen.
        candidates = [(folder, "the own folder") for folder in self.paths.own_folders]
        candidates += [(holder, "the mirror") for holder in mirrored]
        candidates += self._unpacked()
        candidates += [(self.paths.folder, "its own place")] if self.paths.folder.is_dir() else []
        files = self._first_whole(candidates)
        if files is None and self.archives and self.record.archives:
            fetching = ArchiveFetch(self.record, self.paths.data, self.hosts, self.say)
            fetching.fetch()
            self.tried += fetching.tried
            files = self._first_whole(self._unpacked())
        if files is not None:
            self._drop_links({file.name for file in files})
            return complete_dataset(self.record.name, files)
        return missing_dataset(self.record.name, self._reason())

    def _unpacked(self) -> list[tuple[Path, str]]:
        folders = {self.paths.data / FOLDER / archive.unpacked_into: None for archive in self.record.archives}
        return [(folder, "its archive") for folder in folders if folder.is_dir()]

    def _first_whole(self, candidates: list[tuple[Path, str]]) -> list[DatasetManifestFile] | None:
        """Take the images of the first folder that holds the set; None where none does."""
        for folder, label in candidates:
            if not folder.is_dir():
                self.tried.append(f"{label} is gone")
                self.say(f"{self.record.name}: {folder} is gone")
                continue
            try:
                files = self._from_layout(folder, label)
            except HarnessError as error:  # a packed release that is damaged; nobody waits at the terminal for it
                if isinstance(error.__cause__, OSError):  # a full disk is another matter
                    raise
                self.tried.append(f"{label} holds a damaged or foreign release")
                self.say(f"{self.record.name}: {error}")
                continue
            if files is not None:
                return files
        return None

    def _reason(self) -> str:
        """Say why the set is missing, and how it can be had."""
        name = self.record.name
        tried = f" ({self._tried()})" if self.tried else ""
        own = f"get it from {self.record.homepage} and run `harness datasets fetch {name} --from FOLDER`"
        asked = ", ".join(archive_text(archive) for archive in self.record.archives if archive.urls)
        by_hand = ", ".join(archive_text(archive) for archive in self.record.archives if not archive.urls)
        reason = f"it has no public source with checksums{tried}"
        if asked:
            # Where it was asked for, `tried` says what came of it.
            reason = f"it {'could not be downloaded' if self.archives else 'is downloaded only when asked for'}{tried}"
            again = "run it again" if self.archives else f"run `harness datasets fetch {name} --archives`"
            own = f"{again}, which downloads {asked}, or {own}"
        elif by_hand:
            again = "again" if self.archives else "with --archives"
            own += f", or fetch {by_hand} with a browser, put it into data/archives and run the command {again}"
        return f"{reason}; {own}; {self._wanted()}" + (f"; {self.explained}" if self.explained else "")

    def _tried(self) -> str:
        return ", ".join(dict.fromkeys(self.tried))

    def _wanted(self) -> str:
        return "the folder must hold " + " or ".join([*layouts.layout_text(self.record), *unpacked_text(self.record)])

    def _from_layout(self, folder: Path, label: str) -> list[DatasetManifestFile] | None:
        """Take a folder's images if they are as many as they should be; None, with a remark, where they are not."""
        names = folders.files_below(folder)
        if folder == self.paths.folder:  # links into a folder that is gone say nothing of what is missing
            names = [name for name in names if (folder / name).exists()]
        if self.record.unpack:
            from harness.assets.datasets.unpacking import unpack

            if unpack(self.record, folder, self.paths.folder, names):
                folder, names = self.paths.folder, folders.files_below(self.paths.folder)
        arranged = layouts.arrange(self.record, folder, names)
        best, images = arranged.found, arranged.images
        if not arranged.holds(*self.record.counts):
            if folder != self.paths.folder or images:
                what = "pairs" if self.record.kind == "pairs" else "images"
                counted = f"{images} {what} of {self.record.count}"
                if images in self.record.counts:
                    counted = f"{images} {what} {'in several places' if arranged.rival else 'and one of them twice'}"
                self.tried.append(f"{label} has {counted}")
                explained = layouts.explain(self.record, arranged, names, folder)
                # The folder looked at first is the user's; what was linked from it says the same in other names.
                self.explained = self.explained or explained
                self.say(f"{self.record.name}: {folder} has {counted}; {explained}")
            return None
        unsafe = [name for name in best.values() if not is_safe(name)]
        if unsafe:
            name = folders.printable(unsafe[0])
            self.tried.append(f"{label} has file names that not every system can hold, such as {name}")
            self.say(f"{self.record.name}: {folder / name}: rename it; not every system can hold this name")
            return None
        return self._hash_images(folder, best, label)

    def _hash_images(
        self, folder: Path, found: dict[tuple[str, Role], str], label: str
    ) -> list[DatasetManifestFile] | None:
        def learn(item: tuple[tuple[str, Role], str]) -> DatasetManifestFile | tuple[str, str]:
            (image, role), name = item
            path = folder / name
            try:
                problem, _ = look_at_image(path)
                if problem:
                    return name, problem
                sha256, pixels, shape = self.hashes.image(path)
            except OSError as error:
                return name, f"cannot be read ({error.strerror or error})"
            except ImageError as error:
                return name, error.problem
            inside = f"{image}{path.suffix}" if self.record.kind == "images" else f"{role}/{image}{path.suffix}"
            place(path, self.path(inside))
            self.hashes.image(self.path(inside))  # a copy has stats of its own
            return DatasetManifestFile(inside, image, role, path.stat().st_size, sha256, pixels, shape)

        described: list[DatasetManifestFile] = []
        problems: list[tuple[str, str]] = []
        items = sorted(found.items())
        with ProgressBar(self.record.name, len(items)) as bar, ThreadPoolExecutor(HASHING_THREADS) as pool:
            futures = [pool.submit(learn, item) for item in items]
            for future in futures:
                future.add_done_callback(lambda _: bar.advance(1))
            wait_for(futures)
            for future in futures:
                result = future.result()
                if isinstance(result, tuple):
                    problems.append(result)
                else:
                    described.append(result)
        shown = {(file.image, file.role): found[file.image, file.role] for file in described}
        shapes = {(file.image, file.role): file.shape for file in described}
        problems += [(shown[key], text) for key, text in wrong_sizes(self.record, shapes)]
        if problems:
            for name, text in problems[:10]:
                self.say(f"{folder / name}: {text}")
            more = f" and {len(problems) - 1} more are no better" if len(problems) > 1 else ""
            self.tried.append(f"in {label} {problems[0][0]} {problems[0][1]}{more}")
            return None
        mixed = gray_among_colour({found[key]: len(shape) for key, shape in shapes.items()})
        if mixed:
            self.say(f"{self.record.name}: {mixed}")
        return described

    def _drop_links(self, keep: set[str]) -> None:
        """Remove links that an earlier, different folder left behind."""
        for name in folders.files_below(self.paths.folder):
            path = self.path(name)
            if name not in keep and path.is_symlink():
                with contextlib.suppress(OSError):
                    path.unlink()


def wrong_sizes(record: Dataset, shapes: dict[tuple[str, Role], tuple[int, ...]]) -> list[tuple[tuple[str, Role], str]]:
    """List the images whose size is not that of their partner, or none that the set has (a scaled copy).

    And gray pairs among colour ones: a network takes the one or the other.

    `shapes`: Shape by (image, role).
    Returns: (image, role), and what is wrong with it.
    """
    problems: list[tuple[tuple[str, Role], str]] = []
    allowed = " or ".join(f"{width}x{height}" for height, width in record.sizes)
    mixed = record.kind == "pairs" and len({len(shape) for shape in shapes.values()}) > 1
    for (image, role), shape in shapes.items():
        partner = shapes.get((image, "input"), shape)
        if shape != partner:
            sizes = folders.size_text(shape), folders.size_text(partner)
            problems.append(((image, role), f"is {sizes[0]}, its partner {sizes[1]}"))
        elif record.sizes and shape[:2] not in record.sizes:
            problems.append(((image, role), f"is {shape[1]}x{shape[0]} instead of {allowed}"))
        elif mixed and len(shape) == 2 == len(shapes.get((image, "target"), shape)):
            problems.append(((image, role), "is gray among colour images; store it as colour"))
    return problems


_PACKED = {
    "sidd-blocks": "ValidationNoisyBlocksSrgb.mat and ValidationGtBlocksSrgb.mat",
    "dnd": "images_srgb/0001.mat to 0050.mat and info.mat",
    "input-left": "images whose left half is the input and whose right half is the ground truth",
    "input-right": "images whose left half is the ground truth and whose right half is the input",
}


def unpacked_text(record: Dataset) -> list[str]:
    """Write how else a folder may hold a set: packed as its owners release it."""
    return [_PACKED[record.unpack]] if record.unpack else []
