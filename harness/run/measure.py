"""Measure: read restored PNGs and nothing else, and write one row per image and protocol.

A repaired metric therefore never runs a network again, and a folder of an author's images is measured like any other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import gray_among_colour, open_dataset
from harness.degradations import degradation
from harness.errors import HarnessError, Missing, NotAvailableError, plural
from harness.images import pixels_sha256, read_result
from harness.process_state import core_count
from harness.protocols import measure_many, protocol
from harness.protocols.definitions import LUMAS, Protocol, own_inputs, planes_of
from harness.records.cells import FIRST_DRAW, InputId
from harness.records.loading import read_kept, write_kept
from harness.records.restored import read_pixels, read_restored
from harness.records.rows import WHOLE_SET, ImageRow, MeasuredRecord
from harness.records.tasks import TASKS


def measure_pair(
    reference: NDArray[np.uint8], restored: NDArray[Any], task: str, level: int, protocols: tuple[str, ...]
) -> dict[str, float]:
    """Measure one restored image under several protocols; the scale is the level in super-resolution, else 1."""
    return measure_many(protocols, reference, _like(reference, restored), scale=TASKS[task].scale(level))


def _like(reference: NDArray[Any], restored: NDArray[Any]) -> NDArray[Any]:
    """Make a gray image, which may be stored as RGB of three equal channels, what the reference is."""
    if reference.ndim == 2 and restored.ndim == 3 and _is_gray(restored):
        return np.ascontiguousarray(restored[:, :, 0])
    if reference.ndim == 3 and restored.ndim == 2 and _is_gray(reference):
        return restored[:, :, None].repeat(3, axis=2)
    return restored


def measure_set(of: Protocol, pairs: Iterator[tuple[NDArray[Any], NDArray[Any]]], scale: int) -> float:
    """Measure a whole set under a plugin's metric that no single image has; pairs are read one by one."""
    if of.own is None:
        raise HarnessError(f"'{of.name}' is measured image by image")

    def inputs() -> Iterator[Any]:
        for reference, restored in pairs:
            cut = own_inputs(of, *planes_of(of, reference, restored), scale)
            yield tuple(cut) if len(cut) > 1 else cut[0]

    return of.own(inputs())


class _Kept:
    """Values of plugins' metrics of one image that were measured before, in a folder that may be deleted."""

    def __init__(
        self,
        folder: Path | None,
        made_with: Mapping[str, dict[str, str]],
        reference: NDArray[Any],
        restored: NDArray[Any],
        level: int,
    ) -> None:
        self._files: dict[str, Path] = {}
        if folder is not None and made_with:
            images = [pixels_sha256(reference), pixels_sha256(restored), str(level)]
            for name, facts in made_with.items():
                own = protocol(name).own
                if own is None or own.facts is not None:
                    # Which files it reads is known only afterwards.
                    continue
                text = json.dumps([name, protocol(name).version, sorted(facts.items()), *images])
                self._files[name] = folder / f"{hashlib.sha256(text.encode()).hexdigest()}.json"

    def values(self, protocols: tuple[str, ...]) -> dict[str, float]:
        found = {}
        for name in protocols:
            if name in self._files and (value := read_kept(self._files[name], float)) is not None:
                found[name] = value
        return found

    def keep(self, values: Mapping[str, float]) -> set[Path]:
        """Keep new values; give every file that holds one of this image."""
        for name, file in self._files.items():
            if name in values:
                write_kept(file, values[name])
        return set(self._files.values())


def _is_gray(image: NDArray[Any]) -> bool:
    return all(np.array_equal(image[:, :, 0], image[:, :, channel]) for channel in (1, 2))


def _measure_each(
    reference: NDArray[np.uint8], restored: NDArray[Any], task: str, level: int, protocols: tuple[str, ...]
) -> tuple[dict[str, float], dict[str, HarnessError]]:
    """Measure one image; where some protocols cannot (no package, no alignment, too small), give the others and why.

    Raises HarnessError: No protocol can measure it: it is of another size than the ground truth, or the like.
    """
    try:
        return measure_pair(reference, restored, task, level, protocols), {}
    except HarnessError as error:
        values: dict[str, float] = {}
        problems: dict[str, HarnessError] = {}
        for name in protocols:
            try:
                values |= measure_pair(reference, restored, task, level, (name,))
            except HarnessError as problem:
                problems[name] = problem
        if not values and not any(isinstance(problem, NotAvailableError) for problem in problems.values()):
            raise error
        return values, problems


