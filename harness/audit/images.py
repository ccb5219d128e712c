"""The restored images of an audit: made again from the ground truth, or read where they are already there.

A *source* is one dataset at one level under one making. It measures images on request, under every finish, and keeps
only their values.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.measuring import Reference, pixels_left, psnr_values, ssim_values
from harness.audit.variants import (
    FINISHES,
    PSNR_READINGS,
    SSIM_READINGS,
    Finish,
    Making,
    dataset_variants,
    is_luma,
)
from harness.cells import SAVINGS, Group, InputId
from harness.datasets import fetch
from harness.datasets.reading import FetchedDataset, open_dataset
from harness.degradations import degradation
from harness.errors import HarnessError, NotAvailableError
from harness.files import write_json
from harness.images import read_image
from harness.methods import Method, build_method
from harness.metrics.luminance import STUDIO_RANGE
from harness.metrics.quantization import to_uint8
from harness.records import load_json
from harness.stages.apply import array_restorer, tensor_restorer
from harness.stages.inputs import make_input
from harness.stages.restored import RECORD, RestoredRecord, read_pixels, read_restored
from harness.workspace import Workspace

METRICS = ("psnr", "ssim")

Restorer = Callable[[str, str, NDArray[Any]], NDArray[np.float64]]
"""Dataset, image, degraded samples in; restored samples out, both in units of 0..255."""

VALUES_VERSION = 1
"""Version of the kept values of slow methods in work/audit; rises with any change of what is measured or how."""


class _Kept(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values of one image under one making: by finish, by metric."""

    seconds: float
    values: dict[str, dict[str, list[float | None]]]


