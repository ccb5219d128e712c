"""Render: a table's results from measured rows, written to the results folder in every form."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.files import write_text
from harness.report.render import csv_text, json_text, latex, markdown
from harness.tables.diff import CellResult, diff_table
from harness.tables.measurements import Measurements
from harness.tables.published import Table
from harness.workspace import Workspace


def results_of(workspace: Workspace, table: Table) -> list[CellResult]:
    """Compare a table with what was measured in a workspace."""
    return diff_table(table, workspace.methods(), Measurements(workspace.work))


def render(workspace: Workspace, table: Table) -> list[CellResult]:
    """Write results/<table>.md, .csv, .json and .tex; return the results.

    Raises
    ------
    HarnessError
        Rows are damaged: what is rendered without them would stand until somebody notices.
    """
    measurements = Measurements(workspace.work)
    results = diff_table(table, workspace.methods(), measurements)
    if measurements.damaged:
        raise HarnessError(measurements.damaged[0])
    base = workspace.results / table.name
    write_text(base.with_suffix(".md"), markdown(table, results))
    write_text(base.with_suffix(".tex"), latex(table, results))
    write_text(base.with_suffix(".csv"), csv_text(results))
    write_text(base.with_suffix(".json"), json_text(results))
    return results
