"""Reading a fetched dataset: every image's bytes are hashed before they are decoded."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.registry import Dataset, LandscapeCrop, dataset
from harness.assets.manifest import DatasetManifest, DatasetManifestFile, Role
from harness.assets.places import AssetPaths
from harness.assets.verified import forget
from harness.errors import HarnessError, Missing, NotAvailableError, unknown_name
from harness.images import decode_image

MOST_KEPT = 2**27
"""Bytes of decoded images that are kept for the next level."""

_DIGITS = re.compile(r"([0-9]+)")


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which ``2`` comes before ``10``."""
    parts = enumerate(_DIGITS.split(name))  # digits at odd places
    return [(0, int(part), part) if index % 2 else (1, 0, part) for index, part in parts if part]


def gray_among_colour(dimensions: Mapping[str, int]) -> str:
    """Say which images of a set are gray and which are not; empty where all are of one kind.

    `dimensions`: Dimensions of each image's array, by its name: 2 for gray, 3 for colour.
    """
    gray, colour = (
        [name for name, count in dimensions.items() if (count == 2) == of_gray] for of_gray in (True, False)
    )
    if not gray or not colour:
        return ""
    few, kinds = (
        (gray, "gray among colour images") if len(gray) <= len(colour) else (colour, "colour among gray images")
    )
    more = f" and {len(few) - 3} more" if len(few) > 3 else ""
    return (
        f"{', '.join(few[:3])}{more} {'is' if len(few) == 1 else 'are'} {kinds}; one mean over both would be neither "
        "kind's number: store all in colour, or make two sets"
    )


def open_dataset(name: str, data: str | os.PathLike[str]) -> FetchedDataset:
    """Open a dataset that was fetched.

    Returns: Names of the images, and their pixels on request.
    Raises NotAvailableError: It is not here; the reason is the message.
    Raises HarnessError: The name is unknown, or the manifest is damaged.
    """
    record = dataset(name)
    paths = AssetPaths(Path(data), "datasets", record.name)
    if not paths.manifest.is_file():
        raise NotAvailableError(
            f"dataset '{record.name}' was not fetched into {data}; run `harness datasets fetch {record.name}`",
            Missing("dataset", record.name),
        )
    manifest = DatasetManifest.read(paths.manifest)
    if manifest.dataset != record.name:
        raise HarnessError(
            f"{paths.manifest}: is the manifest of '{manifest.dataset}'; delete it and fetch '{record.name}' again"
        )
    if not manifest.complete:
        raise NotAvailableError(
            f"dataset '{record.name}' is not here: {manifest.reason}", Missing("dataset", record.name)
        )
    return FetchedDataset(record, paths._replace(name=manifest.base or record.name), manifest)


class FetchedDataset:
    """A dataset whose files are there; made by `open_dataset`.

    `image_ids`: Names of the images in natural order (``2`` before ``10``).
    """

    def __init__(self, record: Dataset, holder: AssetPaths, manifest: DatasetManifest) -> None:
        self.name = record.name
        self.record = record
        self.manifest = manifest
        self._holder = holder  # of a derived dataset the one it is made from
        self._leading: Role = "input" if record.kind == "inputs" else "target"
        self._files = {(file.image, file.role): file for file in manifest.files}
        self.image_ids = sorted({file.image for file in manifest.files}, key=natural_key)

    def read(self, image_id: str) -> NDArray[np.uint8]:
        """Read an image's ground truth.

        Returns: ``(H, W) uint8`` or ``(H, W, 3) uint8`` RGB 0..255.
        Raises HarnessError: The name is unknown; or the file is missing, changed, truncated or damaged.
        Raises NotAvailableError: The set's ground truth is not given out.
        """
        return self._read(self._file(image_id, "target"))

    def reading_once(self, uses: Iterable[str]) -> Callable[[str], NDArray[np.uint8]]:
        """Make a `read` that keeps what is used more than once, as long as that takes no more than `MOST_KEPT`.

        `uses`: The image of each use to come.
        Returns: May be called in several threads at once; each array is the caller's own.
        """
        count = Counter(uses)
        kept: dict[str, NDArray[np.uint8]] = {}

        def read(image_id: str) -> NDArray[np.uint8]:
            pixels = kept.get(image_id)
            if pixels is None:
                pixels = self.read(image_id)
                if count[image_id] > 1 and pixels.nbytes + sum(each.nbytes for each in [*kept.values()]) <= MOST_KEPT:
                    kept[image_id] = pixels
            # A copy: a degradation may write into what it is given.
            return pixels.copy()

        return read

    def read_input(self, image_id: str) -> NDArray[np.uint8]:
        """Read the degraded input of an image of pairs; the rest is as in `read`."""
        return self._read(self._file(image_id, "input"))

    def pixels_sha256(self, image_id: str) -> str:
        """SHA-256 of the samples of an image's ground truth (its input where the ground truth is not given out)."""
        return self._file(image_id, self._leading).pixels_sha256

    def path(self, image_id: str) -> Path:
        """File of an image's ground truth (of its input where the ground truth is not given out)."""
        return self._holder.folder / self._file(image_id, self._leading).name

    def all_sha256(self, image_id: str) -> list[str]:
        """SHA-256 of the samples of every file of an image: its ground truth, and the input of a pair."""
        found = [self._files.get((image_id, role)) for role in ("input", "target")]
        return [file.pixels_sha256 for file in found if file is not None]

    def shape(self, image_id: str) -> tuple[int, ...]:
        """Shape of an image, without reading it."""
        return self._file(image_id, self._leading).shape

    def _file(self, image_id: str, role: Role) -> DatasetManifestFile:
        if image_id not in self.image_ids:
            raise unknown_name(f"image of '{self.name}'", image_id, self.image_ids)
        file = self._files.get((image_id, role))
        if file is None:
            if role == "input":
                raise HarnessError(f"dataset '{self.name}' has no degraded inputs; make them from the ground truth")
            reason = f"dataset '{self.name}' has no ground truth: {self.record.note or 'inputs only'}"
            raise NotAvailableError(reason, Missing("server", self.name))
        return file

    def _read(self, file: DatasetManifestFile) -> NDArray[np.uint8]:
        path = self._holder.folder / file.name
        remedy = f"run `harness datasets fetch {self._holder.name}`"
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise HarnessError(f"{path}: is gone; {remedy}") from None
        except OSError as error:
            raise HarnessError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from None
        if hashlib.sha256(data).hexdigest() != file.sha256:
            forget(self._holder)  # so that the remedy looks at every byte
            what = "has another checksum than when it was fetched"
            if len(data) != file.bytes:
                what = f"has {len(data)} bytes instead of {file.bytes}"
            raise HarnessError(f"{path}: {what}; {remedy}")
        pixels = decode_image(data, str(path))
        if self.record.crop is not None:
            pixels = crop(pixels, self.record.crop)
        if pixels.shape != file.shape:
            raise HarnessError(f"{path}: decodes to {pixels.shape} instead of {file.shape}; {remedy}")
        return pixels


def crop(image: NDArray[np.uint8], cut: LandscapeCrop) -> NDArray[np.uint8]:
    """Cut a crop out of a landscape image, or its transpose out of an upright one.

    `image`: ``(H, W)`` or ``(H, W, 3)``.
    `cut`: Crop of the landscape image.
    """
    height, width, top, left = cut.height, cut.width, cut.top, cut.left
    if image.shape[0] > image.shape[1]:
        height, width, top, left = width, height, left, top
    return np.ascontiguousarray(image[top : top + height, left : left + width])