def measure(
    restored: Path,
    *,
    data: Path,
    protocols: tuple[str, ...],
    workers: int | None = None,
    made_with: Mapping[str, dict[str, str]] | None = None,
    kept: Path | None = None,
) -> tuple[MeasuredRecord, list[ImageRow]]:
    """Measure a folder that the restore stage wrote.

    `workers`: Threads; None for one a core.
    `made_with`: By protocol of a plugin's metric: code, packages and files that it measures with, for the record.
    `kept`: The group's folder where values of plugins' metrics are kept, for they may take hours; one that was measured
        of the same pixels with the same code, packages and files is taken from there. Others are deleted.
    Returns `rows`: Sorted.
    Raises HarnessError: A restored image is missing, damaged, replaced, or of another size than the ground truth. What
        some protocols alone cannot measure is no error (`MeasuredRecord.unmeasured`).
    """
    made_by = read_restored(restored)
    group = made_by.group
    degrader = degradation(group.degradation)
    versions = {name: protocol(name).version for name in protocols}
    of_sets = tuple(name for name in protocols if protocol(name).of_set)
    protocols = tuple(name for name in protocols if name not in of_sets)
    told = {name: dict(facts) for name, facts in (made_with or {}).items()}
    rows: list[ImageRow] = []
    failed: dict[int, dict[str, dict[str, None]]] = {}
    missing: dict[int, dict[str, Missing]] = {}
    if not made_by.reason:
        fetched = open_dataset(group.dataset, data)
        ids = sorted(_parse(file) for file in made_by.images)
        read = fetched.reading_once(input_id.image for input_id in ids)

        dimensions: dict[str, int] = {}
        used: set[Path] = set()

        def one(input_id: InputId) -> tuple[list[ImageRow], dict[str, HarnessError]]:
            file = restored / input_id.file
            pixels = read_pixels(file, group.saving)
            if pixels_sha256(pixels) != made_by.images[input_id.file]:
                raise HarnessError(f"{file}: the pixels are not those that were restored; delete the folder, run again")
            reference = degrader.reference(read(input_id.image), input_id.level)
            dimensions[input_id.image] = reference.ndim
            try:
                known = _Kept(kept, told, reference, pixels, input_id.level)
                old = known.values(protocols)
                wanted = tuple(name for name in protocols if name not in old)
                values, problems = (
                    _measure_each(reference, pixels, group.task, input_id.level, wanted) if wanted else ({}, {})
                )
                used.update(known.keep(values))
                values = {name: {**old, **values}[name] for name in protocols if name in old or name in values}
            except HarnessError as error:
                raise type(error)(f"{file}: {error}") from None
            of_image = [
                ImageRow(input_id.level, input_id.draw, input_id.image, versions[name], value)
                for name, value in values.items()
            ]
            return of_image, problems

        with ThreadPoolExecutor(max_workers=workers or core_count()) as pool:
            for input_id, (found, problems) in zip(ids, pool.map(one, ids), strict=True):
                rows += found
                for name, problem in problems.items():
                    # A missing package is no image's fault.
                    where = "" if isinstance(problem, NotAvailableError) else f"image '{input_id.image}': "
                    failed.setdefault(input_id.level, {}).setdefault(name, {})[f"{where}{problem}"] = None
                    if isinstance(problem, NotAvailableError) and problem.missing:
                        missing.setdefault(input_id.level, {})[name] = problem.missing
        # Values of other images and of metrics as they were before.
        for outdated in set(kept.glob("*.json")) - used if kept is not None else ():
            outdated.unlink(missing_ok=True)
        for name in of_sets:
            for level in sorted({input_id.level for input_id in ids}):
                first = [i for i in ids if i.level == level and i.draw == FIRST_DRAW]

                def pairs(first: list[InputId] = first) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
                    for each in first:
                        reference = degrader.reference(fetched.read(each.image), each.level)
                        yield reference, _like(reference, read_pixels(restored / each.file, group.saving))

                try:
                    value = measure_set(protocol(name), pairs(), TASKS[group.task].scale(level))
                except HarnessError as problem:
                    failed.setdefault(level, {}).setdefault(name, {})[str(problem)] = None
                    if isinstance(problem, NotAvailableError) and problem.missing:
                        missing.setdefault(level, {})[name] = problem.missing
                else:
                    rows.append(ImageRow(level, FIRST_DRAW, WHOLE_SET, versions[name], value))
        for name, facts in told.items():
            own = protocol(name).own
            facts |= own.facts() if own is not None and own.facts is not None else {}
        if mixed := gray_among_colour(dimensions):
            raise HarnessError(f"dataset '{group.dataset}': {mixed}; then restore it again")
        rows = [row for row in rows if not any(row.protocol == versions[name] for name in failed.get(row.level, ()))]
    record = MeasuredRecord(
        group=group,
        origin=made_by.origin,
        degradation_version=made_by.degradation_version,
        protocols=versions,
        code=made_by.code,
        reason=made_by.reason,
        levels=made_by.levels,
        images=len({row.image for row in rows} - {WHOLE_SET}) or len({_parse(file).image for file in made_by.images}),
        unmeasured={
            level: {name: _tell(list(problems)) for name, problems in sorted(of_level.items())}
            for level, of_level in sorted(failed.items())
        },
        missing=made_by.missing,
        unmeasured_missing=missing,
        made_with=told,
    )
    return record, sorted(rows)


