"""Where an audit's restored images come from, and their values.

A source is one dataset at one level under one making. Its images are made again from the ground truth, or read where
the workspace has them stored; only their values are kept. Values of slow methods' images are also kept in work/audit
for the next audit, one small file an image and making.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets import fetch
from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.assets.inputs import make_input
from harness.assets.weights.recording import recording
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
from harness.degradations import degradation
from harness.errors import HarnessError, NotAvailableError
from harness.methods import build_method
from harness.methods.fingerprints import fingerprint, method_code, method_packages
from harness.metrics.luminance import STUDIO_RANGE
from harness.metrics.quantization import to_uint8
from harness.records.cells import SAVINGS, Group, InputId
from harness.records.in_use import loading_from
from harness.records.loading import read_kept, write_kept
from harness.records.restored import RECORD, RestoredRecord, read_pixels, read_restored
from harness.records.runs import library_versions
from harness.records.tasks import TASKS
from harness.run.apply import WrongResultError, array_restorer, image_restorer, tensor_restorer
from harness.run.restore import depends_sha256
from harness.tables.workspace import Workspace

Restorer = Callable[[str, str, NDArray[Any]], NDArray[np.float64]]
"""Dataset, image, degraded samples in; restored samples out, both in units of 0..255."""

Values = dict[str, NDArray[np.float64]]
"""Values of one image by metric, one a reading."""

ALL_SSIM = np.ones(len(SSIM_READINGS), dtype=bool)

VALUES_VERSION = 1
"""Version of the kept values; rises with any change of what is measured or how."""


class Bench:
    """Where an audit gets its images from: one workspace, every source opened once.

    `workers` is the number of threads for methods that are no networks.
    """

    def __init__(self, workspace: Workspace, workers: int = 2) -> None:
        self.workspace = workspace
        self.methods = workspace.methods()
        self.workers = workers
        self._sources: dict[tuple[str, str, int, Making, bool], RestoredSet] = {}
        self._opened: dict[str, FetchedDataset] = {}
        self._records: dict[Group, RestoredRecord | None] = {}
        self._restorers: dict[tuple[str, str, int, str, str], tuple[Restorer, str]] = {}

    def light(self, name: str) -> bool:
        """Whether a method is a plain function on arrays, or a folder of images."""
        method = self.methods[name]
        return method.on == "images" or (method.on == "array" and not method.weights and not method.extra)

    def parallel(self, name: str) -> bool:
        """Whether images may be restored side by side."""
        return self.light(name) and not self.methods[name].random

    def source(self, task: str, dataset: str, level: int, making: Making, here: bool = False) -> RestoredSet:
        """Open a source once; `here` leaves aside what is stored, so that every finish can be measured.

        Raises NotAvailableError: The dataset is not here.
        """
        # The other datasets of a making do not matter to this one.
        plain = msgspec.structs.replace(making, datasets=())
        key = (task, dataset, level, plain, here)
        if key not in self._sources:
            self._sources[key] = RestoredSet(self, task, dataset, level, plain, here)
        return self._sources[key]

    def whole_source(self, task: str, dataset: str, level: int, making: Making, here: bool = False) -> RestoredSet:
        """Open a source that holds every image: where only some of them are stored, all are restored here."""
        source = self.source(task, dataset, level, making, here)
        if source.stored and len(source.stored_images) < len(source.images):
            return self.source(task, dataset, level, making, here=True)
        return source

    def open(self, name: str) -> FetchedDataset:
        """Open a dataset; one that is made from a dataset that is here is made."""
        if name not in self._opened:
            try:
                self._opened[name] = open_dataset(name, self.workspace.data)
            except NotAvailableError:
                if not any(self._is_here(other) for other in dataset_variants(name)[1:]):
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

    def restorer(self, task: str, dataset: str, level: int, making: Making) -> tuple[Restorer, str]:
        """Build a method once, or once a dataset if it has a model for each; with the identity of its code and weights.

        Raises NotAvailableError: The method cannot do this, or its weights are not here.
        """
        chosen = dataset if self.methods[making.method].weights_for else ""
        key = (task, chosen, level, making.method, making.policy)
        if key not in self._restorers:
            self._restorers[key] = self._build(task, chosen, level, making)
        return self._restorers[key]

    def _build(self, task: str, dataset: str, level: int, making: Making) -> tuple[Restorer, str]:
        method = self.methods[making.method]
        with loading_from(self.workspace.root), recording() as loaded:
            function = build_method(method, task, level, dataset)
        if method.on == "images":
            find = image_restorer(function, "unrounded")
            return (lambda dataset, image, degraded: find(dataset, image)), ""
        if method.on == "tensor":
            restore = tensor_restorer(function, making.policy, method.chop.get(task, ""), TASKS[task].scale(level))
        else:
            restore = array_restorer(function, making.policy)
        identity = ""
        if not self.light(making.method):
            used = sorted(item.sha256 for item in loaded)
            versions = library_versions(method_packages(method))
            parts = [used, sorted(depends_sha256(method).items()), sorted(versions.items())]
            identity = fingerprint(method_code(method)) + msgspec.json.encode(parts).decode()
        return (lambda dataset, image, degraded: restore(degraded)), identity

    def restored(self, group: Group) -> tuple[Path, RestoredRecord | None]:
        """Name the folder of a group's restored images, and read their record once, if there is one."""
        folder = self.workspace.work / "restored" / group.place
        if group not in self._records:
            self._records[group] = read_restored(folder) if (folder / RECORD).is_file() else None
        return folder, self._records[group]


