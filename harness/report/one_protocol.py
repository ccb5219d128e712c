"""Rendering a table under one protocol: published values in gray, measured ones beside them, ranks recomputed."""

from __future__ import annotations

import csv
import io
import json
from decimal import Decimal
from typing import Any

import msgspec

from harness.files import json_numbers
from harness.report.grid import GridCell, PartGrid, Reason, grids, reasons_not_run
from harness.report.render import csv_value, few_empty_lines, markdown_environment, tex_environment
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement
from harness.tables.one_protocol import OneProtocolCell, input_groups
from harness.tables.published import Table
from harness.tables.verdicts import Judgement

FIELDS = (
    "table",
    "row",
    "dataset",
    "level",
    "metric",
    "printed",
    "printed_protocol",
    "protocol",
    "measured",
    "rank",
    "printed_rank",
    "degradation",
    "method",
    "reason",
)
RANKS = {1: "best", 2: "second"}


def protocol_words(cells: list[OneProtocolCell]) -> str:
    """Name the protocols of a rendering."""
    return ", ".join(dict.fromkeys(cell.protocol for cell in cells if cell.protocol))


def one_protocol_grids(table: Table, cells: list[OneProtocolCell]) -> list[PartGrid]:
    """Lay the cells out as the paper prints the table; a place's mark is the rank of the measured value."""
    ranks = {(c.request.part, c.request.line, c.request.key): RANKS.get(c.rank, "") for c in cells}
    laid = grids(table, [_as_result(cell) for cell in cells])

    def remarked(place: GridCell) -> GridCell:
        return msgspec.structs.replace(place, mark=ranks.get(place.cell, ""), sign="", verdict="")

    return [
        msgspec.structs.replace(
            grid,
            rows=tuple(
                msgspec.structs.replace(row, places=tuple(remarked(place) for place in row.places)) for row in grid.rows
            ),
        )
        for grid in laid
    ]


def _as_result(cell: OneProtocolCell) -> CellResult:
    reason = "" if isinstance(cell.measured, Measurement) else cell.measured.reason
    verdict: Any = "incomparable" if isinstance(cell.measured, Measurement) else "not run"
    return CellResult(cell.request, cell.measured, Judgement(verdict, None, reason), None, {}, "")


def records(cells: list[OneProtocolCell]) -> list[dict[str, Any]]:
    """Give the cells as plain values."""
    return [
        {
            "table": cell.request.table,
            "row": cell.request.row,
            "dataset": cell.request.dataset,
            "level": cell.request.level or None,
            "metric": cell.request.metric,
            "printed": cell.request.printed.text if cell.request.printed else "",
            "printed_protocol": cell.request.protocol,
            "protocol": cell.protocol,
            "measured": cell.value,
            "rank": cell.rank or None,
            "printed_rank": cell.printed_rank or None,
            "degradation": cell.request.group.degradation if cell.request.group else "",
            "method": cell.request.method,
            "reason": "" if isinstance(cell.measured, Measurement) else cell.measured.reason,
        }
        for cell in cells
    ]


def json_text(cells: list[OneProtocolCell]) -> str:
    """Render a list of objects, one a cell."""
    return json.dumps(json_numbers(records(cells)), indent=1, ensure_ascii=False) + "\n"


def csv_text(cells: list[OneProtocolCell]) -> str:
    """Render one line a cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    for record in records(cells):
        writer.writerow({key: csv_value(value) for key, value in record.items()})
    return text.getvalue()


def markdown(table: Table, cells: list[OneProtocolCell]) -> str:
    """Render as GitHub Markdown."""
    return _render(markdown_environment(), "one_protocol.md.j2", table, cells)


def latex(table: Table, cells: list[OneProtocolCell]) -> str:
    """Render as a LaTeX table (booktabs, xcolor)."""
    return _render(tex_environment(), "one_protocol.tex.j2", table, cells)


def _render(environment: Any, template: str, table: Table, cells: list[OneProtocolCell]) -> str:
    text = environment.get_template(template).render(
        table=table,
        grids=one_protocol_grids(table, cells),
        protocols=protocol_words(cells),
        inputs=list(input_groups(cells).items()),
        not_run=not_run_reasons(cells),
        changes=rank_changes(cells),
    )
    return few_empty_lines(text)


def not_run_reasons(cells: list[OneProtocolCell]) -> list[Reason]:
    """Cells that were not run, grouped by their reason."""
    return reasons_not_run([_as_result(cell) for cell in cells])


def rank_changes(cells: list[OneProtocolCell]) -> list[str]:
    """Say where the order of the rows that were run differs from the printed order, column by column.

    Values are compared at the printed digits; equal ones have no order, so a tie in print is not contradicted.
    """
    columns: dict[tuple[int, str], list[OneProtocolCell]] = {}
    for cell in cells:
        if cell.rank and cell.printed_rank:
            columns.setdefault((cell.request.part, cell.request.key), []).append(cell)
    said = []
    for (_, key), members in columns.items():
        printed = {c.request.row: c.request.printed.value for c in members if c.request.printed is not None}
        measured = {
            c.request.row: round(Decimal(c.value), _decimals(c))
            for c in members
            if c.value is not None and c.request.printed is not None
        }
        if any(printed[a] > printed[b] and measured[a] < measured[b] for a in printed for b in printed):
            said.append(f"{key}: printed {_order(printed)}; under one protocol {_order(measured)}")
    return said


def _decimals(cell: OneProtocolCell) -> int:
    assert cell.request.printed is not None
    return len(cell.request.printed.text.partition(".")[2])


def _order(values: dict[str, Decimal]) -> str:
    """Write rows from the best to the worst, equal values with an equals sign between them."""
    levels = sorted(set(values.values()), reverse=True)
    return " > ".join(" = ".join(row for row in values if values[row] == level) for level in levels)


def print_one_protocol(table: Table, cells: list[OneProtocolCell]) -> None:
    """Print the table: published values in gray above, measured ones below."""
    from rich.console import Console
    from rich.text import Text

    from harness.report.terminal import WIDE, grid_pieces

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=max(console.width, WIDE))

    def shown(place: GridCell) -> Text:
        printed = Text(place.printed, style="dim")
        if not place.measured:
            return printed
        style = {"best": "bold", "second": "underline"}.get(place.mark, "")
        measured = Text(place.measured, style=style)
        return Text("\n").join([printed, measured]) if place.printed else measured

    console.print()
    heading = Text(f"{table.name}  ", style="bold") + Text(f"{table.title} — every row that can be run under ")
    console.print(heading + Text(protocol_words(cells), style="bold"))
    for grid in one_protocol_grids(table, cells):
        for piece in grid_pieces(grid, console.width, shown):
            console.print(piece)
    console.print(
        Text("published in gray, measured below (bold: best measured, underlined: second)   gray alone: ", style="dim")
        + Text("not run", style="dim")
    )
    for change in rank_changes(cells):
        console.print(Text(f"  other order, {change}", style="yellow"))
    groups = input_groups(cells)
    if len(groups) > 1:
        console.print(Text("  inputs stay each row's own: " + _inputs(groups)))
    for reason in not_run_reasons(cells):
        console.print(Text(f"  not run: {', '.join(reason.rows)} ({reason.cells} cells): {reason.reason}", style="dim"))


def _inputs(groups: dict[str, list[str]]) -> str:
    return "; ".join(f"{name}: {', '.join(rows)}" for name, rows in groups.items())
