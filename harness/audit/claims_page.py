"""docs/claims.md: the bold marks of the papers' tables, and what they print of every two rows that were measured."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec

from harness.audit.findings import page_templates
from harness.audit.settling import VERDICTS, Settled, settle_marks, settle_orders
from harness.files import write_json, write_text
from harness.records.loading import load_json
from harness.report.render import few_empty_lines
from harness.tables.collected import collect
from harness.tables.measurements import Measurements
from harness.tables.paired import p_floor
from harness.tables.workspace import Workspace

DATA = Path("docs") / "claims.json"
PAGE = Path("docs") / "claims.md"


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Every bold mark, and every two measured rows whose values were here image by image, each pair of numbers once."""

    marks: tuple[Settled, ...]
    orders: tuple[Settled, ...]


def settle_papers(workspace: Workspace) -> Evidence:
    """Settle what the papers' tables claim, from what was measured here."""
    measurements = Measurements(workspace.work)
    marks: list[Settled] = []
    orders: dict[tuple[object, ...], Settled] = {}
    for item in collect(workspace):
        if item.table.paper:
            # What is missing on one machine is no finding: only the kind is kept.
            found = settle_marks(item, measurements, workspace.root)
            marks += [msgspec.structs.replace(one, why="") if one.missing else one for one in found]
            for one in settle_orders(item, measurements, workspace.root):
                if one.verdict == "untestable":
                    continue
                key = one.claim, one.dataset, one.level, one.metric, one.printed
                before = orders[key].tables if key in orders else ()
                orders[key] = msgspec.structs.replace(one, tables=(*before, *one.tables))
    return Evidence(tuple(marks), tuple(orders.values()))


def write_page(workspace: Workspace) -> list[Path]:
    """Write the evidence and the page that is made of it; return their paths."""
    write_json(workspace.root / DATA, settle_papers(workspace))
    write_text(workspace.root / PAGE, render_page(load_json(workspace.root / DATA, Evidence)))
    return [DATA, PAGE]


def render_page(found: Evidence) -> str:
    """Render the page."""
    tables = sorted({one.tables[0] for one in found.marks})
    text = (
        page_templates()
        .get_template("claims.md.j2")
        .render(
            floor=p_floor(5),
            marks=found.marks,
            orders=found.orders,
            tables=[(name, Counter(_kind(one) for one in found.marks if one.tables[0] == name)) for name in tables],
            kinds=[kind for kind in (*VERDICTS, *_KINDS) if any(_kind(one) == kind for one in found.marks)],
            counts=[(verdict, sum(one.verdict == verdict for one in found.orders)) for verdict in VERDICTS],
            against=[one for one in found.marks if not one.printed.endswith("as claimed")],
            unsupported=[one for one in found.orders if one.verdict != "supported"],
        )
    )
    return few_empty_lines(text)


_KINDS = "untestable: a row was not measured", "untestable: not alike, or means alone"


def _kind(one: Settled) -> str:
    return one.verdict if one.verdict != "untestable" else _KINDS[not one.missing]