def _tell(problems: list[str]) -> str:
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{problems[0]}{more}"


def _parse(file: str) -> InputId:
    level, draw, image = file.removesuffix(".png").split("/", 2)
    return InputId(int(level), int(draw.removeprefix("draw")), image)


def measure_folder(
    restored: Path,
    data: Path,
    task: str,
    dataset: str,
    level: int,
    degradation_name: str,
    protocols: tuple[str, ...],
    saving: str = "round",
    remark: Callable[[str], object] = lambda text: None,
) -> dict[str, dict[str, float]]:
    """Measure a folder of images that were restored elsewhere.

    `restored`: Holds one image for each of the dataset, named like it (see `harness.images.read_result`; Set5's ``_GT``
        may be missing).
    `task`, `dataset`, `degradation_name`: Names in their registries; the degradation decides what the ground truth is
        (luma, gray, cropped).
    `level`: Sigma, quality, scale, or 0.
    `saving`: ``unrounded`` measures files of 16 bits a sample at their precision.
    `remark`: Called with a sentence on images that may not be what was meant: gray beside colour, or the ground truth
        itself.
    Returns: Value by protocol, by image.
    Raises HarnessError: An image is missing, damaged, there twice, stored with losses, or of another size than the
        ground truth; or the set holds gray and colour images.
    """
    if not restored.is_dir():
        raise HarnessError(f"{restored}: no such folder of restored images")
    if not any(restored.iterdir()):
        raise HarnessError(f"{restored}: the folder is empty; it is to hold an image for each of {dataset}")
    fetched = open_dataset(dataset, data)
    degrader = degradation(degradation_name)
    values: dict[str, dict[str, float]] = {}
    dimensions: dict[str, int] = {}
    gray = same = 0
    for image in fetched.image_ids:
        file = _restored_file(restored, image, fetched.name)
        reference = degrader.reference(fetched.read(image), level)
        dimensions[image] = reference.ndim
        pixels = read_result(file, saving)
        gray += pixels.ndim < reference.ndim and not _is_gray(reference)
        same += np.array_equal(pixels, reference)
        try:
            values[image] = measure_pair(reference, pixels, task, level, protocols)
        except HarnessError as error:
            raise HarnessError(f"{file}: {error}") from None
    mixed = gray_among_colour(dimensions)
    if mixed:
        raise HarnessError(f"dataset '{dataset}': {mixed}")
    of = f"of {plural(len(values), 'image')} in {restored}"
    if gray:
        ways = ", ".join(f"{name} {LUMAS[protocol(name).luma].phrase}" for name in protocols)
        remark(f"{gray} {of} are gray beside ground truth in colour and are compared as they are: {ways}")
    if same:
        remark(f"{same} {of} are the ground truth itself, sample by sample")
    return values


def _restored_file(folder: Path, image: str, dataset: str) -> Path:
    names = {image, image.removesuffix("_GT")}
    found = [file for file in sorted(folder.iterdir()) if file.stem in names and file.is_file()]
    if not found:
        raise HarnessError(f"{folder}: no restored image for '{image}' of {dataset}; name it {image}.png")
    if len(found) > 1:
        raise HarnessError(f"{folder}: both {found[0].name} and {found[1].name} could be '{image}'; keep one of them")
    return found[0]
