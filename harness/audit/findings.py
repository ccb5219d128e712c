"""Findings: what the audits of all papers say together, as data and as a page for researchers.

``docs/findings.json`` holds the evidence that needs images: audits, overlaps of sets, tiled against whole. Everything
else on ``docs/findings.md`` is computed when the page is rendered, from files of the repository: the published tables,
results/*.json, the registry's image sizes and the rules of tiled inference (`read_committed`). Rendering restores and
measures nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from harness.audit.counts import Results, counted_cells, record_key, recounted
from harness.audit.found import (
    Committed,
    Findings,
    OverlapFinding,
    ParameterFinding,
    Shift,
    TableFindings,
    TilingFinding,
)
from harness.audit.outcomes import RowAudit
from harness.audit.overlap import CORRELATION, SetImages, find_overlap, read_set
from harness.audit.settings import AuditSettings
from harness.audit.summary import comparison_sentence, summary
from harness.audit.tables import audit_table
from harness.audit.tiles import tile_findings
from harness.audit.wording import (
    STRONG,
    SUGGESTIVE,
    accident,
    chance_sentence,
    decoy_sentence,
    headline,
    mixture_sentence,
    percent,
    screened_sentences,
    strength,
    values_by_score,
)
from harness.errors import CheckFailedError, HarnessError, NotAvailableError
from harness.files import write_json, write_text
from harness.records.loading import load_json
from harness.report.one_protocol import rank_changes
from harness.tables.measurements import Measurement
from harness.tables.one_protocol import OneProtocolCell, ranked
from harness.tables.published import Table, published_tables, select
from harness.tables.requests import COUNTED, IMAGE_METRICS, Request, requests
from harness.tables.workspace import Workspace

DATA = Path("docs") / "findings.json"
PAGE = Path("docs") / "findings.md"

TRAINED_ON = ("bsd400", "t91-bsd200", "div2k-train")
"""Sets of the registry that networks of the papers were trained on."""
TESTED_ON = (
    "set5", "set12", "set14", "b100", "urban100", "manga109", "kodak24", "cbsd68", "bsd68-gray", "mcmaster18", "live1",
    "classic5", "rain100l", "rain100h",
)  # fmt: skip
EXAMPLES = 4


def collect(
    workspace: Workspace, settings: AuditSettings, progress: Callable[[str], None] = lambda text: None
) -> Findings:
    """Audit every table of the papers and compare every set that is here.

    Parameters
    ----------
    workspace : Workspace
        Where images and measured rows are.
    settings : AuditSettings
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
        tiling=tuple(_tiling(workspace)),
        overlaps=tuple(overlaps),
        sets=sets,
    )


def read_committed(workspace: Workspace) -> Committed:
    """Read the published tables and the committed results, and compute what follows from them."""
    results: dict[str, list[dict[str, Any]]] = {}
    for name in published_tables():
        path = workspace.root / "results" / f"{name}.json"
        if path.is_file():
            results[name] = load_json(path, list[dict[str, Any]])
    benchmarks = [table for table in published_tables().values() if table.kind == "benchmark"]
    return Committed(
        results=results,
        tables=tuple(found for t in benchmarks if (found := _table(workspace, t, results.get(t.name, []))) is not None),
        parameters=tuple(_parameters(workspace, results)),
        tiles=tuple(tile_findings(published_tables(), workspace.methods())),
    )