class Source:
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

    def __init__(self, bench: Bench, task: str, dataset: str, level: int, making: Making, here: bool = False) -> None:
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
            self._restorer, self._identity = self._bench.restorer(self._task, self._level, self._making)
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
        kept = self._bench.kept(self, image, self._identity)
        if kept is not None:
            read = _decode(kept)
            if all(metric in values for values in read.values() for metric in metrics):
                return {f: v for f, v in read.items() if only is None or f in only}, kept.seconds
        reference_pixels, degraded = self._input(image)
        start = time.perf_counter()
        assert self._restorer is not None
        restored = self._restorer(self._fetched.name, image, degraded)
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
        self._bench.keep(self, image, self._identity, took, found)
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

    def stored_part(self) -> list[str]:
        """Images of this source that are stored in the workspace under some saving rule, though perhaps not all."""
        return [] if self.stored is None else [image for image in self.images if image in self._stored_images]

    def key(self, image: str) -> list[Any]:
        """Everything that determines the values of an image, apart from code and weights."""
        return [
            self._task,
            self.dataset,
            image,
            self._fetched.pixels_sha256(image),
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


def _decode(kept: _Kept) -> dict[Finish, dict[str, NDArray[np.float64]]]:
    return {
        Finish(*name.split("/")): {
            metric: np.array([np.nan if value is None else value for value in row]) for metric, row in values.items()
        }
        for name, values in kept.values.items()
    }


class Bench:
    """Where an audit gets its images from: one workspace, every source opened once.

    Parameters
    ----------
    workspace : Workspace
        Holds data/ and work/.
    workers : int
        Threads for methods that are no networks.
    """

    def __init__(self, workspace: Workspace, workers: int = 2) -> None:
        self.workspace = workspace
        self.methods = workspace.methods()
        self.workers = workers
        self._sources: dict[tuple[str, str, int, Making, bool], Source] = {}
        self._opened: dict[str, FetchedDataset] = {}
        self._records: dict[Group, RestoredRecord | None] = {}
        self._restorers: dict[tuple[str, int, str, str], tuple[Restorer, str]] = {}

    def method(self, name: str) -> Method:
        """Look a method up among those known here."""
        return self.methods[name]

    def light(self, name: str) -> bool:
        """Whether a method is a plain function on arrays, or a folder of images."""
        found = self.methods[name]
        return found.on == "images" or (found.on == "array" and not found.weights and not found.extra)

    def parallel(self, name: str) -> bool:
        """Whether images may be restored side by side."""
        return self.light(name) and not self.methods[name].random

    def source(self, task: str, dataset: str, level: int, making: Making, here: bool = False) -> Source:
        """Open a source once; `here` leaves aside what is stored, so that every finish can be measured.

        Raises
        ------
        NotAvailableError
            The dataset is not here.
        """
        # The other datasets of a making do not matter to this one.
        plain = msgspec.structs.replace(making, datasets=())
        key = (task, dataset, level, plain, here)
        if key not in self._sources:
            self._sources[key] = Source(self, task, dataset, level, plain, here)
        return self._sources[key]

    def whole_source(self, task: str, dataset: str, level: int, making: Making, here: bool = False) -> Source:
        """Open a source that holds every image: where only some of them are stored, all are restored here.

        Raises
        ------
        NotAvailableError
            The dataset is not here.
        """
        source = self.source(task, dataset, level, making, here)
        if source.stored is not None and len(source.stored_part()) < len(source.images):
            return self.source(task, dataset, level, making, here=True)
        return source

    def open(self, name: str) -> FetchedDataset:
        """Open a dataset; one that is made from a dataset that is here is made."""
        if name not in self._opened:
            try:
                self._opened[name] = open_dataset(name, self.workspace.data)
            except NotAvailableError:
                base = next((other for other in dataset_variants(name) if other != name and self._is_here(other)), None)
                if base is None:
                    raise
                fetch(name, self.workspace.data)
                self._opened[name] = open_dataset(name, self.workspace.data)
        return self._opened[name]

    def _is_here(self, name: str) -> bool:
        try:
            open_dataset(name, self.workspace.data)
        except HarnessError:
            return False
        return True

    def restorer(self, task: str, level: int, making: Making) -> tuple[Restorer, str]:
        """Build a method once; with the identity of its code and weights."""
        key = (task, level, making.method, making.policy)
        if key not in self._restorers:
            self._restorers[key] = self._build(task, level, making)
        return self._restorers[key]

    def _build(self, task: str, level: int, making: Making) -> tuple[Restorer, str]:
        # Methods load weights and released images from the workspace's own folder.
        os.environ["HARNESS_DATA"] = str(self.workspace.data.resolve())
        found = self.methods[making.method]
        used: list[str] = []
        if found.weights:
            from harness.weights.recording import recording

            with recording() as loaded:
                function = build_method(found, task, level)
            used = sorted(item.sha256 for item in loaded)
        else:
            function = build_method(found, task, level)
        if found.on == "images":
            return _released(function), ""
        if found.on == "tensor":
            scale = level if task == "sr" else 1
            plain = tensor_restorer(function, making.policy, found.chop.get(task, ""), scale)
        else:
            plain = array_restorer(function, making.policy)
        identity = ""
        if not self.light(making.method):
            from harness.pipeline.code import fingerprint, method_code

            identity = fingerprint(method_code(found)) + "".join(used)
        return (lambda dataset, image, degraded: np.asarray(plain(degraded), dtype=np.float64)), identity

    def restored_folder(self, group: Group) -> Path:
        """Folder of a group's restored images in the workspace."""
        return self.workspace.work / "restored" / group.place

    def restored_record(self, group: Group) -> RestoredRecord | None:
        """Read the record of a group's restored images once; None where there are none."""
        if group not in self._records:
            folder = self.restored_folder(group)
            self._records[group] = read_restored(folder) if (folder / RECORD).is_file() else None
        return self._records[group]

    def _file(self, source: Source, image: str, identity: str) -> Path:
        text = msgspec.json.encode([VALUES_VERSION, identity, source.key(image)])
        digest = hashlib.sha256(text).hexdigest()
        return self.workspace.work / "audit" / digest[:2] / f"{digest[2:32]}.json"

    def kept(self, source: Source, image: str, identity: str) -> _Kept | None:
        """Values that an earlier audit kept of a slow method's image."""
        if not identity:
            return None
        path = self._file(source, image, identity)
        if not path.is_file():
            return None
        try:
            return load_json(path, _Kept)
        except HarnessError:
            path.unlink(missing_ok=True)
            return None

    def keep(
        self,
        source: Source,
        image: str,
        identity: str,
        seconds: float,
        values: dict[Finish, dict[str, NDArray[np.float64]]],
    ) -> None:
        """Keep the values of a slow method's image for the next audit."""
        if not identity:
            return
        plain = {
            f"{finish.saving}/{finish.span}": {
                metric: [None if np.isnan(value) else float(value) for value in row] for metric, row in of.items()
            }
            for finish, of in values.items()
        }
        write_json(self._file(source, image, identity), _Kept(round(seconds, 3), plain))


def _released(function: Callable[..., Any]) -> Restorer:
    def read(dataset: str, image: str, degraded: NDArray[Any]) -> NDArray[np.float64]:
        found = function(dataset, image)
        return np.asarray(read_image(found) if isinstance(found, str | os.PathLike) else found, dtype=np.float64)

    return read


def probes(images: list[str], count: int) -> list[str]:
    """Choose images evenly spread over a set."""
    if count >= len(images):
        return list(images)
    return [images[round(step * (len(images) - 1) / max(1, count - 1))] for step in range(count)]
