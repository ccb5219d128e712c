"""Which runs a table or a method asks for."""

from __future__ import annotations

from collections.abc import Mapping

from harness.errors import HarnessError, unknown_name
from harness.methods import Method
from harness.records.tasks import task as task_of
from harness.records.training_runs import TrainingRun
from harness.tables.published import Table
from harness.tables.requests import IMAGE_METRICS

SUFFIX = "-trained"


def trainable(name: str, methods: Mapping[str, Method]) -> str:
    """Name the method that trains what `name` restores: itself, its counterpart ``<name>-trained``, or nothing."""
    for candidate in (name, name + SUFFIX):
        if candidate in methods and methods[candidate].recipes:
            return candidate
    return ""


def table_runs(table: Table, methods: Mapping[str, Method]) -> list[TrainingRun]:
    """List the runs behind a table's rows, in the printed order."""
    found: dict[TrainingRun, None] = {}
    for part in table.parts:
        for row in part.rows:
            for column in part.columns:
                if column.metric not in IMAGE_METRICS or not column.dataset or not row.method:
                    continue
                name = f"{row.method}-{column.variant}" if column.variant else row.method
                method = trainable(name, methods)
                level = column.level if column.level is not None else row.level
                if method and part.task in methods[method].recipes:
                    found[TrainingRun(part.task, method, level or 0)] = None
    return list(found)


def method_run(name: str, task: str, level: int, methods: Mapping[str, Method]) -> TrainingRun:
    """Make the run of a method, a task (its only one by default) and a level.

    Raises HarnessError: There is no such method, task or level, or no recipe for it.
    """
    method = trainable(name, methods)
    if not method:
        if name in methods:
            raise HarnessError(
                f"method '{name}' has no recipe to be trained by; `harness train --list` shows those that do"
            )
        raise unknown_name("method or table", name, [m for m in methods if methods[m].recipes])
    recipes = methods[method].recipes
    if not task:
        if len(recipes) > 1:
            raise HarnessError(f"'{method}' can be trained for {', '.join(recipes)}; choose one with --task")
        task = next(iter(recipes))
    if task not in recipes:
        raise unknown_name(f"task of '{method}'", task, recipes)
    levels = task_of(task).levels
    if level not in levels:
        if level or len(levels) > 1:
            raise HarnessError(f"{task} has the levels {', '.join(map(str, levels))}; give one with --level")
        level = levels[0]
    return TrainingRun(task, method, level)
