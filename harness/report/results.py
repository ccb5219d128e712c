"""Render: a table's results, written to the results folder in every form."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.files import write_json, write_text
from harness.report.render import csv_text, json_text, latex, markdown
from harness.tables.collected import table_results
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement
from harness.tables.published import Table
from harness.tables.workspace import Workspace


def render(workspace: Workspace, table: Table) -> list[CellResult]:
    """Write results/<table>.md, .csv, .json and .tex, and what DVC shows as metrics; return the results.

    Raises
    ------
    HarnessError
        Rows are damaged: what is rendered without them would stand until somebody notices.
    """
    found = table_results(workspace, table)
    if found.damaged_rows:
        raise HarnessError(found.damaged_rows[0])
    results = found.results
    base = workspace.results / table.name
    write_text(base.with_suffix(".md"), markdown(table, results))
    write_text(base.with_suffix(".tex"), latex(table, results))
    write_text(base.with_suffix(".csv"), csv_text(results))
    write_text(base.with_suffix(".json"), json_text(results))
    metrics: dict[str, dict[str, float]] = {}
    for result in results:
        if isinstance(result.measured, Measurement):
            metrics.setdefault(result.request.row, {})[result.request.key] = result.measured.value
    write_json(workspace.results / "metrics" / f"{table.name}.json", metrics)
    return results
