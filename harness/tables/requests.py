"""What a table asks to be measured, cell by cell, and the groups of cells that run together."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from harness.errors import HarnessError, Missing
from harness.methods import Method, broken_plugins
from harness.protocols.own import OWN_METRICS
from harness.records.cells import Group
from harness.records.tasks import TASKS, Task
from harness.records.training_runs import TrainingRun, parse_seeded
from harness.tables.published import CellNote, Column, PublishedNumber, Row, Table, TablePart, published_number

# The metrics of the package, which the audit tries to explain; plugins add others.
IMAGE_METRICS = ("psnr", "ssim")


def is_of_images(metric: str) -> bool:
    """Return whether a column's metric is measured on restored images, and is no cost."""
    return metric in IMAGE_METRICS or metric in OWN_METRICS


NO_METHOD = "no method of this version makes this row"

# The metric that is counted on a network and needs no image.
COUNTED = "parameters"

# Reason of a cell without a dataset until its row's other cells are averaged.
AVERAGE = "the mean of the row's other cells"


class Request(msgspec.Struct, frozen=True):
    """One cell of a table: where it stands, what is printed there, and how it is measured.

    `table`, `row`, `key`: The table's name, the row's printed name, the cell's key in its part (``live1/10/psnr``).
    `system`: What the system is called where tables print it under several names.
    `part`, `line`: Index of the part, and of the row in it (rows of one method at several scales share a name).
    `metric`: The column's metric: ``psnr``, ``ssim``, ``parameters``, ``seconds``.
    `dataset`: Dataset; empty for a cost.
    `level`: Level; 0 where the task has only one.
    `group`: The group that makes the cell; None where no method does (then `reason` says why).
    `protocol`: Protocol the printed number was made under, as far as is known.
    `column_protocol`: Protocol of the column, which the other rows use.
    `printed`: None where the paper prints no number.
    `missing`: What the reason names as missing, as data.
    `special`: What is special about the cell.
    `evidence`: Why we believe in the protocol and the input.
    `fitted`: Which choice was made for the cell after its number had been seen, and holds nowhere else; see
        `harness.tables.verdicts`.
    `choices`: In what the row is made or measured otherwise than its table's default, each a choice made for the row.
    `averages`: Whether the cell is the mean of the row's other cells.
    """

    table: str
    part: int
    line: int
    row: str
    system: str
    key: str
    task: str
    metric: str
    dataset: str
    level: int
    method: str
    group: Group | None
    protocol: str
    column_protocol: str
    printed: PublishedNumber | None
    reason: str
    special: CellNote
    evidence: str
    fitted: str = ""
    choices: tuple[str, ...] = ()
    averages: bool = False
    missing: Missing | None = None


def requests(table: Table, methods: Mapping[str, Method]) -> list[Request]:
    """List every cell of a table in the printed order, row by row.

    `methods`: Methods known here; a row whose method is not among them cannot run.
    """
    return [
        _request(table, index, line, position, methods)
        for index, part in enumerate(table.parts)
        for line in range(len(part.rows))
        for position in range(len(part.columns))
    ]


def _request(table: Table, index: int, line: int, position: int, methods: Mapping[str, Method]) -> Request:
    part = table.parts[index]
    row, column = part.rows[line], part.columns[position]
    key = part.column_key(column, row)
    level = column.level if column.level is not None else row.level
    special = row.cells.get(key, CellNote())
    name = f"{row.method}-{column.variant}" if row.method and column.variant else row.method
    # What the row says of `method` does not hold of the images that its printed numbers were measured on.
    name, own = (row.images[column.dataset], True) if column.dataset in row.images else (name, False)
    column_protocol = protocol = ""
    group, reason, averages = None, row.not_run, False
    missing = Missing(row.lacks, row.name) if reason else None
    if is_of_images(column.metric):
        task = TASKS[part.task]
        column_protocol = column.protocol or part.protocol.get(column.metric) or default_protocol(task, column.metric)
        protocol = special.protocol or row.protocol.get(column.metric, column_protocol)
        if not column.dataset:
            # KiT Table 3's "Average": nothing of its own is restored, see `harness.tables.diff`.
            averages = not reason
            reason = reason or AVERAGE
        elif not reason:
            group, reason, missing = _group(table, part, row, column, name, special.saving, methods)
    elif not reason:
        reason = _cost_reason(column.metric, name, methods)
    return Request(
        table=table.name,
        part=index,
        line=line,
        row=row.name,
        system=row.system or row.name,
        key=key,
        task=part.task,
        metric=column.metric,
        dataset=column.dataset,
        level=level or 0,
        method=name,
        group=group,
        protocol=protocol,
        column_protocol=column_protocol,
        printed=_printed(row, column, position),
        reason=reason,
        averages=averages,
        special=special
        if own or special.incomparable
        else msgspec.structs.replace(special, incomparable=row.incomparable),
        evidence=row.evidence,
        fitted=_fitted(row, column, special),
        choices=_choices(part, row, methods.get(name)),
        missing=missing,
    )


def _printed(row: Row, column: Column, position: int) -> PublishedNumber | None:
    number = published_number(row.values[position]) if row.values else None
    if number is not None and number.text.endswith("0") and column.metric in row.source_digits:
        return msgspec.structs.replace(number, source_unit=Decimal(1).scaleb(-row.source_digits[column.metric]))
    return number


def _fitted(row: Row, column: Column, special: CellNote) -> str:
    own = " and ".join(f"{key} '{value}'" for key in ("protocol", "saving") if (value := getattr(special, key)))
    if own:
        return f"the {own} of this cell alone, chosen after its number was seen"
    return row.fitted.get(column.metric, "")


