"""Evidence beside the published numbers: made of an audit's outcome, and checked again."""

from __future__ import annotations

from collections.abc import Container

import msgspec
import numpy as np

from harness.audit.grid import set_values
from harness.audit.images import Bench
from harness.audit.outcomes import RowAudit
from harness.audit.variants import (
    SSIM_READINGS,
    Finish,
    Making,
    NoiseDraw,
    Reading,
    readings,
    set_readings,
)
from harness.tables.published import AuditedCell, AuditedRow, Row, TablePart

RANGES = {"full": "0..255", "studio": "16..235"}


def evidence(audit: RowAudit, keys: set[str]) -> AuditedRow:
    """Make of an audit what is stored beside a row.

    Parameters
    ----------
    audit : RowAudit
        With a best variant.
    keys : set of str
        Cells of the row's line (rows at several scales are several lines).
    """
    assert audit.best is not None and audit.chance is not None
    cells = {
        cell.key: AuditedCell(cell.measured, *audit.witnesses[cell.key]) for cell in audit.cells if cell.key in keys
    }
    open_dimensions = {
        dimension.name: tuple(dimension.admitted) for dimension in audit.dimensions if len(dimension.admitted) > 1
    }
    return AuditedRow(
        protocol=audit.best.protocols,
        degradation=audit.best.choices["input"],
        method=audit.best.choices["method"],
        policy=audit.policy,
        datasets=audit.datasets,
        noise=audit.noise,
        saving=audit.saving,
        range=RANGES[audit.span],
        digits=audit.best.digits,
        printed_digits=audit.digits,
        whole_cells=audit.best.whole,
        cell_count=len(audit.cells),
        admitted=open_dimensions,
        tried=audit.chance.tried,
        distinct=audit.chance.distinct,
        as_good=audit.chance.as_good,
        decoys=audit.chance.decoys,
        fooled=audit.chance.fooled,
        cells=cells,
    )


class EvidenceCheck(msgspec.Struct, frozen=True):
    """A stored number and what is measured now.

    Attributes
    ----------
    key : str
        Cell.
    stored, measured : float
        Of the whole set, or of the witness image.
    whole : bool
        Whether the whole set was measured.
    """

    key: str
    stored: float
    measured: float
    whole: bool


def check_evidence(
    bench: Bench, part: TablePart, row: Row, whole: bool | None = None, only: Container[str] | None = None
) -> list[EvidenceCheck]:
    """Measure again what a row's evidence says.

    Parameters
    ----------
    bench : Bench
        Where images come from.
    part : TablePart
        The row's part.
    row : Row
        With evidence.
    whole : bool, optional
        Whether to measure whole sets; by default where the method is no network. Otherwise the smallest image of each
        set.
    only : container of str, optional
        Cells that are checked; all where nothing is given.

    Raises
    ------
    NotAvailableError
        A dataset or the weights are not here.
    """
    found = row.audit
    assert found is not None
    scheme, _, seed = found.noise.partition("/")
    noise = NoiseDraw(scheme or "", int(seed or 0)) if scheme else NoiseDraw()
    making = Making(found.degradation, found.method, found.policy, noise, ())
    finish = Finish(found.saving, next(span for span, name in RANGES.items() if name == found.range))
    everything = bench.light(found.method) if whole is None else whole
    checked = []
    for column in part.columns:
        key = part.column_key(column, row)
        cell = found.cells.get(key)
        if cell is None or (only is not None and key not in only):
            continue
        level = column.level if column.level is not None else (row.level or 0)
        dataset = found.datasets.get(column.dataset, column.dataset)
        source = bench.source(part.task, dataset, level, making, here=True)
        images = source.images if everything else [cell.image]
        label = found.protocol[column.metric]
        reading = next(r for r in set_readings(column.metric, same_size=False) if r.label == label)
        mask = np.array([_plain(reading) == _plain(other) for other in SSIM_READINGS])
        source.measure([column.metric], images, [finish], mask)
        values = source.values(column.metric, finish, images)
        if everything:
            wanted = set_readings(column.metric, same_size=False)
            measured = set_values(column.metric, values, source.pixels(images), wanted)[wanted.index(reading)]
            checked.append(EvidenceCheck(key, cell.measured, float(measured), True))
        else:
            index = readings(column.metric).index(_plain(reading))
            checked.append(EvidenceCheck(key, cell.value, float(values[0, index]), False))
    return checked


def _plain(reading: Reading) -> Reading:
    return msgspec.structs.replace(reading, average="mean")