class RestoredSet:
    """One dataset at one level under one making.

    `dataset`, `level`: Which.
    `images`: Names of the images.
    `stored`: Folders of the workspace's restored images by saving rule; empty where images are restored here.
    `stored_images`: Images that are stored: of further noise draws only some of a set are.
    """

    def __init__(self, bench: Bench, task: str, dataset: str, level: int, making: Making, here: bool = False) -> None:
        self._bench, self._task, self._making = bench, task, making
        self._degradation = degradation(making.degradation)
        self._fetched = bench.open(dataset)
        self.dataset = dataset
        self.level = level
        self.images = self._fetched.image_ids
        self.scale = TASKS[task].scale(level)
        self._values: dict[Finish, dict[tuple[str, str], NDArray[np.float64]]] = {}
        self._read: dict[tuple[Finish, str], NDArray[np.bool_]] = {}
        self.stored: dict[str, Path] = {}
        self.stored_images: list[str] = []
        if not here and not bench.light(making.method):
            self._find_stored()

    @property
    def finishes(self) -> list[Finish]:
        """Finishes that have values, in the order of `FINISHES`: a file of kept values has its names sorted."""
        return [finish for finish in FINISHES if finish in self._values]

    def is_whole(self, metric: str, finish: Finish) -> bool:
        """Whether every image has values of a metric under a finish."""
        return all((metric, image) in self._values.get(finish, {}) for image in self.images)

    def values(self, metric: str, finish: Finish, images: Iterable[str] | None = None) -> NDArray[np.float64]:
        """Values ``(images, readings)`` of a metric; of every image where none is named."""
        known = self._values[finish]
        return np.array([known[metric, image] for image in (self.images if images is None else images)])

    def pixels(self) -> NDArray[np.float64]:
        """Pixels that each PSNR reading compares, ``(images, readings)``."""
        shapes = ([side // self.scale * self.scale for side in self._fetched.shape(i)[:2]] for i in self.images)
        return np.array([pixels_left(shape, self.scale) for shape in shapes])

    @property
    def same_size(self) -> bool:
        """Whether all images have one number of pixels (then pooling by pixels changes nothing)."""
        return len({self._fetched.shape(image)[0] * self._fetched.shape(image)[1] for image in self.images}) == 1

    def measure(
        self,
        metrics: Iterable[str],
        images: Iterable[str] | None = None,
        finish: Finish | None = None,
        readings: NDArray[np.bool_] | None = None,
    ) -> None:
        """Measure images that have no values yet.

        `metrics`: ``psnr``, ``ssim``.
        `images`: Which; all where nothing is given.
        `finish`: Only this one; otherwise every one that can be told apart.
        `readings`: Which of the SSIM readings; all where nothing is given.
        Raises HarnessError: The method cannot do this, or its weights are not here.
        """
        wanted = _Wanted(tuple(metrics), finish, ALL_SSIM if readings is None else readings)
        due = [image for image in (self.images if images is None else images) if self._is_missing(image, wanted)]
        if not due:
            return
        if not self.stored:
            self._bench.restorer(self._task, self.dataset, self.level, self._making)  # Built before threads need it.
        parallel = bool(self.stored) or self._bench.parallel(self._making.method)
        with ThreadPoolExecutor(max_workers=self._bench.workers if parallel else 1) as pool:
            results = pool.map(lambda image: self._measure(image, wanted), due)
            for image, by_finish in zip(due, results, strict=True):
                for measured, values in by_finish.items():
                    self._take(image, measured, values, wanted.readings)

    def _is_missing(self, image: str, wanted: _Wanted) -> bool:
        finishes = self._values if wanted.finish is None else [wanted.finish]
        return not finishes or any(
            ("psnr" in wanted.metrics and ("psnr", image) not in self._values.get(finish, {}))
            or ("ssim" in wanted.metrics and (wanted.readings & ~self._read.get((finish, image), ~ALL_SSIM)).any())
            for finish in finishes
        )

    def _take(self, image: str, finish: Finish, values: Values, readings: NDArray[np.bool_]) -> None:
        known = self._values.setdefault(finish, {})
        for metric, row in values.items():
            partial = metric == "ssim" and (metric, image) in known
            known[metric, image] = np.where(readings, row, known[metric, image]) if partial else row
        if "ssim" in values:
            self._read[finish, image] = readings | self._read.get((finish, image), ~ALL_SSIM)

    def _measure(self, image: str, wanted: _Wanted) -> dict[Finish, Values]:
        input_id = InputId(self.level, self._making.noise.seed, image)
        if self.stored:
            reference = Reference(self._degradation.reference(self._fetched.read(image), self.level), self.scale)
            return {
                Finish(saving): _measured(reference, read_pixels(folder / input_id.file, saving), wanted)
                for saving, folder in self.stored.items()
                if wanted.finish in (None, Finish(saving))
            }
        restorer, identity = self._bench.restorer(self._task, self.dataset, self.level, self._making)
        file = self._kept_file(image, identity) if identity else None
        kept = _read_kept(file)
        if kept and all(metric in values for values in kept.values() for metric in wanted.metrics):
            return {finish: values for finish, values in kept.items() if wanted.finish in (None, finish)}
        pixels, degraded = make_input(self._fetched, self._degradation, input_id, self._fetched.read(image))
        start = time.perf_counter()
        try:
            restored = restorer(self._fetched.name, image, degraded)
        except WrongResultError as error:
            raise HarnessError(f"method '{self._making.method}' on {self.dataset}/{image} {error}") from None
        took = time.perf_counter() - start
        if restored.shape[:2] != pixels.shape[:2]:
            raise HarnessError(
                f"method '{self._making.method}' returned {restored.shape} for a reference of {pixels.shape}"
            )
        if self._bench.parallel(self._making.method):
            return self._under_finishes(Reference(pixels, self.scale), restored, wanted)
        # What took long is measured whole, and kept for the next audit.
        whole = _Wanted(wanted.metrics, None, ALL_SSIM)
        values = self._under_finishes(Reference(pixels, self.scale), restored, whole)
        if file is not None:
            _write_kept(file, took, values)
        return values

    def _under_finishes(
        self, reference: Reference, restored: NDArray[np.float64], wanted: _Wanted
    ) -> dict[Finish, Values]:
        """Measure an output under every finish; outputs that a finish does not change are measured once."""
        by_finish: dict[Finish, Values] = {}
        seen: list[tuple[NDArray[Any], Values]] = []
        for finish in FINISHES:
            of_luma = restored.ndim == 2 and is_luma(self._degradation)
            if wanted.finish not in (None, finish) or (finish.span == "studio" and not of_luma):
                continue
            pixels = finished(restored, finish)
            # Other dtypes with the same samples: an identity of 8-bit input is not changed by rounding.
            known = next((values for other, values in seen if np.array_equal(other, pixels)), None)
            if known is None:
                known = _measured(reference, pixels, wanted)
                seen.append((pixels, known))
            by_finish[finish] = known
        return by_finish

    def _records(self) -> Iterator[tuple[str, Path, RestoredRecord]]:
        """Saving rules under which the workspace restored this source, or tried to; with folder and record."""
        for saving in SAVINGS:
            making = self._making
            group = Group(self._task, self.dataset, making.degradation, making.method, making.policy, saving)
            folder, record = self._bench.restored(group)
            if record is not None:
                yield saving, folder, record

    def _find_stored(self) -> None:
        """Find the workspace's restored images; under several saving rules only where the same images are stored."""
        files = {image: InputId(self.level, self._making.noise.seed, image).file for image in self.images}
        for saving, folder, record in self._records():
            if record.reason or record.degradation_version != self._degradation.version:
                continue
            there = [i for i, file in files.items() if file in record.images and (folder / file).is_file()]
            if there and (not self.stored or there == self.stored_images):
                self.stored[saving] = folder
                self.stored_images = there

    def not_restored(self) -> str:
        """Say why the workspace's restoring left this source out (weights that cannot be obtained); empty otherwise."""
        for _, _, record in self._records():
            level = record.levels.get(self.level)
            return record.reason or (level.reason if level is not None else "")
        return ""

    def _kept_file(self, image: str, identity: str) -> Path:
        """File of an image's kept values, named by everything that determines them; `identity` is of code and weights.

        What has no identity is not kept.
        """
        key = [
            self._task,
            self.dataset,
            image,
            *self._fetched.all_sha256(image),
            self.level,
            self._degradation.name,
            self._degradation.version,
            self._making.method,
            self._making.policy,
            msgspec.to_builtins(self._making.noise),
            [r.label for r in (*PSNR_READINGS, *SSIM_READINGS)],
        ]
        digest = hashlib.sha256(msgspec.json.encode([VALUES_VERSION, identity, key])).hexdigest()
        return self._bench.workspace.work / "audit" / digest[:2] / f"{digest[2:32]}.json"


class KeptValues(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Values of one image under one making: by finish, by metric; and the seconds that restoring it took."""

    seconds: float
    values: dict[str, dict[str, list[float | None]]]


def _read_kept(file: Path | None) -> dict[Finish, Values]:
    """Values that an earlier audit kept, NaN where a reading has no meaning; nothing where there are none."""
    kept = read_kept(file, KeptValues) if file is not None else None
    if kept is None:
        return {}
    return {
        Finish(*name.split("/")): {metric: np.array(row, dtype=np.float64) for metric, row in values.items()}
        for name, values in kept.values.items()
    }


def _write_kept(file: Path, seconds: float, by_finish: dict[Finish, Values]) -> None:
    plain = {
        f"{finish.saving}/{finish.span}": {
            metric: [None if np.isnan(value) else float(value) for value in row] for metric, row in values.items()
        }
        for finish, values in by_finish.items()
    }
    write_kept(file, {"seconds": round(seconds, 3), "values": plain})


class _Wanted(msgspec.Struct, frozen=True):
    """What is measured: metrics, a finish or every one, and some of `SSIM_READINGS`."""

    metrics: tuple[str, ...]
    finish: Finish | None
    readings: NDArray[np.bool_]


def _measured(reference: Reference, pixels: NDArray[Any], wanted: _Wanted) -> Values:
    values = {}
    if "psnr" in wanted.metrics:
        values["psnr"] = psnr_values(reference, pixels)
    if "ssim" in wanted.metrics:
        values["ssim"] = ssim_values(reference, pixels, wanted.readings)
    return values


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
