"""Findings: what the audits of all papers say together, as data and as a page for researchers.

``docs/findings.json`` holds what was measured, ``docs/findings.md`` is its rendering and nothing else. What is not here
(a dataset, weights, restored images) is left out and named.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.audit.outcomes import RowAudit
from harness.audit.overlap import Overlap, SetImages, find_overlap, read_set
from harness.audit.settings import Settings
from harness.audit.summary import summary
from harness.audit.tables import audit_table
from harness.audit.wording import (
    chance_sentence,
    digits_by_value,
    headline,
    mixture_sentence,
    percent,
    screened_sentences,
    strength,
)
from harness.errors import CheckFailedError, HarnessError, NotAvailableError
from harness.files import write_json, write_text
from harness.pipeline.requests import COUNTED, IMAGE_METRICS, requests
from harness.records import load_json
from harness.report.one_protocol import rank_changes
from harness.tables.measurements import Measurement
from harness.tables.one_protocol import COLUMN, one_protocol
from harness.tables.published import Table, published_tables, select
from harness.workspace import Workspace

DATA = Path("docs") / "findings.json"
PAGE = Path("docs") / "findings.md"

TRAINED_ON = ("bsd400", "t91-bsd200", "div2k-train")
"""Sets of the registry that networks of the papers were trained on."""
TESTED_ON = (
    "set5", "set12", "set14", "b100", "urban100", "manga109", "kodak24", "cbsd68", "bsd68-gray", "mcmaster18", "live1",
    "classic5", "rain100l", "rain100h",
)  # fmt: skip
EXAMPLES = 4


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
    """A printed number of parameters and the one of the released architecture."""

    table: str
    row: str
    printed: str
    counted: int


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
    """Everything the page is made of.

    Attributes
    ----------
    audits : tuple of RowAudit
        Rows that could be evaluated.
    same : dict
        Rows of other tables that print the same numbers, by ``table/row`` of the audited one.
    not_audited : dict
        Rows by the reason why they could not be.
    tables : tuple of TableFindings
        What one protocol changes.
    parameters, tiling, overlaps
        See the structs.
    sets : dict
        Images of every set that was compared; 0 where it is not here.
    """

    audits: tuple[RowAudit, ...]
    same: dict[str, list[str]]
    not_audited: dict[str, list[str]]
    tables: tuple[TableFindings, ...]
    parameters: tuple[ParameterFinding, ...]
    tiling: tuple[TilingFinding, ...]
    overlaps: tuple[OverlapFinding, ...]
    sets: dict[str, int]


def collect(workspace: Workspace, settings: Settings, progress: Callable[[str], None] = lambda text: None) -> Findings:
    """Audit every table of the papers and compare every set that is here.

    Parameters
    ----------
    workspace : Workspace
        Where images and measured rows are.
    settings : Settings
        What the audits may cost.
    progress : callable
        Called with what is being done.
    """
    tables = {name: t for name, t in published_tables().items() if t.kind == "benchmark"}
    audits, same, not_audited = _audits(workspace, tables, settings, progress)
    overlaps, sets = _overlaps(workspace, progress)
    return Findings(
        audits=tuple(audits),
        same=same,
        not_audited=not_audited,
        tables=tuple(found for t in tables.values() if (found := _table(workspace, t, progress)) is not None),
        parameters=tuple(_parameters(workspace)),
        tiling=tuple(_tiling(workspace)),
        overlaps=tuple(overlaps),
        sets=sets,
    )


def refresh(
    workspace: Workspace,
    known: Findings,
    table: str,
    row: str,
    settings: Settings,
    progress: Callable[[str], None] = lambda text: None,
) -> Findings:
    """Audit the rows of one table again, and keep everything else that is known.

    Parameters
    ----------
    workspace, settings, progress
        See `collect`.
    known : Findings
        What an earlier run found.
    table, row : str
        The table; the row's printed name, or an empty name for every audited row of the table.

    Raises
    ------
    HarnessError
        No audited row of the findings is meant, or one of them cannot be audited here.
    """
    workspace.table(table)  # Unknown names are told, with what is known.
    meant = [a for a in known.audits if a.table == table and row in ("", a.row)]
    if not meant:
        which = f"row '{row}' of {table}" if row else table
        raise HarnessError(f"{DATA} has no audit of {which}; run harness findings without --table to audit every row")
    again: dict[tuple[int, str], RowAudit] = {}
    for name in dict.fromkeys(a.row for a in meant):
        for audit in audit_table(workspace, select(workspace.table(table), row=name), settings, progress):
            if audit.best is None:
                raise HarnessError(f"{table}, {name}: {audit.reason}")
            again[audit.part, audit.row] = audit
    audits = tuple(again.get((a.part, a.row), a) if a.table == table else a for a in known.audits)
    return msgspec.structs.replace(known, audits=audits)


def _audits(
    workspace: Workspace, tables: dict[str, Table], settings: Settings, progress: Callable[[str], None]
) -> tuple[list[RowAudit], dict[str, list[str]], dict[str, list[str]]]:
    audits: list[RowAudit] = []
    first: dict[Any, str] = {}
    same: dict[str, list[str]] = {}
    not_audited: dict[str, list[str]] = {}
    methods = workspace.methods()
    # Larger tables first, so that a row is audited with all of its cells.
    for table in sorted(tables.values(), key=lambda t: -t.number_count()):
        for name in dict.fromkeys(row.name for part in table.parts for row in part.rows):
            chosen = select(table, row=name)
            of_row = [r for r in requests(chosen, methods) if r.metric in IMAGE_METRICS and r.printed is not None]
            if not of_row:
                continue
            label = f"{table.name}/{name}"
            cells = frozenset((r.task, r.method, r.key, str(r.printed.value)) for r in of_row if r.printed)
            holder = next((other for known, other in first.items() if cells <= known), None)
            if holder is not None:
                same.setdefault(holder, []).append(label)
                continue
            first[cells] = label
            if all(r.group is None for r in of_row):
                not_audited.setdefault(of_row[0].reason, []).append(label)
                continue
            for audit in audit_table(workspace, chosen, settings, progress):
                if audit.best is None:
                    not_audited.setdefault(audit.reason, []).append(label)
                else:
                    audits.append(audit)
    order = {name: index for index, name in enumerate(published_tables())}
    audits.sort(key=lambda a: (order[a.table], a.part))
    return audits, same, not_audited


def _table(workspace: Workspace, table: Table, progress: Callable[[str], None]) -> TableFindings | None:
    progress(f"{table.name} under one protocol")
    asked = [r for r in requests(table, workspace.methods()) if r.metric in IMAGE_METRICS and r.printed is not None]
    if not asked:
        return None
    protocols: dict[str, dict[str, dict[str, None]]] = {}
    inputs: dict[str, dict[str, None]] = {}
    for request in asked:
        if request.group is None and request.protocol == request.column_protocol:
            continue  # printed for comparison: nothing is known of how it was measured
        protocols.setdefault(request.metric, {}).setdefault(request.protocol, {})[request.row] = None
    for part in table.parts:
        for row in part.rows:
            inputs.setdefault(row.degradation or part.degradation, {})[row.name] = None
    cells = one_protocol(workspace, table, COLUMN)
    own = {
        (c.request.part, c.request.line, c.request.key): c
        for c in cells
        if c.request.protocol != c.request.column_protocol and c.value is not None
    }
    shifts = []
    from harness.tables.collected import results_of

    for result in results_of(workspace, table):
        request = result.request
        cell = own.get((request.part, request.line, request.key))
        if cell is not None and cell.value is not None and isinstance(result.measured, Measurement):
            shifts.append(
                Shift(
                    request.row,
                    request.key,
                    request.protocol,
                    request.column_protocol,
                    request.printed.text if request.printed else "",
                    round(result.measured.value, 5),
                    round(cell.value, 5),
                )
            )
    return TableFindings(
        table.name,
        table.title,
        {metric: {name: list(rows) for name, rows in of.items()} for metric, of in protocols.items()},
        {name: list(rows) for name, rows in inputs.items() if name},
        tuple(rank_changes(cells)),
        tuple(shifts),
    )


def _parameters(workspace: Workspace) -> list[ParameterFinding]:
    from harness.stages.cost import count_cost

    found: dict[tuple[str, str], ParameterFinding] = {}
    methods = workspace.methods()
    counted: dict[str, Any] = {}
    for table in published_tables().values():
        for request in requests(table, methods):
            if request.metric != COUNTED or request.reason or request.printed is None:
                continue
            if request.method not in counted:
                counted[request.method] = count_cost(methods[request.method])
            number = counted[request.method].of(request.task).parameters
            key = (request.row, request.printed.text)
            found.setdefault(key, ParameterFinding(table.name, request.row, request.printed.text, number))
    return list(found.values())


def _tiling(workspace: Workspace) -> list[TilingFinding]:
    """Find methods whose released or trained network was run tiled and on whole images."""
    from harness.frames import measured_rows

    if not (workspace.work / "rows").is_dir():
        return []
    frame = measured_rows(workspace)
    frame = frame[(frame["draw"] == 0) & frame["policy"].isin(["chop", "whole"])]
    means = frame.groupby(["method", "dataset", "degradation", "level", "protocol", "policy"])["value"].mean().unstack()
    if not {"chop", "whole"} <= set(means.columns):
        return []
    both = means.dropna(subset=["chop", "whole"]).reset_index()
    return [
        TilingFinding(
            str(row["method"]),
            str(row["dataset"]),
            int(row["level"]),
            str(row["protocol"]),
            round(float(row["chop"]), 5),
            round(float(row["whole"]), 5),
        )
        for row in both.to_dict("records")
    ]


def _overlaps(workspace: Workspace, progress: Callable[[str], None]) -> tuple[list[OverlapFinding], dict[str, int]]:
    from harness.datasets import fetch

    sets: dict[str, SetImages] = {}
    sizes: dict[str, int] = {}
    for name in (*TRAINED_ON, *TESTED_ON):
        try:
            fetch(name, workspace.data)
            sets[name] = read_set(name, workspace.data)
            sizes[name] = len(sets[name].images)
        except HarnessError:
            sizes[name] = 0
    found = []
    names = list(sets)
    for index, one in enumerate(names):
        for other in names[index + 1 :]:
            if {one, other} <= set(TRAINED_ON):
                continue
            pairs = find_overlap(sets[one], sets[other], progress=progress)
            if not pairs:
                continue
            kinds: dict[str, int] = {}
            for pair in pairs:
                kinds[pair.kind] = kinds.get(pair.kind, 0) + 1
            found.append(
                OverlapFinding(
                    one,
                    other,
                    len({pair.image for pair in pairs}),
                    len({pair.other for pair in pairs}),
                    sizes[one],
                    sizes[other],
                    kinds,
                    tuple(sorted(pairs, key=lambda p: p.kind)[:EXAMPLES]),
                )
            )
    return found, sizes


def render_page(found: Findings) -> str:
    """Render the page."""
    import jinja2

    from harness.datasets.registry import dataset
    from harness.degradations import degradation
    from harness.report.render import few_empty_lines

    def title(name: str) -> str:
        try:
            return dataset(name).title
        except (HarnessError, NotAvailableError):
            return name

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.audit"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters |= {
        "plain": _plain,
        "title": title,
        "percent": percent,
        "headline": headline,
        "digits_by_value": digits_by_value,
        "screened_sentences": screened_sentences,
        "summary": lambda name: degradation(name).summary,
        "strength": lambda audit: strength(audit.chance, audit.explained),
        "mixture": lambda audit: mixture_sentence(audit.mixture, len(audit.cells)),
        "sentence": lambda audit: chance_sentence(audit.chance, audit.explained),
    }
    papers = {
        paper: [a for a in found.audits if a.table.startswith(f"{paper}-")]
        for paper in dict.fromkeys(t.paper for t in published_tables().values())
    }
    trained = [o for o in found.overlaps if o.one in TRAINED_ON]
    text = environment.get_template("findings.md.j2").render(
        found=found,
        summary=summary(found, trained),
        papers=papers,
        misses=[(a, c) for a in found.audits for c in a.cells if c.explained < c.digits],
        tables={t.table: t for t in found.tables},
        trained=trained,
        tested=[o for o in found.overlaps if o.one not in TRAINED_ON],
        here={name: size for name, size in found.sets.items() if size},
        missing=[name for name, size in found.sets.items() if not size],
    )
    return few_empty_lines(text)


def _plain(text: object) -> str:
    """Escape what would break a Markdown table."""
    return " ".join(str(text).split()).replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_")


def write_findings(workspace: Workspace, found: Findings) -> list[Path]:
    """Write the data and the page; return the paths."""
    data, page = workspace.root / DATA, workspace.root / PAGE
    write_json(data, found)
    # From what a reader will get: JSON keeps its keys sorted.
    write_text(page, render_page(load_json(data, Findings)))
    return [data, page]


def check_page(workspace: Workspace) -> None:
    """Check that the page is the rendering of the data.

    Raises
    ------
    CheckFailedError
        It is not, or there is none.
    """
    page = workspace.root / PAGE
    found = load_json(workspace.root / DATA, Findings)
    if not page.is_file() or page.read_text(encoding="utf-8") != render_page(found):
        raise CheckFailedError(f"{page} is not what {DATA} says; run harness findings --render")
