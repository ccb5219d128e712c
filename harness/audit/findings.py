"""Findings: what the audits of all papers say together, and what else was noticed, as data and as pages.

``docs/findings.json`` holds the evidence that needs images: audits, controls, held-out cells, overlaps of sets.
Everything else on ``docs/findings.md`` and in ``docs/audit`` is computed when the pages are rendered, from files of the
repository: the published tables, results/*.json, the registry's image sizes and the rules of tiled inference
(`read_committed`). Rendering restores and measures nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import msgspec

from harness.assets.datasets import fetch
from harness.assets.datasets.registry import dataset
from harness.audit import wording
from harness.audit.claims import cell_name, claims, not_claimed, opening, table_name
from harness.audit.controls import held_out_cells, measure_controls, measure_held_out
from harness.audit.outcomes import (
    Committed,
    CountedCell,
    Findings,
    OverlapFinding,
    ParameterFinding,
    Results,
    RowAudit,
    Shift,
    TableFindings,
    TileFinding,
    counted_cells,
    record_key,
    recounted,
)
from harness.audit.overlap import CORRELATION, TESTED_ON, TRAINED_ON, SetImages, find_overlap, read_set
from harness.audit.rows import audit_table
from harness.audit.settings import HELD_OUT, AuditSettings
from harness.errors import CheckFailedError, HarnessError
from harness.files import write_json, write_text
from harness.methods import Method
from harness.records.loading import load_json
from harness.records.tasks import TASKS
from harness.report.one_protocol import rank_changes
from harness.report.render import few_empty_lines, tex_environment
from harness.tables.measurements import Measurement
from harness.tables.one_protocol import OneProtocolCell, ranked
from harness.tables.published import Table, published_tables, select
from harness.tables.requests import COUNTED, IMAGE_METRICS, Request, requests
from harness.tables.workspace import Workspace

DATA = Path("docs") / "findings.json"
PAGE = Path("docs") / "findings.md"
SHEET = Path("docs") / "findings.tex"
BIBLIOGRAPHY = Path("docs") / "findings.bib"
APPENDIX = Path("docs") / "audit"

EXAMPLES = 4


def collect(
    workspace: Workspace, settings: AuditSettings, progress: Callable[[str], None] = lambda text: None
) -> Findings:
    """Audit every table of the papers and compare every set that is here; `progress` is told what is being done."""
    audits, same, not_audited = _audits(workspace, settings, progress)
    overlaps, sets = _overlaps(workspace, progress)
    # What cannot be measured here keeps the value that it had.
    path = workspace.root / DATA
    before = load_json(path, Findings) if path.is_file() else None
    return Findings(
        tuple(audits),
        same,
        not_audited,
        tuple(overlaps),
        sets,
        measure_controls(workspace, before.controls if before else (), progress),
        measure_held_out(workspace, audits, before.held_out if before else (), progress),
    )


def _benchmarks() -> list[Table]:
    return [table for table in published_tables().values() if table.kind == "benchmark"]


def read_committed(workspace: Workspace, audits: Iterable[RowAudit] = ()) -> Committed:
    """Read the published tables and the committed results, and compute what follows from them and from audits."""
    methods = workspace.methods()
    asked = {name: requests(table, methods) for name, table in published_tables().items()}
    results: dict[str, list[dict[str, Any]]] = {}
    for name in asked:
        path = workspace.root / "results" / f"{name}.json"
        if path.is_file():
            results[name] = load_json(path, list[dict[str, Any]])
    compared = [_table(table, asked[table.name], results.get(table.name, [])) for table in _benchmarks()]
    return Committed(
        results=results,
        tables=tuple(table for table in compared if table is not None),
        parameters=tuple(_parameters(asked, results)),
        tiles=tuple(_tiles([request for of_table in asked.values() for request in of_table], methods)),
        to_hold_out={f"{a.table}/{a.row}": held_out_cells(a, methods) for a in audits},
    )


def refresh(
    workspace: Workspace,
    known: Findings,
    table: str,
    row: str,
    settings: AuditSettings,
    progress: Callable[[str], None] = lambda text: None,
) -> Findings:
    """Audit the rows of one table again, and keep everything else of the findings of an earlier run.

    `row` is the row's printed name, or an empty name for every audited row of the table.

    Raises HarnessError: No audited row of the findings is meant, or one of them cannot be audited here.
    """
    workspace.table(table)  # Unknown names are told, with what is known.
    meant = [a for a in known.audits if a.table == table and row in ("", a.row)]
    if not meant:
        name = f"row '{row}' of {table}" if row else table
        raise HarnessError(f"{DATA} has no audit of {name}; harness report findings audits every row")
    again: dict[tuple[int, str], RowAudit] = {}
    for name in dict.fromkeys(a.row for a in meant):
        of_table = workspace.table(table)
        for audit in audit_table(workspace, select(of_table, row=name, dataset=_seen(of_table)), settings, progress):
            if audit.best is None:
                raise HarnessError(f"{table}, {name}: {audit.reason}")
            again[audit.part, audit.row] = audit
    audits = tuple(again.get((a.part, a.row), a) if a.table == table else a for a in known.audits)
    return msgspec.structs.replace(known, audits=audits)


def _audits(
    workspace: Workspace, settings: AuditSettings, progress: Callable[[str], None]
) -> tuple[list[RowAudit], dict[str, list[str]], dict[str, list[str]]]:
    """Audit every row once: give the audits, the rows that print the same as one of them, and those not audited."""
    audits: list[RowAudit] = []
    first: dict[frozenset[tuple[str, ...]], str] = {}
    same: dict[str, list[str]] = {}
    not_audited: dict[str, list[str]] = {}
    methods = workspace.methods()
    # Larger tables first, so that a row is audited with all of its cells.
    for table in sorted(_benchmarks(), key=lambda t: -t.number_count()):
        for name in dict.fromkeys(row.name for part in table.parts for row in part.rows):
            try:
                row = select(table, row=name, dataset=_seen(table))
            except HarnessError:
                continue  # nothing but held-out sets
            label = f"{table.name}/{name}"
            parts: dict[int, list[Request]] = {}
            for request in requests(row, methods):
                if request.metric in IMAGE_METRICS and request.printed is not None:
                    parts.setdefault(request.part, []).append(request)
            new = {}
            for part, asked in parts.items():
                cells = frozenset((r.task, r.method, r.key, r.printed.text) for r in asked if r.printed)
                holder = next((other for known, other in first.items() if cells <= known), None)
                if holder is not None:
                    same.setdefault(holder, []).append(label)
                else:
                    first[cells] = label
                    new[part] = asked
            if not new:
                continue
            if all(request.group is None for asked in new.values() for request in asked):
                not_audited.setdefault(next(iter(new.values()))[0].reason, []).append(label)
                continue
            for audit in audit_table(workspace, row, settings, progress):
                if audit.part in new and audit.best is None:
                    not_audited.setdefault(audit.reason, []).append(label)
                elif audit.part in new:
                    audits.append(audit)
    order = list(published_tables())
    audits.sort(key=lambda a: (order.index(a.table), a.part))
    return audits, same, not_audited


def _seen(table: Table) -> list[str]:
    """Name the sets of a table that an audit may see."""
    names = dict.fromkeys(column.dataset for part in table.parts for column in part.columns)
    return [name for name in names if name and name not in HELD_OUT]


def _table(table: Table, every: list[Request], records: list[dict[str, Any]]) -> TableFindings | None:
    """Say what one protocol changes in a table, from its committed results."""
    asked = [request for request in every if request.metric in IMAGE_METRICS and request.printed is not None]
    if not asked:
        return None
    inputs: dict[str, dict[str, None]] = {}
    for part in table.parts:
        for row in part.rows:
            inputs.setdefault(row.degradation or part.degradation, {})[row.name] = None
    by_cell = {(r["row"], record_key(r), r["degradation"], r["method"]): r for r in records}
    cells, shifts = [], []
    for request in asked:
        used = request.group.degradation if request.group is not None else ""
        record = by_cell.get((request.row, request.key, used, request.method))
        if record is None or record["measured"] is None or request.special.incomparable or request.printed is None:
            continue  # what other weights make is no value of this row under any protocol
        value, own, column = record["measured"], request.protocol, request.column_protocol
        if own != column:
            value = record["measured_under_column_protocol"]
            if value is None:
                continue
            both = round(record["measured"], 5), round(value, 5)
            shifts.append(Shift(request.row, request.key, own, column, request.printed.text, *both))
        cells.append(OneProtocolCell(request, column, Measurement(value, record["images"], None)))
    return TableFindings(
        table.name,
        {name: list(rows) for name, rows in inputs.items() if name},
        tuple(rank_changes(ranked(cells))),
        tuple(shifts),
    )


def _parameters(asked: Mapping[str, list[Request]], results: Results) -> list[ParameterFinding]:
    """Pair printed numbers of parameters with the counted ones of the committed results."""
    pairs: dict[tuple[str, str, str], ParameterFinding] = {}
    for table, of_table in asked.items():
        counted = {r["row"]: r["measured"] for r in results.get(table, ()) if r["metric"] == COUNTED}
        for request in of_table:
            count = counted.get(request.row)
            if request.metric == COUNTED and request.printed is not None and count is not None:
                text, note = request.printed.text, request.special.note
                pair = ParameterFinding(table, request.row, text, int(count), note)
                pairs.setdefault((table, request.row, text), pair)
    return list(pairs.values())


def _overlaps(workspace: Workspace, progress: Callable[[str], None]) -> tuple[list[OverlapFinding], dict[str, int]]:
    """Compare every set that is here with the test sets; give the sizes of all, 0 where one is not here."""
    sets: dict[str, SetImages] = {}
    for name in (*TRAINED_ON, *TESTED_ON):
        try:
            fetch(name, workspace.data)
            sets[name] = read_set(name, workspace.data)
        except HarnessError:
            continue
    overlaps = []
    for one, other in combinations(sets, 2):
        if {one, other} <= set(TRAINED_ON):
            continue
        pairs = find_overlap(sets[one], sets[other], progress)
        if pairs:
            overlaps.append(
                OverlapFinding(
                    one=one,
                    other=other,
                    count=len({pair.image for pair in pairs}),
                    other_count=len({pair.other for pair in pairs}),
                    size=len(sets[one].images),
                    other_size=len(sets[other].images),
                    kinds=dict(Counter(pair.kind for pair in pairs)),
                    examples=tuple(sorted(pairs, key=lambda pair: pair.kind)[:EXAMPLES]),
                )
            )
    return overlaps, {name: len(sets[name].images) if name in sets else 0 for name in (*TRAINED_ON, *TESTED_ON)}


def image_sizes(name: str) -> list[tuple[int, int]]:
    """Heights and widths of a set's ground truth; empty where the registry holds no sizes.

    A pair counts once: its two images are of one size.
    """
    record = dataset(name)
    if record.crop is not None:
        upright = [height > width for height, width in image_sizes(record.base)]
        size = record.crop.height, record.crop.width
        return [size[::-1] if turned else size for turned in upright]
    sizes = [(file.shape[0], file.shape[1]) for file in record.files]
    return sizes[: record.count] if record.kind == "pairs" else sizes


def _tiles(asked: Iterable[Request], methods: Mapping[str, Method]) -> Iterator[TileFinding]:
    """Compute the tiles behind every row of the papers that is restored in tiles."""
    from harness.inference.chop import chop_rule, tile_shape

    used: dict[tuple[str, int], dict[str, list[tuple[int, int]]]] = {}
    for request in asked:
        method = methods.get(request.method)
        if request.metric not in IMAGE_METRICS or method is None or not request.dataset:
            continue
        rule = method.chop.get(request.task)
        if rule and method.policy.startswith("chop"):
            sizes_of = used.setdefault((rule, TASKS[request.task].scale(request.level)), {})
            if request.dataset not in sizes_of:
                try:
                    sizes_of[request.dataset] = image_sizes(request.dataset)
                except HarnessError:
                    sizes_of[request.dataset] = []
    for (rule, scale), sizes_of in sorted(used.items()):
        names = tuple(name for name, sizes in sizes_of.items() if sizes)
        if names:
            images = [size for name in names for size in sizes_of[name]]
            shapes = (tile_shape(chop_rule(rule), h // scale, w // scale, scale)[1:] for h, w in set(images))
            tiles = sorted(shapes, key=lambda size: (size[0] * size[1], size))
            yield TileFinding(rule, scale, names, tiles[0], tiles[-1], len(images))


# --- the pages


class HoldOut(msgspec.Struct, frozen=True):
    """A row's protocol, the sets that fixed it, and what the held-out sets say of it."""

    row: str
    protocol: str
    fixed_on: str
    matched: str
    tried: str
    sets: tuple[str, ...]


