"""The audit of a table: its rows one after the other, on one bench."""

from __future__ import annotations

import os
from collections.abc import Callable

from harness.audit.images import Bench
from harness.audit.outcomes import RowAudit
from harness.audit.rows import audit_row, row_names
from harness.audit.settings import AuditSettings
from harness.tables.published import Table
from harness.tables.workspace import Workspace


def audit_table(
    workspace: Workspace,
    table: Table,
    settings: AuditSettings | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> list[RowAudit]:
    """Audit every row of a table.

    Parameters
    ----------
    workspace : Workspace
        Holds the datasets and restored images; datasets that can be fetched are fetched.
    table : Table
        The table, or what `harness.tables.published.select` left of it.
    settings : AuditSettings
        What it may cost.
    progress : callable
        Called with what is being done, and with an empty text at the end.
    """
    from harness.assets.datasets import fetch

    for name in sorted({column.dataset for part in table.parts for column in part.columns if column.dataset}):
        progress(f"dataset {name}")
        fetch(name, workspace.data)
    audits = []
    for part, row in row_names(table):
        # A bench per row: values of one row's images are of no use to the next, and need memory.
        bench = Bench(workspace, workers=os.cpu_count() or 1)
        audits.append(audit_row(bench, table, part, row, settings, progress))
    progress("")
    return audits
