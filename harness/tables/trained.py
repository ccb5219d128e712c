"""Rows for networks that were trained here, below the rows of the released ones."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from harness.records.training_runs import TrainingRun
from harness.tables.published import Row, Table, TablePart

SUFFIX = "-trained"


def with_trained_rows(table: Table, runs: Iterable[TrainingRun]) -> Table:
    """Add a row below every row whose method has a counterpart ``<method>-trained`` that was trained for a column.

    The added row asks for what the row above asks for, and has no printed values: a network trained here is no
    reproduction of the printed number, and stands beside it.
    """
    made: dict[tuple[str, str], set[int]] = {}
    for run in runs:
        if run.method.endswith(SUFFIX):
            made.setdefault((run.method, run.task), set()).add(run.level)
    if not made:
        return table
    parts = tuple(msgspec.structs.replace(part, rows=tuple(_rows(part, made))) for part in table.parts)
    return msgspec.structs.replace(table, parts=parts)


def _rows(part: TablePart, made: dict[tuple[str, str], set[int]]) -> Iterable[Row]:
    for row in part.rows:
        yield row
        name = row.method + SUFFIX
        levels = made.get((name, part.task), set())
        asked = {column.level if column.level is not None else row.level or 0 for column in part.columns}
        if row.method and levels & asked:
            yield Row(
                name=f"{row.name} (trained here)",
                level=row.level,
                method=name,
                policy=row.policy,
                saving=row.saving,
                degradation=row.degradation,
                protocol=row.protocol,
            )