def hold_outs(findings: Findings, committed: Committed) -> list[HoldOut]:
    """Put beside each audited row what it was fixed on, how large the search was, and its held-out cells."""
    measured = {cell.place: cell.measured for cell in findings.held_out}
    found = []
    for audit in findings.audits:
        asked = committed.to_hold_out.get(f"{audit.table}/{audit.row}", ())
        if audit.best is None or audit.chance is None or not asked:
            continue
        cells = counted_cells(audit, committed.results)
        said = []
        for name in HELD_OUT:
            of_set = [cell for cell in asked if cell.dataset == name]
            done = [CountedCell(c.key, c.printed, value, 0.0, True) for c in of_set if (value := measured.get(c.place))]
            hits = sum(cell.matches for cell in done)
            said.append(f"{hits} of {len(done)}" if done else f"not run here ({len(of_set)})" if of_set else "")
        found.append(
            HoldOut(
                row=f"{table_name(audit.table)}, {audit.row}",
                protocol=", ".join([*audit.best.protocols.values(), audit.best.choices["input"]]),
                fixed_on=", ".join(dict.fromkeys(cell_name(cell.dataset) for cell in audit.cells)),
                matched=f"{sum(cell.matches for cell in cells)} of {len(cells)}",
                tried=f"{audit.chance.tried:,} ({audit.chance.distinct:,})",
                sets=tuple(said),
            )
        )
    return found


