"""A source of restored images: one dataset at one level under one making, measured on request under every finish.

Images are made again from the ground truth, or read where they are stored already; only their values are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import FetchedDataset
from harness.assets.inputs import make_input
from harness.audit.kept import Shelf
from harness.audit.measuring import Reference, pixels_left, psnr_values, ssim_values
from harness.audit.variants import FINISHES, PSNR_READINGS, SSIM_READINGS, Finish, Making, is_luma
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.metrics.luminance import STUDIO_RANGE
from harness.metrics.quantization import to_uint8
from harness.records.cells import SAVINGS, Group, InputId
from harness.records.restored import RestoredRecord, read_pixels
from harness.run.apply import WrongResultError

Restorer = Callable[[str, str, NDArray[Any]], NDArray[np.float64]]
"""Dataset, image, degraded samples in; restored samples out, both in units of 0..255."""


class Images(Protocol):
    """Where a source gets its images and restoring functions from (`harness.audit.images.Bench`)."""

    workers: int
    shelf: Shelf

    def open(self, name: str) -> FetchedDataset:
        """Open a dataset."""
        ...

    def restorer(self, task: str, dataset: str, level: int, making: Making) -> tuple[Restorer, str]:
        """Give the function that restores, and what identifies it."""
        ...

    def light(self, name: str) -> bool:
        """Whether a method is a plain function on arrays, or a folder of images."""
        ...

    def parallel(self, name: str) -> bool:
        """Whether images may be restored side by side."""
        ...

    def restored_folder(self, group: Group) -> Path:
        """Folder of a group's restored images."""
        ...

    def restored_record(self, group: Group) -> RestoredRecord | None:
        """What was restored of a group, or None."""
        ...


