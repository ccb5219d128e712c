"""Whether one row of a table is better than another: every measured cell against that of a reference row.

Two cells are compared image by image, and only where nothing but the method differs: the same images and inputs,
measured under the same protocol. Everything else is refused, with a sentence that says what differs.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, unknown_name
from harness.protocols import protocol
from harness.protocols.own import quality
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement, Measurements
from harness.tables.paired import (
    CONFIDENCE,
    FEW_IMAGES,
    SIGNIFICANCE,
    p_floor,
    paired_bootstrap,
    sign_flip_p,
)
from harness.tables.published import Table
from harness.tables.requests import Request, is_of_images

BEST = "best"
"""Instead of a row's name: the best measured cell of each column, of those under the column's own protocol."""

Outcome = Literal["better", "worse", "not separable", "refused", "reference"]


class Comparison(msgspec.Struct, frozen=True):
    """A measured cell against the reference cell of its column.

    `cell`, `reference`: Both cells; the same one where the cell is the reference itself.
    `draws`: Noise draws of each image, whose values were averaged before they were compared.
    `difference`: Mean over the images of cell - reference, in the unit of the metric; None where it was refused.
    `low`, `high`: Bounds of its interval (`harness.tables.paired.paired_bootstrap`).
    `p`, `floor`: Two-sided p-value, and the smallest one that as many images can give
        (`harness.tables.paired.sign_flip_p`).
    `remark`: What to keep in mind.
    """

    cell: CellResult
    reference: CellResult
    images: int = 0
    draws: int = 0
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    floor: float | None = None
    refused: str = ""
    remark: str = ""

    @property
    def outcome(self) -> Outcome:
        """What came out, at a significance of 5 %."""
        if self.cell is self.reference:
            return "reference"
        if self.difference is None or self.p is None:
            return "refused"
        if self.p > SIGNIFICANCE:
            return "not separable"
        return "better" if quality(self.cell.request.metric, self.difference) > 0 else "worse"


def compare_rows(
    table: Table, results: Sequence[CellResult], measurements: Measurements, against: str
) -> list[Comparison]:
    """Compare every measured cell of a table with that of a reference row, paired by image.

    `results`: Its cells, those of the reference row among them.
    `measurements`: Where the per-image values are.
    `against`: Printed name of the reference row (any case), or `BEST`.
    Returns: In the order of the results; the reference's own cells too, with the outcome ``reference``. Cells in whose
        column the reference was not measured are left out.
    Raises HarnessError: The table has no such row, or nothing of it was measured.
    """
    names = {row.name.lower(): row.name for part in table.parts for row in part.rows}
    best = against.lower() == BEST and BEST not in names
    if not best and against.lower() not in names:
        raise unknown_name(f"row of {table.name}", against, {*names.values(), BEST})
    columns: dict[tuple[int, str], list[CellResult]] = {}
    for result in results:
        if is_of_images(result.request.metric) and isinstance(result.measured, Measurement):
            columns.setdefault((result.request.part, result.request.key), []).append(result)
    references: dict[tuple[int, str], CellResult] = {}
    for place, cells in columns.items():
        if best:
            # A value under another protocol than the column's is no best of the column.
            chosen = [cell for cell in cells if not cell.own_protocol] or cells
        else:
            chosen = [cell for cell in cells if cell.request.row.lower() == against.lower()]
        if chosen:
            # Of equal ones the first, as printed.
            references[place] = max(chosen, key=lambda cell: quality(cell.request.metric, _value(cell)))
    if not references:
        which = f"of {table.name}" if best else f"of row '{names[against.lower()]}' of {table.name}"
        raise HarnessError(f"nothing {which} was measured on images; harness repro {table.name} measures what it can")
    compared = {
        id(cell): _compare(cell, references[place], measurements)
        for place, cells in columns.items()
        if place in references
        for cell in cells
    }
    return [compared[id(result)] for result in results if id(result) in compared]


def _value(cell: CellResult) -> float:
    return cell.measured.value if isinstance(cell.measured, Measurement) else -math.inf


class PairedValues(msgspec.Struct, frozen=True):
    """Values of two cells image by image, each the mean over so many noise draws."""

    images: tuple[str, ...]
    first: NDArray[np.float64]
    second: NDArray[np.float64]
    draws: int


def paired_values(
    cell: CellResult, reference: CellResult, measurements: Measurements, without: Collection[str] = ()
) -> PairedValues | str:
    """Pair two cells image by image, or say in a sentence why that cannot be.

    `without`: Images that are left out.
    """
    why = _not_alike(cell, reference, measurements)
    if why:
        return why
    ours, theirs = _draws(cell, measurements), _draws(reference, measurements)
    # Values of one image are no further images: its draws are averaged, as many as all images of both rows have. The
    # images that are drawn with replacement bring their noise along (Davison and Hinkley, Bootstrap Methods and their
    # Application, 1997, section 3.8: of nested samples the highest level is drawn).
    draws = sorted(set.intersection(*(set(values) for of_row in (ours, theirs) for values in of_row.values())))
    images = [image for image in ours if image not in without]
    first, second = (
        np.array([math.fsum(of_row[image][draw] for draw in draws) / len(draws) for image in images])
        for of_row in (ours, theirs)
    )
    infinite = [image for image, a, b in zip(images, first, second, strict=True) if not np.isfinite([a, b]).all()]
    if infinite:
        return f"{infinite[0]} has an infinite value, because a restored image equals the ground truth"
    if len(images) < 2:
        return "one image: there is nothing to say about others"
    return PairedValues(tuple(images), first, second, len(draws))


def _compare(cell: CellResult, reference: CellResult, measurements: Measurements) -> Comparison:
    if cell is reference:
        return Comparison(cell, reference)
    found = paired_values(cell, reference, measurements)
    if isinstance(found, str):
        return Comparison(cell, reference, refused=found)
    images, first, second = found.images, found.first, found.second
    seed = _seed(cell.request, reference.request)
    interval = paired_bootstrap(second, first, seed=seed)
    return Comparison(
        cell=cell,
        reference=reference,
        images=len(images),
        draws=found.draws,
        difference=math.fsum(first - second) / len(images),
        low=interval.low,
        high=interval.high,
        p=sign_flip_p(second, first, seed=seed),
        floor=p_floor(len(images)),
        remark=_remark(cell.request, reference.request, len(images), found.draws),
    )


def _draws(cell: CellResult, measurements: Measurements) -> dict[str, dict[int, float]]:
    request = cell.request
    return measurements.draws(request.group, request.level, request.protocol) if request.group is not None else {}


def _not_alike(cell: CellResult, reference: CellResult, measurements: Measurements) -> str:
    """Say why two cells cannot be compared; empty where only the method differs."""
    ours, theirs = cell.request, reference.request
    if not ours.dataset:
        return "a mean over sets; the sets are compared one by one"
    for each in (cell, reference):
        if each.recorded or each.request.group is None:
            return (
                f"the values of '{each.request.row}' image by image are not here, only its recorded mean; "
                f"harness repro {ours.table} measures them"
            )
    if ours.group is None or theirs.group is None:
        return ""
    other = f"'{theirs.row}'"
    if ours.group.degradation != theirs.group.degradation:
        return f"other inputs: {ours.group.degradation}, and {theirs.group.degradation} of {other}"
    if ours.protocol != theirs.protocol:
        return f"other protocols: {ours.protocol}, and {theirs.protocol} of {other}"
    records = measurements.record(ours.group), measurements.record(theirs.group)
    versions = [
        (record.degradation_version, record.protocols.get(ours.protocol, ""))
        for record in records
        if record is not None
    ]
    if len(set(versions)) > 1:
        return f"other versions of the inputs or of {ours.protocol} than {other}; harness repro {ours.table} makes both"
    images = set(_draws(cell, measurements)), set(_draws(reference, measurements))
    made = {tuple((record.made_with.get(ours.protocol) or {}).items()) for record in records if record is not None}
    if len(made) > 1:
        return f"other code, packages or files of {ours.protocol} than {other}; harness repro {ours.table} makes both"
    if ours.protocol and protocol(ours.protocol).of_set:
        return f"{ours.protocol} is of the whole set, not per image"
    if images[0] != images[1]:
        alone = len(images[0] ^ images[1])
        return f"other images: {len(images[0])}, and {len(images[1])} of {other}, {alone} of them in one row only"
    return ""


def _seed(ours: Request, theirs: Request) -> int:
    """Make a seed of what is compared, the same in both directions."""
    names = sorted(str(request.group.place) for request in (ours, theirs) if request.group is not None)
    text = "\n".join([*names, str(ours.level), ours.protocol])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


def _remark(ours: Request, theirs: Request, images: int, draws: int) -> str:
    said = []
    floor = p_floor(images)
    if floor > SIGNIFICANCE:
        said.append(f"{images} images cannot give a p below {floor:.4g}, however large the difference")
    elif images < FEW_IMAGES:
        said.append(f"only {images} images")
    if ours.group is not None and theirs.group is not None and ours.group.saving != theirs.group.saving:
        said.append(f"saved {ours.group.saving}, and {theirs.group.saving} of '{theirs.row}'")
    if draws > 1:
        said.append(f"means over {draws} noise draws")
    return "; ".join(said)


def as_record(comparison: Comparison) -> dict[str, Any]:
    """Give a comparison as plain values: the form of ``harness diff --against ROW --format json``.

    `value` and `reference_value` are the measured numbers of the table, `difference` is the first minus the second
    (over all noise draws that both have of every image); None where the comparison was refused.
    """
    request, other = comparison.cell.request, comparison.reference.request
    return {
        "table": request.table,
        "row": request.row,
        "against": other.row,
        "dataset": request.dataset,
        "level": request.level or None,
        "metric": request.metric,
        "protocol": request.protocol,
        "protocol_version": protocol(request.protocol).version if request.protocol else "",
        "degradation": request.group.degradation if request.group else "",
        "method": request.method,
        "against_method": other.method,
        "value": _value(comparison.cell),
        "reference_value": _value(comparison.reference),
        "difference": comparison.difference,
        "low": comparison.low,
        "high": comparison.high,
        "confidence": CONFIDENCE,
        "p": comparison.p,
        "p_floor": comparison.floor,
        "images": comparison.images,
        "draws": comparison.draws,
        "outcome": comparison.outcome,
        "refused": comparison.refused,
        "remark": comparison.remark,
    }