def render_pages(findings: Findings, committed: Committed) -> dict[Path, str]:
    """Render the findings as a page, a sheet of LaTeX and a bibliography, and an appendix page for each table.

    `findings`, `committed`: The stored evidence, and what the files of the repository say.
    Returns: Text by path, which is relative to the repository.
    """
    results = committed.results
    audits = tuple(recounted(audit, results) for audit in findings.audits)
    findings = msgspec.structs.replace(findings, audits=audits)
    known: dict[str, Any] = {
        "found": findings,
        "committed": committed,
        "wording": wording,
        "claims": claims(findings, committed),
        "opening": opening(findings, committed) if audits else "",
        "not_claimed": not_claimed(findings, committed),
        "hold_outs": hold_outs(findings, committed),
        "unused": [
            cell_name(name)
            for name in HELD_OUT
            if all(name != cell.dataset for cells in committed.to_hold_out.values() for cell in cells)
        ],
        "held_out": [cell_name(name) for name in HELD_OUT],
        "tables": list(dict.fromkeys(audit.table for audit in audits)),
        "trained_on": TRAINED_ON,
        "correlation": CORRELATION,
    }
    environment = page_templates()
    environment.filters["counted"] = lambda audit: counted_cells(audit, results)
    left_out = [row for reasons in findings.not_audited.values() for row in reasons]
    pages = {
        PAGE: environment.get_template("findings.md.j2").render(known),
        APPENDIX / "sets-and-tiles.md": environment.get_template("sets-and-tiles.md.j2").render(known),
        SHEET: tex_environment().from_string(_template("findings.tex.j2")).render(known),
        BIBLIOGRAPHY: _template("findings.bib"),
    }
    for table in known["tables"]:
        of_table = [audit for audit in audits if audit.table == table]
        misses = [(a, cell) for a in of_table for cell in counted_cells(a, results) if not cell.matches]
        not_audited = [row.partition("/")[2] for row in left_out if row.partition("/")[0] == table]
        text = environment.get_template("audit.md.j2").render(
            known, table=table, audits=of_table, misses=misses, not_audited=not_audited
        )
        pages[APPENDIX / f"{table}.md"] = text
    return {path: few_empty_lines(text) for path, text in pages.items()}


