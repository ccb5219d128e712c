"""Outcomes as records: of the audit of a row, of the audits of all papers, and what else was noticed.

And the cells of a row, counted: what an audit measured, and what it left out but the committed results hold. A cell
counts as matched when every printed digit is, a trailing zero included; digits are no unit of any claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from harness.audit.overlap import Overlap
from harness.audit.settings import HELD_OUT
from harness.tables.published import published_number
from harness.tables.verdicts import is_match

CONFIDENCE = 0.95

Results = Mapping[str, list[dict[str, Any]]]
"""Records of results/<table>.json by table, see `harness.tables.diff.as_record`."""


class CellAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell under the best variant.

    `explained` of the printed `digits` are the score of the search: only a cell with all of them is a match. The
    tolerance is a noise term, 0 where nothing is random; `images` is the size of the set.
    """

    key: str
    dataset: str
    level: int
    metric: str
    printed: str
    measured: float
    explained: int
    digits: int
    tolerance: float
    images: int


class VariantAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant and what it explains.

    `choices`, `protocols`: Value in each dimension; protocol by metric.
    `digits`, `whole`, `exact`: Digits explained; cells whose digits are all explained; digits explained without a noise
        term.
    `misfit`: Sum over the cells of what lies beyond half a unit, in units of the last digit.
    `largest`: Largest difference from a printed number, in units of its last digit.
    `estimated`: Whether its SSIM is an estimate from a few images, for it could not have reached the best.
    """

    choices: dict[str, str]
    protocols: dict[str, str]
    digits: int
    whole: int
    exact: int
    misfit: float
    largest: float
    estimated: bool = False


class ChoiceAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is the most that a variant with this value of a dimension explains.

    A bound was not measured on every image, because it could not have reached the best: its digits are estimated from a
    few images, or the most that is left. A value agrees if it occurs among the variants that explain the most.
    """

    value: str
    digits: int
    bound: bool
    agrees: bool


class DimensionAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dimension: which of its values the numbers admit."""

    name: str
    values: tuple[ChoiceAudit, ...]

    @property
    def admitted(self) -> list[str]:
        """Values that occur among the variants that explain the most."""
        return [choice.value for choice in self.values if choice.agrees]


class ScreenedAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A making or finish that was not evaluated on every image.

    `choices` is what differs from the stated making; the verdict is ``ruled out``, ``open`` or ``not possible``; `kind`
    is the reason without what is of one image or cell only, where it names one.
    """

    choices: dict[str, str]
    verdict: str
    reason: str
    kind: str = ""


class Chance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How surprising it is that a variant explains a row (`harness.audit.ranking.chance` estimates it).

    `tried`, `distinct`, `as_good`: Variants that were evaluated on every cell; those that give different numbers (a
        rounded luma of a gray image is the gray image); those of them that explain as many digits as the best one.
    `cells`, `whole`: Cells of the row that could be evaluated, and those whose digits are all explained by the best
        one.
    `decoys`, `fooled`: Of `decoys` rows printed under a variant that is then struck off the list, `fooled` are
        explained by another variant at least as well as the best variant explains the published row.
    """

    tried: int
    distinct: int
    as_good: int
    cells: int
    whole: int
    decoys: int
    fooled: int

    @property
    def share(self) -> float:
        """Share of the decoys that were fooled; 1 where there is none."""
        return self.fooled / self.decoys if self.decoys else 1.0

    @property
    def bound(self) -> float:
        """Most that this share can be in truth, with 95 % confidence (Clopper and Pearson, one-sided).

        None of n fooled says about 3 / n: six decoys exclude nothing below 39 %.
        """
        from scipy.special import betaincinv

        if self.fooled >= self.decoys:
            return 1.0
        return float(betaincinv(self.fooled + 1, self.decoys - self.fooled, CONFIDENCE))

    def coincidence(self, independent: int) -> float:
        """Bound the chance that some variant matches a number of independent cells by accident.

        A number that has nothing to do with the printed one has its last digit in one of ten cases. Each variant that
        gives other numbers is another try, so the chance grows with the list.
        """
        return min(1.0, self.distinct / 10.0**independent)


class MixtureAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A second variant, which explains columns that the best one leaves open.

    `places`: Dataset and level of those columns, such as ``live1/10``.
    `choices`: What differs from the best variant, by dimension.
    `measured`: Measured numbers of the columns' cells under it.
    `digits`, `whole`: Of these cells: digits explained, and cells all of whose digits are.
    `row_digits`, `row_whole`: Of the whole row, each column under its own variant.
    `chance`: How surprising that is: these cells taken as a row of their own.
    """

    places: tuple[str, ...]
    choices: dict[str, str]
    measured: dict[str, float]
    digits: int
    whole: int
    row_digits: int
    row_whole: int
    chance: Chance


class RowAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcome for one row of a table.

    `table`, `part`, `row`, `task`, `method`: Which row, and how it is made here; the part is an index.
    `reason`: Why nothing could be evaluated; empty otherwise.
    `cells`: Under the best variant.
    `left_out`: Reason by cell that could not be evaluated.
    `digits`: Printed digits of the evaluated cells.
    `best`, `stated`: The best variant, and the one that the table's file says.
    `dimensions`: Those with more than one value.
    `ranking`: The best variants that give different numbers.
    `screened`, `not_tried`: What was left aside, and why; kinds of variants that were not tried at all, in words.
    `mixture`: A second variant for the columns that the best one does not explain.
    `random`: Whether the best variant's input is random, so that a noise term was allowed.
    `witnesses`: Value of the smallest image by cell, which can be checked in seconds: ``{key: [image, value]}``.
    `policy`, `saving`, `span`, `noise`: The best variant's inference policy, finish and noise, such as
        ``independent/0``; empty where nothing is random.
    `datasets`: Datasets that stand in for the columns' own under the best variant.
    """

    table: str
    part: int
    row: str
    task: str
    method: str
    reason: str = ""
    cells: tuple[CellAudit, ...] = ()
    left_out: dict[str, str] = {}
    digits: int = 0
    best: VariantAudit | None = None
    stated: VariantAudit | None = None
    dimensions: tuple[DimensionAudit, ...] = ()
    ranking: tuple[VariantAudit, ...] = ()
    screened: tuple[ScreenedAudit, ...] = ()
    not_tried: tuple[str, ...] = ()
    chance: Chance | None = None
    mixture: MixtureAudit | None = None
    random: bool = False
    witnesses: dict[str, tuple[str, float]] = {}
    policy: str = ""
    saving: str = "round"
    span: str = "full"
    noise: str = ""
    datasets: dict[str, str] = {}

    @property
    def explained(self) -> bool:
        """Whether a variant matches every cell."""
        return self.best is not None and self.best.digits == self.digits

    @property
    def independent(self) -> int:
        """Matched cells that count as independent: one for each metric of a set whose cells all match.

        Levels of one set share its images, and what moves one cell moves the others: of the 18 different PSNR outcomes
        of PANet Table 3's JPEG row, 6 % of the pairs agree in all eight cells.
        """
        groups: dict[tuple[str, str], bool] = {}
        for cell in self.cells:
            group = cell.dataset, cell.metric
            groups[group] = groups.get(group, True) and cell.explained == cell.digits
        return sum(groups.values())


# --- findings: the audits of all papers, and what else was noticed


class TileFinding(msgspec.Struct, frozen=True):
    """Tiles of one rule of `harness.inference.chop.CHOP_RULES` on the sets whose image sizes are registered.

    The smallest and the largest tile are height and width in pixels of the network's input; the scale is 1 outside of
    super-resolution.
    """

    rule: str
    scale: int
    datasets: tuple[str, ...]
    smallest: tuple[int, int]
    largest: tuple[int, int]
    images: int


class Shift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row that is printed under another protocol than its column.

    `own` and `column` are the protocols, `measured` and `under_column` the values under them.
    """

    row: str
    cell: str
    own: str
    column: str
    printed: str
    measured: float
    under_column: float

    @property
    def metric(self) -> str:
        """``psnr`` or ``ssim``."""
        return self.cell.rpartition("/")[2]


class TableFindings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one protocol changes in a table.

    `inputs`: Rows by the degradation that is stated for them.
    `changes`: Columns in which the rows that were run stand in another order than printed.
    `shifts`: Cells whose row has a protocol of its own.
    """

    table: str
    inputs: dict[str, list[str]]
    changes: tuple[str, ...]
    shifts: tuple[Shift, ...]


class ParameterFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A printed number of parameters and the one of the released architecture; the note is the table's."""

    table: str
    row: str
    printed: str
    counted: int
    note: str = ""


class Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A method's mean over a set under one input; of controls that belong together one thing differs.

    `seed` is the draw of a random input; `value` is in the protocol's unit, `images` the size of the set.
    """

    method: str
    task: str
    dataset: str
    level: int
    degradation: str
    seed: int
    protocol: str = "psnr"
    value: float = 0.0
    images: int = 0

    @property
    def question(self) -> tuple[str, str, str, int, str, int, str]:
        """What was measured, without the answer."""
        return (self.method, self.task, self.dataset, self.level, self.degradation, self.seed, self.protocol)


class HeldOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A printed cell of a set that the search never saw; measured under the protocol that other sets fixed, or None."""

    table: str
    row: str
    key: str
    dataset: str
    level: int
    metric: str
    printed: str
    made: str
    measured: float | None = None
    images: int = 0

    @property
    def place(self) -> tuple[str, str, str, str]:
        """Table, row, cell, and what it is made and measured under: a value under another protocol is another one."""
        return self.table, self.row, self.key, self.made


class OverlapFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Photographs that two sets share: how many images of each are in the other, and numbers of pairs by kind."""

    one: str
    other: str
    count: int
    other_count: int
    size: int
    other_size: int
    kinds: dict[str, int]
    examples: tuple[Overlap, ...]


class Findings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What needs images or weights: the stored evidence.

    `same`: Rows of other tables that print the same numbers, by ``table/row`` of the audited one.
    `not_audited`: Rows by the reason why they could not be.
    `sets`: Images of every set that was compared; 0 where it is not here.
    `controls`, `held_out`: What was measured with one thing changed; cells of held-out sets under the protocols that
        others fixed.
    """

    audits: tuple[RowAudit, ...]
    same: dict[str, list[str]]
    not_audited: dict[str, list[str]]
    overlaps: tuple[OverlapFinding, ...]
    sets: dict[str, int]
    controls: tuple[Control, ...] = ()
    held_out: tuple[HeldOut, ...] = ()


class Committed(msgspec.Struct, frozen=True):
    """What is computed from files of the repository whenever the page is rendered."""

    results: Results = {}
    tables: tuple[TableFindings, ...] = ()
    parameters: tuple[ParameterFinding, ...] = ()
    tiles: tuple[TileFinding, ...] = ()
    to_hold_out: dict[str, tuple[HeldOut, ...]] = {}


# --- cells, counted


class CountedCell(msgspec.Struct, frozen=True):
    """A printed cell that was measured.

    What the audit did not measure is a number of the committed results, under the stated protocol. What comes out by a
    choice that was made for it after it was seen (`chosen`) is no match.
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
        delta = self.measured - float(printed.value)
        return is_match(delta, float(printed.unit), self.tolerance) and not self.chosen


def record_key(record: Mapping[str, Any]) -> str:
    """Name a record's cell as `harness.tables.published.TablePart.column_key` does."""
    parts = (record["dataset"], str(record["level"] or ""), record["metric"])
    return "/".join(part for part in parts if part)


def counted_cells(audit: RowAudit, results: Results) -> list[CountedCell]:
    """List a row's cells that were measured anywhere: what the audit left out is taken from the committed results."""
    cells = [CountedCell(c.key, c.printed, c.measured, c.tolerance, True) for c in audit.cells]
    for record in results.get(audit.table, ()):
        key = record_key(record)
        seen = record["row"] == audit.row and record["dataset"] not in HELD_OUT
        if seen and key in audit.left_out and record["measured"] is not None:
            chosen = record["verdict"] == "fits"
            cells.append(CountedCell(key, record["printed"], record["measured"], record["noise"], False, chosen))
    return cells


def recounted(audit: RowAudit, results: Results) -> RowAudit:
    """Score an audit's cells by every printed digit, and mark the row whole only where every measured cell matches.

    What was stored may have been scored under a coarser unit (a zero that was taken for padding), or have left cells
    out.
    """
    assert audit.best is not None
    matches = {cell.key: cell.matches for cell in counted_cells(audit, results)}
    cells = tuple(
        msgspec.structs.replace(c, explained=c.digits if matches[c.key] else min(c.explained, c.digits - 1))
        for c in audit.cells
    )
    digits = audit.digits if all(matches.values()) else min(audit.best.digits, audit.digits - 1)
    best = msgspec.structs.replace(audit.best, whole=sum(c.explained == c.digits for c in cells), digits=digits)
    return msgspec.structs.replace(audit, cells=cells, best=best)


def distinct_cells(audits: Iterable[RowAudit], results: Results) -> tuple[int, int]:
    """Count matched and measured cells of rows; a number that two rows print of one method counts once."""
    matches = {
        (audit.task, audit.method, cell.key, cell.printed): cell.matches
        for audit in audits
        for cell in counted_cells(audit, results)
    }
    return sum(matches.values()), len(matches)
