"""Rendering a table under one protocol: published values in gray, measured ones beside them, ranks recomputed."""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import Any

from msgspec.structs import replace

from harness.protocols.own import better_of
from harness.report.grid import GridRow, PartGrid, Reason, grids, reasons_not_run, signatures
from harness.report.render import csv_lines, few_empty_lines, json_lines, markdown_environment, tex_environment
from harness.tables.collected import place_of
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement, NotRun
from harness.tables.one_protocol import OneProtocolCell, input_groups
from harness.tables.published import Table
from harness.tables.verdicts import Judgement

FIELDS = (
    *("table", "row", "dataset", "level", "metric", "printed", "printed_protocol", "protocol", "measured", "rank"),
    *("printed_rank", "degradation", "method", "reason"),
)
RANKS = {1: "best", 2: "second"}


def protocol_words(cells: list[OneProtocolCell]) -> str:
    """Sign the protocols of a rendering."""
    return ", ".join(signatures((c.request.task, c.protocol, c.request.level) for c in cells))


def one_protocol_grids(table: Table, cells: list[OneProtocolCell]) -> list[PartGrid]:
    """Lay the cells out as the paper prints the table; a place's mark is the rank of the measured value."""
    ranks = {place_of(cell.request): RANKS.get(cell.rank, "") for cell in cells}

    def ranked(row: GridRow) -> GridRow:
        places = (replace(place, mark=ranks.get(place.cell, ""), sign="", verdict="") for place in row.places)
        return replace(row, places=tuple(places))

    laid = grids(table, [_as_result(cell) for cell in cells])
    return [replace(grid, rows=tuple(map(ranked, grid.rows))) for grid in laid]


def _as_result(cell: OneProtocolCell) -> CellResult:
    ran = isinstance(cell.measured, Measurement)
    judgement = Judgement("incomparable" if ran else "not run", None, _reason(cell))
    return CellResult(cell.request, cell.measured, judgement, None, {}, "")


def _reason(cell: OneProtocolCell) -> str:
    return cell.measured.reason if isinstance(cell.measured, NotRun) else ""


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
            "signature": "".join(signatures([(cell.request.task, cell.protocol, cell.request.level)])),
            "measured": cell.value,
            "rank": cell.rank or None,
            "printed_rank": cell.printed_rank or None,
            "degradation": cell.request.group.degradation if cell.request.group else "",
            "method": cell.request.method,
            "reason": _reason(cell),
        }
        for cell in cells
    ]


def forms(table: Table, cells: list[OneProtocolCell]) -> dict[str, str]:
    """Render in every form, by the ending of its file: GitHub Markdown, LaTeX (booktabs, xcolor), CSV, JSON."""
    return {
        "md": _render(markdown_environment(), "one_protocol.md.j2", table, cells),
        "tex": _render(tex_environment(), "one_protocol.tex.j2", table, cells),
        "csv": csv_lines(records(cells), FIELDS),
        "json": json_lines(records(cells)),
    }


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
    columns: dict[tuple[int, str], dict[str, tuple[Decimal, Decimal]]] = defaultdict(dict)
    lower: dict[tuple[int, str], bool] = {}
    for cell in cells:
        asked = cell.request
        if cell.rank and cell.printed_rank and asked.printed is not None and cell.value is not None:
            decimals = len(asked.printed.text.partition(".")[2])
            values = asked.printed.value, round(Decimal(cell.value), decimals)
            columns[asked.part, asked.key][asked.row] = values
            lower[asked.part, asked.key] = better_of(asked.metric) == "lower"
    said = []
    for (_part, key), rows in columns.items():
        sign = -1 if lower[_part, key] else 1
        if any(sign * a[0] > sign * b[0] and sign * a[1] < sign * b[1] for a in rows.values() for b in rows.values()):
            printed, measured = ({row: values[n] for row, values in rows.items()} for n in (0, 1))
            said.append(f"{key}: printed {_order(printed, sign < 0)}; under one protocol {_order(measured, sign < 0)}")
    return said


def _order(values: dict[str, Decimal], lower: bool) -> str:
    """Write rows from the best to the worst, equal values with an equals sign between them."""
    levels = sorted(set(values.values()), reverse=not lower)
    return " > ".join(" = ".join(row for row in values if values[row] == level) for level in levels)