def page_templates() -> Any:
    """Templates of the pages in Markdown that say what was found: a missing name is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.audit"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters |= {"plain": _plain, "cell": cell_name, "table": table_name}
    return environment


def _template(name: str) -> str:
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")


def _plain(text: object) -> str:
    """Escape what would break a Markdown table."""
    return " ".join(str(text).split()).replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_")


def write_findings(workspace: Workspace, findings: Findings) -> list[Path]:
    """Write the data and the pages; return the paths."""
    data = workspace.root / DATA
    write_json(data, findings)
    return [data, *write_pages(workspace)]


def _rendered(workspace: Workspace) -> dict[Path, str]:
    # The evidence as a reader gets it: JSON keeps its keys sorted.
    found = load_json(workspace.root / DATA, Findings)
    return render_pages(found, read_committed(workspace, found.audits))


def write_pages(workspace: Workspace) -> list[Path]:
    """Render the pages from the stored evidence and the committed files; return their paths."""
    pages = {workspace.root / path: text for path, text in _rendered(workspace).items()}
    for path, text in pages.items():
        write_text(path, text)
    return list(pages)


def check_pages(workspace: Workspace) -> None:
    """Check that the pages are the rendering of the stored evidence and the committed files.

    Raises CheckFailedError: One is not, or is not there, or one of the appendix is of no audited table.
    """
    pages = _rendered(workspace)
    there = {path.relative_to(workspace.root) for path in (workspace.root / APPENDIX).glob("*.md")}
    for path in sorted({*pages, *there}):
        file = workspace.root / path
        if not file.is_file() or file.read_text(encoding="utf-8") != pages.get(path):
            raise CheckFailedError(
                f"{path} is not what {DATA}, results/*.json and the published tables say; run "
                "harness report findings --render"
            )