def refresh(
    workspace: Workspace,
    known: Findings,
    table: str,
    row: str,
    settings: AuditSettings,
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
    workspace: Workspace, tables: dict[str, Table], settings: AuditSettings, progress: Callable[[str], None]
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
            label = f"{table.name}/{name}"
            by_part: dict[int, list[Request]] = {}
            for request in requests(chosen, methods):
                if request.metric in IMAGE_METRICS and request.printed is not None:
                    by_part.setdefault(request.part, []).append(request)
            kept = {}
            for part, of_part in by_part.items():
                cells = frozenset((r.task, r.method, r.key, r.printed.text) for r in of_part if r.printed)
                holder = next((other for known, other in first.items() if cells <= known), None)
                if holder is not None:
                    same.setdefault(holder, []).append(label)
                else:
                    first[cells] = label
                    kept[part] = of_part
            if not kept:
                continue
            if all(r.group is None for of_part in kept.values() for r in of_part):
                not_audited.setdefault(next(iter(kept.values()))[0].reason, []).append(label)
                continue
            for audit in audit_table(workspace, chosen, settings, progress):
                if audit.part not in kept:
                    continue
                if audit.best is None:
                    not_audited.setdefault(audit.reason, []).append(label)
                else:
                    audits.append(audit)
    order = {name: index for index, name in enumerate(published_tables())}
    audits.sort(key=lambda a: (order[a.table], a.part))
    return audits, same, not_audited


def _table(workspace: Workspace, table: Table, records: list[dict[str, Any]]) -> TableFindings | None:
    """Say what one protocol changes in a table, from its committed results."""
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
    by_cell = {(r["row"], record_key(r), r["degradation"], r["method"]): r for r in records}
    cells, shifts = [], []
    for request in asked:
        made = request.group.degradation if request.group is not None else ""
        record = by_cell.get((request.row, request.key, made, request.method))
        if record is None or record["measured"] is None or request.special.incomparable or request.printed is None:
            continue  # what other weights make is no value of this row under any protocol
        mixed = request.protocol != request.column_protocol
        value = record["measured_under_column_protocol"] if mixed else record["measured"]
        if value is None:
            continue
        if mixed:
            own, column = request.protocol, request.column_protocol
            measured, under = round(record["measured"], 5), round(value, 5)
            shifts.append(Shift(request.row, request.key, own, column, request.printed.text, measured, under))
        cells.append(OneProtocolCell(request, request.column_protocol, Measurement(value, record["images"], None)))
    return TableFindings(
        table.name,
        table.title,
        {metric: {name: list(rows) for name, rows in of.items()} for metric, of in protocols.items()},
        {name: list(rows) for name, rows in inputs.items() if name},
        tuple(rank_changes(ranked(cells))),
        tuple(shifts),
    )


def _parameters(workspace: Workspace, results: Results) -> list[ParameterFinding]:
    """Pair printed numbers of parameters with the counted ones of the committed results."""
    found: dict[tuple[str, str], ParameterFinding] = {}
    for table in published_tables().values():
        counted = {r["row"]: r["measured"] for r in results.get(table.name, ()) if r["metric"] == COUNTED}
        for request in requests(table, workspace.methods()):
            if request.metric == COUNTED and request.printed is not None and counted.get(request.row) is not None:
                text = request.printed.text
                finding = ParameterFinding(
                    table.name, request.row, text, int(counted[request.row]), request.special.note
                )
                found.setdefault((request.row, text), finding)
    return list(found.values())


def _tiling(workspace: Workspace) -> list[TilingFinding]:
    """Find methods whose released or trained network was run tiled and on whole images."""
    from harness.tables.frames import measured_rows

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
    from harness.assets.datasets import fetch

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


def render_page(found: Findings, committed: Committed) -> str:
    """Render the page.

    Parameters
    ----------
    found : Findings
        The stored evidence.
    committed : Committed
        What the files of the repository say.
    """
    import jinja2

    from harness.assets.datasets.registry import dataset
    from harness.degradations import degradation
    from harness.report.render import few_empty_lines

    results = committed.results
    audits = tuple(recounted(audit, results) for audit in found.audits)
    found = msgspec.structs.replace(found, audits=audits)

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
        "values_by_score": values_by_score,
        "screened_sentences": screened_sentences,
        "summary": lambda name: degradation(name).summary,
        "strength": strength,
        "accident": accident,
        "mixture": lambda audit: mixture_sentence(audit.mixture, len(audit.cells)),
        "sentence": chance_sentence,
        "counted": lambda audit: counted_cells(audit, results),
        "comparison": comparison_sentence,
        "decoys": decoy_sentence,
    }
    papers = {
        paper: [a for a in found.audits if a.table.startswith(f"{paper}-")]
        for paper in dict.fromkeys(t.paper for t in published_tables().values())
    }
    trained = [o for o in found.overlaps if o.one in TRAINED_ON]
    text = environment.get_template("findings.md.j2").render(
        found=found,
        committed=committed,
        summary=summary(found, committed, trained),
        papers=papers,
        misses=[(a, c) for a in found.audits for c in counted_cells(a, results) if not c.matches],
        trained=trained,
        tested=[o for o in found.overlaps if o.one not in TRAINED_ON],
        here={name: size for name, size in found.sets.items() if size},
        missing=[name for name, size in found.sets.items() if not size],
        limits={"strong": STRONG, "suggestive": SUGGESTIVE, "correlation": CORRELATION},
    )
    return few_empty_lines(text)


def _plain(text: object) -> str:
    """Escape what would break a Markdown table."""
    return " ".join(str(text).split()).replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_")


def write_findings(workspace: Workspace, found: Findings) -> list[Path]:
    """Write the data and the page; return the paths."""
    data = workspace.root / DATA
    write_json(data, found)
    return [data, write_page(workspace)]


def write_page(workspace: Workspace) -> Path:
    """Render the page from the stored evidence and the committed files; return its path."""
    page = workspace.root / PAGE
    # The evidence as a reader will get it: JSON keeps its keys sorted.
    write_text(page, render_page(load_json(workspace.root / DATA, Findings), read_committed(workspace)))
    return page


def check_page(workspace: Workspace) -> None:
    """Check that the page is the rendering of the stored evidence and the committed files.

    Raises
    ------
    CheckFailedError
        It is not, or there is none.
    """
    page = workspace.root / PAGE
    found = load_json(workspace.root / DATA, Findings)
    if not page.is_file() or page.read_text(encoding="utf-8") != render_page(found, read_committed(workspace)):
        raise CheckFailedError(
            f"{page} is not what {DATA}, results/*.json and the published tables say; run harness findings --render"
        )