def _choices(part: TablePart, row: Row, method: Method | None) -> tuple[str, ...]:
    """List in what a row is made or measured otherwise than the default of its part and its method."""
    if not part.task:
        return ()
    task = TASKS[part.task]
    found = [
        f"{metric} by {name}"
        for metric, name in row.protocol.items()
        if name != (part.protocol.get(metric) or default_protocol(task, metric))
    ]
    if row.degradation not in ("", part.degradation or task.degradation):
        found.append(f"input {row.degradation}")
    if row.policy and method is not None and row.policy != method.policy:
        found.append(f"policy {row.policy}")
    if row.saving and method is not None and row.saving != method.saving:
        found.append(f"saved {row.saving}")
    return (*found, *(f"{key}: {own}" for key, cell in row.cells.items() if (own := cell.protocol or cell.saving)))


def _no_method(name: str) -> str:
    """Say why no method has a name: it may be that of a plugin that could not be imported."""
    broken = broken_plugins().values()
    return f"{NO_METHOD}; '{name}' may be in what could not be loaded: {'; '.join(broken)}" if broken else NO_METHOD


def _cost_reason(metric: str, name: str, methods: Mapping[str, Method]) -> str:
    """Say why a cost cannot be counted; empty where it can."""
    if metric == "seconds":
        return "a time on the authors' machine; `harness describe` measures it on yours"
    if name not in methods:
        return _no_method(name)
    if methods[name].network is None:
        return f"method '{name}' names no network whose parameters could be counted"
    return ""


def _group(
    table: Table, part: TablePart, row: Row, column: Column, name: str, saving: str, methods: Mapping[str, Method]
) -> tuple[Group | None, str, Missing | None]:
    """Find the group that makes a cell, or say why there is none, and what is missing."""
    if not name:
        return None, "no code or weights of this method are known to the harness", Missing("code", row.name)
    found = methods.get(name)
    if found is None:
        return None, _no_method(name), Missing("code", row.name)
    if part.task not in found.tasks:
        return None, f"method '{name}' has no weights or code for {TASKS[part.task].title}", Missing("weights", name)
    degradation = row.degradation or part.default_degradation
    reason, missing = _without_pairs(column.dataset) if degradation == "pairs" else ("", None)
    if reason:
        return None, reason, missing
    level = (column.level if column.level is not None else row.level) or 0
    if found.origin == "trained" and (part.task, level) not in found.trained:
        reason = f"not trained here; `harness train {table.name} --budget smoke` (or short, paper) trains it"
        return None, reason, Missing("training", TrainingRun(part.task, name, level).name)
    policy, saving = row.policy or found.policy, saving or row.saving or found.saving
    return Group(part.task, column.dataset, degradation, name, policy, saving), "", None


@functools.cache
def _without_pairs(name: str) -> tuple[str, Missing | None]:
    """Say why a dataset cannot be measured as pairs, and what is missing; empty where it can."""
    from harness.assets.datasets.registry import dataset

    kind = dataset(name).kind
    if kind == "inputs":
        reason = (
            f"the ground truth of '{name}' is not given out: its numbers come from the benchmark's own server "
            f"(`harness export dnd {name} METHOD` writes what it takes)"
        )
        return reason, Missing("server", name)
    if kind == "pairs":
        return "", None
    return f"'{name}' holds no degraded images, only ground truth", Missing("dataset", name)


def default_protocol(task: Task, metric: str) -> str:
    """Name the protocol a task uses for a column's metric where a table says nothing."""
    if metric in OWN_METRICS:
        return metric
    for name in task.metrics:
        if name.split("-")[0] == metric:
            return name
    raise HarnessError(f"task '{task.name}' has no metric '{metric}'; it measures {', '.join(task.metrics)}")


def seed_groups(request: Request, methods: Mapping[str, Method]) -> dict[int, Group]:
    """Find the groups that make a cell with the weights of further seeds.

    `methods`: Methods known here; those of further seeds know what they were trained for.
    Returns: Groups by seed, sorted; empty for a network that is not trained here, or with one seed.
    """
    if request.group is None or methods[request.method].origin != "trained":
        return {}
    found = {}
    for name, method in methods.items():
        base, seed = parse_seeded(name) or ("", 0)
        if base == request.method and (request.task, request.level) in method.trained:
            found[seed] = msgspec.structs.replace(request.group, method=name)
    return dict(sorted(found.items()))


def counted(table: Table, methods: Mapping[str, Method]) -> list[str]:
    """Name the methods whose parameters a table asks for and that have a network to count."""
    return list(dict.fromkeys(r.method for r in requests(table, methods) if r.metric == COUNTED and not r.reason))


class Plan(msgspec.Struct, frozen=True):
    """What must be measured for a group: its levels and protocols, over every table that asks."""

    group: Group
    levels: tuple[int, ...]
    protocols: tuple[str, ...]


def plans(tables: Iterable[Table], methods: Mapping[str, Method]) -> list[Plan]:
    """Merge the cells of many tables into groups, so that a number several tables share is computed once."""
    levels: dict[Group, set[int]] = {}
    protocols: dict[Group, set[str]] = {}
    for table in tables:
        for request in requests(table, methods):
            for group in (request.group, *seed_groups(request, methods).values()):
                if group is not None:
                    levels.setdefault(group, set()).add(request.level)
                    wanted = protocols.setdefault(group, set(TASKS[request.task].metrics))
                    wanted |= {request.protocol, request.column_protocol}
    return [Plan(group, tuple(sorted(levels[group])), tuple(sorted(protocols[group]))) for group in sorted(levels)]