class RestoredSet:
    """One dataset at one level under one making.

    Attributes
    ----------
    dataset, level : str, int
        Which.
    images : list of str
        Names of the images.
    seconds : float
        Time that restoring one image took (mean of those restored so far).
    """

    def __init__(self, bench: Images, task: str, dataset: str, level: int, making: Making, here: bool = False) -> None:
        self._bench, self._task, self._level, self._making = bench, task, level, making
        self._made = degradation(making.degradation)
        self._fetched = bench.open(dataset)
        self.dataset = dataset
        self.level = level
        self.images = self._fetched.image_ids
        self.scale = self._made.scale(level) if task == "sr" else 1
        self._values: dict[Finish, dict[str, dict[str, NDArray[np.float64]]]] = {}
        self._read: dict[tuple[Finish, str], NDArray[np.bool_]] = {}
        self._restorer: Restorer | None = None
        self._identity = ""
        self._took: list[float] = []
        self.stored = None if here else self._find_stored()

    @property
    def seconds(self) -> float:
        """Seconds that restoring one image took; 0 where nothing was restored yet."""
        return float(np.mean(self._took)) if self._took else 0.0

    def finishes(self) -> list[Finish]:
        """Finishes that have values."""
        return list(self._values)

    def done(self, metric: str, finish: Finish) -> list[str]:
        """Images that have values of a metric under a finish, in the dataset's order."""
        found = self._values.get(finish, {}).get(metric, {})
        return [image for image in self.images if image in found]

    def values(self, metric: str, finish: Finish, images: Iterable[str]) -> NDArray[np.float64]:
        """Values ``(images, readings)`` of a metric."""
        found = self._values[finish][metric]
        return np.array([found[image] for image in images])

    def pixels(self, images: Iterable[str]) -> NDArray[np.float64]:
        """Pixels that each PSNR reading compares, ``(images, readings)``."""
        return np.array([pixels_left(self._reference_shape(image), self.scale) for image in images])

    def _reference_shape(self, image: str) -> tuple[int, ...]:
        height, width = self._fetched.shape(image)[:2]
        return height // self.scale * self.scale, width // self.scale * self.scale

    @property
    def same_size(self) -> bool:
        """Whether all images have one number of pixels (then pooling by pixels changes nothing)."""
        return len({self._fetched.shape(image)[0] * self._fetched.shape(image)[1] for image in self.images}) == 1

    def measure(
        self,
        metrics: Iterable[str],
        images: Iterable[str],
        finishes: Iterable[Finish] | None = None,
        wanted: NDArray[np.bool_] | None = None,
    ) -> None:
        """Measure images that have no values yet.

        Parameters
        ----------
        metrics : iterable of str
            ``psnr``, ``ssim``.
        images : iterable of str
            Which.
        finishes : iterable of Finish, optional
            Only these; otherwise every one that can be told apart.
        wanted : ndarray of bool, optional
            Which of the SSIM readings; all where nothing is given.

        Raises
        ------
        HarnessError
            The method cannot do this, or its weights are not here.
        """
        chosen = tuple(metrics)
        only = None if finishes is None else set(finishes)
        mask = np.ones(len(SSIM_READINGS), dtype=bool) if wanted is None else wanted
        todo = [image for image in images if self._missing(image, chosen, only, mask)]
        if not todo:
            return
        if self.stored is None and self._restorer is None:
            self._restorer, self._identity = self._bench.restorer(self._task, self.dataset, self._level, self._making)
        parallel = self._bench.parallel(self._making.method) or self.stored is not None
        with ThreadPoolExecutor(max_workers=self._bench.workers if parallel else 1) as pool:
            results = pool.map(lambda image: self._measure(image, chosen, only, mask), todo)
            for image, (kept, took) in zip(todo, results, strict=True):
                if took is not None:
                    self._took.append(took)
                for finish, values in kept.items():
                    self._take(image, finish, values, mask)

    def _take(
        self, image: str, finish: Finish, values: dict[str, NDArray[np.float64]], mask: NDArray[np.bool_]
    ) -> None:
        for metric, row in values.items():
            into = self._values.setdefault(finish, {}).setdefault(metric, {})
            if metric == "psnr" or image not in into:
                into[image] = row
            else:
                into[image] = np.where(mask, row, into[image])
        if "ssim" in values:
            read = self._read.get((finish, image))
            self._read[finish, image] = mask if read is None else read | mask

    def _missing(self, image: str, metrics: tuple[str, ...], only: set[Finish] | None, mask: NDArray[np.bool_]) -> bool:
        finishes = only if only is not None else set(self._values)
        if not finishes:
            return True
        for finish in finishes:
            if "psnr" in metrics and image not in self._values.get(finish, {}).get("psnr", {}):
                return True
            read = self._read.get((finish, image))
            if "ssim" in metrics and (read is None or (mask & ~read).any()):
                return True
        return False

    def _measure(
        self, image: str, metrics: tuple[str, ...], only: set[Finish] | None, mask: NDArray[np.bool_]
    ) -> tuple[dict[Finish, dict[str, NDArray[np.float64]]], float | None]:
        if self.stored is not None:
            reference = Reference(self._made.reference(self._fetched.read(image), self._level), self.scale)
            found = {}
            for saving, folder in self.stored.items():
                finish = Finish(saving)
                if only is None or finish in only:
                    file = folder / InputId(self._level, self._making.noise.seed, image).file
                    found[finish] = _all(reference, read_pixels(file, saving), metrics, mask)
            return found, None
        kept = self._bench.shelf.read(self.key(image), self._identity)
        if kept is not None:
            read = kept.decoded()
            if all(metric in values for values in read.values() for metric in metrics):
                return {f: v for f, v in read.items() if only is None or f in only}, kept.seconds
        reference_pixels, degraded = self._input(image)
        start = time.perf_counter()
        assert self._restorer is not None
        try:
            restored = self._restorer(self._fetched.name, image, degraded)
        except WrongResultError as error:
            raise HarnessError(f"method '{self._making.method}' on {self.dataset}/{image} {error}") from None
        took = time.perf_counter() - start
        if restored.shape[:2] != reference_pixels.shape[:2]:
            raise HarnessError(
                f"method '{self._making.method}' returned {restored.shape} for a reference of {reference_pixels.shape}"
            )
        reference = Reference(reference_pixels, self.scale)
        if self._bench.parallel(self._making.method):
            return self._finished(reference, restored, metrics, only, mask), took
        # What took long is measured whole, and kept for the next audit.
        found = self._finished(reference, restored, metrics, None, np.ones(len(SSIM_READINGS), dtype=bool))
        self._bench.shelf.write(self.key(image), self._identity, took, found)
        return found, took

    def _input(self, image: str) -> tuple[NDArray[Any], NDArray[Any]]:
        which = InputId(self._level, self._making.noise.seed, image)
        return make_input(self._fetched, self._made, which, self._fetched.read(image))

    def _finished(
        self,
        reference: Reference,
        restored: NDArray[np.float64],
        metrics: tuple[str, ...],
        only: set[Finish] | None,
        mask: NDArray[np.bool_],
    ) -> dict[Finish, dict[str, NDArray[np.float64]]]:
        """Measure an output under every finish; outputs that a finish does not change are measured once."""
        found: dict[Finish, dict[str, NDArray[np.float64]]] = {}
        seen: list[tuple[NDArray[Any], dict[str, NDArray[np.float64]]]] = []
        for finish in FINISHES:
            if (only is not None and finish not in only) or not self._fits(finish, restored):
                continue
            pixels = finished(restored, finish)
            # Other dtypes with the same samples: an identity of 8-bit input is not changed by rounding.
            known = next((values for other, values in seen if np.array_equal(other, pixels)), None)
            if known is None:
                known = _all(reference, pixels, metrics, mask)
                seen.append((pixels, known))
            found[finish] = known
        return found

    def _fits(self, finish: Finish, restored: NDArray[Any]) -> bool:
        if finish.span == "studio":
            return restored.ndim == 2 and is_luma(self._made)
        return True

    def _find_stored(self) -> dict[str, Path] | None:
        """Folders of the workspace's restored images that hold this source, by saving rule; None: restore here.

        Further noise draws are stored for some images of a set only; `stored_part` lists them.
        """
        making = self._making
        self._stored_images: set[str] = set()
        if self._bench.light(making.method):
            return None
        found: dict[str, Path] = {}
        for saving in SAVINGS:
            group = Group(self._task, self.dataset, making.degradation, making.method, making.policy, saving)
            folder = self._bench.restored_folder(group)
            record = self._bench.restored_record(group)
            if record is None or record.reason or record.degradation_version != self._made.version:
                continue
            files = {image: InputId(self._level, making.noise.seed, image).file for image in self.images}
            there = {image for image, file in files.items() if file in record.images and (folder / file).is_file()}
            if there and (not found or there == self._stored_images):
                found[saving] = folder
                self._stored_images = there
        return found or None

    def not_restored(self) -> str:
        """Say why the workspace's restoring left this source out (weights that cannot be had); empty otherwise."""
        for saving in SAVINGS:
            making = self._making
            group = Group(self._task, self.dataset, making.degradation, making.method, making.policy, saving)
            record = self._bench.restored_record(group)
            if record is not None:
                level = record.levels.get(self.level)
                return record.reason or (level.reason if level is not None else "")
        return ""

    def stored_part(self) -> list[str]:
        """Images of this source that are stored in the workspace under some saving rule, though perhaps not all."""
        return [] if self.stored is None else [image for image in self.images if image in self._stored_images]

    def key(self, image: str) -> list[Any]:
        """Everything that determines the values of an image, apart from code and weights."""
        return [
            self._task,
            self.dataset,
            image,
            *self._fetched.all_sha256(image),
            self._level,
            self._made.name,
            self._made.version,
            self._making.method,
            self._making.policy,
            msgspec.to_builtins(self._making.noise),
            [r.label for r in (*PSNR_READINGS, *SSIM_READINGS)],
        ]


def _all(
    reference: Reference, pixels: NDArray[Any], metrics: tuple[str, ...], mask: NDArray[np.bool_]
) -> dict[str, NDArray[np.float64]]:
    found = {}
    if "psnr" in metrics:
        found["psnr"] = psnr_values(reference, pixels)
    if "ssim" in metrics:
        found["ssim"] = ssim_values(reference, pixels, mask)
    return found


def finished(restored: NDArray[np.float64], finish: Finish) -> NDArray[Any]:
    """Keep an output (float64, units of 0..255) under a finish."""
    pixels = np.clip(restored, *STUDIO_RANGE) if finish.span == "studio" else restored
    if finish.saving == "raw":
        return pixels
    if finish.saving == "unrounded":
        return np.clip(pixels, 0, 255)
    return to_uint8(pixels, finish.saving)  # type: ignore[arg-type]


def probes(images: list[str], count: int) -> list[str]:
    """Choose images evenly spread over a set."""
    if count >= len(images):
        return list(images)
    return [images[round(step * (len(images) - 1) / max(1, count - 1))] for step in range(count)]
