"""What findings hold: the records behind docs/findings.json and docs/findings.md."""

from __future__ import annotations

import msgspec

from harness.audit.counts import Results
from harness.audit.outcomes import RowAudit
from harness.audit.overlap import Overlap
from harness.audit.tiles import TileFinding


class Shift(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row that is printed under another protocol than its column.

    Attributes
    ----------
    row, cell, own, column : str
        Which cell, its protocol and the column's.
    printed : str
        As printed.
    measured, under_column : float
        Under both.
    """

    row: str
    cell: str
    own: str
    column: str
    printed: str
    measured: float
    under_column: float


class TableFindings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one protocol changes in a table.

    Attributes
    ----------
    table, title : str
        Which table.
    protocols : dict
        Rows by the protocol that is stated for them, by metric; without those of which nothing is known.
    inputs : dict
        Rows by the degradation that is stated for them.
    changes : tuple of str
        Columns in which the rows that were run stand in another order than printed.
    shifts : tuple of Shift
        Cells whose row has a protocol of its own.
    """

    table: str
    title: str
    protocols: dict[str, dict[str, list[str]]]
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


class TilingFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A method's mean over a set, tiled and on whole images."""

    method: str
    dataset: str
    level: int
    protocol: str
    tiled: float
    whole: float


class OverlapFinding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Photographs that two sets share.

    Attributes
    ----------
    one, other : str
        The sets.
    count, other_count : int
        Images of each that are in the other.
    size, other_size : int
        Images of each.
    kinds : dict
        Numbers of pairs by kind.
    examples : tuple of Overlap
        Some pairs.
    """

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

    Attributes
    ----------
    audits : tuple of RowAudit
        Rows that could be evaluated.
    same : dict
        Rows of other tables that print the same numbers, by ``table/row`` of the audited one.
    not_audited : dict
        Rows by the reason why they could not be.
    tiling, overlaps
        See the structs.
    sets : dict
        Images of every set that was compared; 0 where it is not here.
    """

    audits: tuple[RowAudit, ...]
    same: dict[str, list[str]]
    not_audited: dict[str, list[str]]
    tiling: tuple[TilingFinding, ...]
    overlaps: tuple[OverlapFinding, ...]
    sets: dict[str, int]


class Committed(msgspec.Struct, frozen=True):
    """What is computed from files of the repository whenever the page is rendered.

    Attributes
    ----------
    results : mapping
        Records of results/*.json, by table.
    tables : tuple of TableFindings
        What one protocol changes.
    parameters, tiles
        See the structs.
    """

    results: Results = {}
    tables: tuple[TableFindings, ...] = ()
    parameters: tuple[ParameterFinding, ...] = ()
    tiles: tuple[TileFinding, ...] = ()
