"""Cells that match, counted: what an audit measured, and what it left out but the committed results hold.

A cell counts as matched when every printed digit is, a trailing zero included; digits are no unit of any claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harness.audit.outcomes import RowAudit
from harness.tables.published import published_number
from harness.tables.verdicts import MATCH_UNITS, ROUNDING

Results = Mapping[str, list[dict[str, Any]]]
"""Records of results/<table>.json by table, see `harness.tables.diff.as_record`."""


class CountedCell(msgspec.Struct, frozen=True):
    """A printed cell that was measured.

    Attributes
    ----------
    key, printed : str
        Which cell, and its printed digits.
    measured, tolerance : float
        In the unit of the metric; the tolerance is a noise term, 0 where nothing is random.
    audited : bool
        Whether the audit measured it; otherwise the number is of the committed results, under the stated protocol.
    chosen : bool
        Whether it comes out by a choice that was made for it after it was seen; then it is no match.
    """

    key: str
    printed: str
    measured: float
    tolerance: float
    audited: bool
    chosen: bool = False

    @property
    def matches(self) -> bool:
        """Whether it is the printed number in every printed digit."""
        printed = published_number(self.printed)
        assert printed is not None
        distance = abs(self.measured - float(printed.value)) - self.tolerance - ROUNDING
        return distance <= MATCH_UNITS * float(printed.unit) and not self.chosen


def record_key(record: Mapping[str, Any]) -> str:
    """Name a record's cell as `harness.tables.published.Part.column_key` does."""
    parts = (record["dataset"], str(record["level"] or ""), record["metric"])
    return "/".join(part for part in parts if part)


def counted_cells(audit: RowAudit, results: Results) -> list[CountedCell]:
    """List the row's cells that were measured anywhere: what the audit left out is not dropped.

    Parameters
    ----------
    audit : RowAudit
        Of the row.
    results : mapping
        The committed results.
    """
    found = [CountedCell(c.key, c.printed, c.measured, c.tolerance, True) for c in audit.cells]
    for record in results.get(audit.table, ()):
        key = record_key(record)
        if record["row"] == audit.row and key in audit.left_out and record["measured"] is not None:
            chosen = record["verdict"] == "fits"
            found.append(CountedCell(key, record["printed"], record["measured"], record["noise"], False, chosen))
    return found


def recounted(audit: RowAudit, results: Results) -> RowAudit:
    """Score an audit's cells by every printed digit, and mark the row whole only where every measured cell matches.

    What was stored may have been scored under a coarser unit (a zero that was taken for padding), or have left cells
    out.
    """
    assert audit.best is not None
    counted = {cell.key: cell for cell in counted_cells(audit, results)}
    cells = tuple(
        msgspec.structs.replace(c, explained=c.digits if counted[c.key].matches else min(c.explained, c.digits - 1))
        for c in audit.cells
    )
    whole = sum(cell.matches for cell in counted.values())
    digits = audit.digits if whole == len(counted) else min(audit.best.digits, audit.digits - 1)
    best = msgspec.structs.replace(audit.best, whole=sum(c.explained == c.digits for c in cells), digits=digits)
    return msgspec.structs.replace(audit, cells=cells, best=best)


def distinct_cells(audits: Iterable[RowAudit], results: Results) -> tuple[int, int]:
    """Count matched and measured cells of rows; a number that two rows print of one method counts once."""
    found = {
        (audit.task, audit.method, cell.key, cell.printed): cell.matches
        for audit in audits
        for cell in counted_cells(audit, results)
    }
    return sum(found.values()), len(found)
