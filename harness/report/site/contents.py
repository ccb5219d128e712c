"""What a site shows: the tables' results, the cells behind them, and what each page says about a cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec

from harness.methods import Method
from harness.records.tasks import TASKS
from harness.report.attention import AttentionPage, read_attention_pages
from harness.report.facts import Fact, run_facts, telling_facts
from harness.report.grid import dataset_title, metric_title
from harness.report.scenes import SceneId
from harness.report.site.pages import CellId, cell_page
from harness.report.training_curves import TrainingCurves, read_training_runs
from harness.tables.collected import TableResults, collect
from harness.tables.diff import CellResult, as_record, measured_text
from harness.tables.fairness import words
from harness.tables.measurements import Measurement, Measurements
from harness.tables.workspace import Workspace


class Contents(msgspec.Struct, frozen=True):
    """What there is to show.

    `tables`: In the order in which they are shown.
    `methods`, `measurements`: Methods known here, by name, and what was measured.
    `asked`, `facts`: By cell, what tables print beside it, and what made it, as the run's files tell (empty where
        nothing was computed here).
    `attention`, `training`: Attention maps and training runs that were found.
    """

    workspace: Workspace
    tables: list[TableResults]
    methods: dict[str, Method]
    measurements: Measurements
    asked: dict[CellId, list[tuple[TableResults, CellResult]]]
    facts: dict[CellId, list[Fact]]
    attention: list[AttentionPage]
    training: list[TrainingCurves]


def gather(workspace: Workspace, names: Sequence[str]) -> Contents:
    """Read what tables show; every known table where none is named."""
    tables = collect(workspace, names)
    asked: dict[CellId, list[tuple[TableResults, CellResult]]] = defaultdict(list)
    for item in tables:
        for result in item.results:
            if result.request.group is not None:
                asked[result.request.group, result.request.level].append((item, result))
    return Contents(
        workspace,
        tables,
        workspace.methods(),
        Measurements(workspace.work),
        dict(asked),
        {cell: run_facts(workspace, *cell) for cell in asked},
        read_attention_pages(workspace),
        read_training_runs(workspace),
    )


def scene_title(scene: SceneId) -> str:
    """Name a scene for readers, such as ``Kodak24, sigma 50``."""
    task, dataset, level = scene
    known = TASKS.get(task)
    label = known.level_label(level) if known and level else ""
    return dataset_title(dataset) + (f", {label}" if label else "")


def cell_record(item: TableResults, result: CellResult) -> dict[str, Any]:
    """Everything a page says about one cell of a table."""
    request = result.request
    record = as_record(result)
    known = TASKS.get(request.task)
    record |= {
        "text": measured_text(result),
        "dataset_title": dataset_title(request.dataset) if request.dataset else "",
        "level_label": known.level_label(request.level) if known and request.level else "",
        "part_title": item.table.parts[request.part].title,
        "page": cell_page((request.group, request.level)) if request.group else "",
    }
    return record


def number_facts(item: TableResults, result: CellResult, record: dict[str, Any]) -> list[Fact]:
    """What stands behind a number of a table, whose `cell_record` is given: both numbers, the verdict, the protocol."""
    request = result.request
    metric = metric_title(request.metric)
    where = (request.row, record["dataset_title"], record["level_label"], metric)
    measured, under, delta = record["measured"], record["measured_under_column_protocol"], record["delta"]
    facts = [
        ("cell", ", ".join(filter(None, where))),
        ("published", request.printed.text if request.printed else ""),
        ("measured", "" if measured is None else repr(measured)),
        ("measured − published", "" if delta is None else f"{delta:+.5g}"),
        ("verdict", f"{result.verdict}: {result.judgement.reason}" if record["reason"] else result.verdict),
        ("protocol", f"{request.protocol} (version {record['protocol_version']})" if request.protocol else ""),
        (f"under {request.column_protocol}", "" if under is None else repr(under)),
        *(("made otherwise", words(difference)) for difference in result.differs),
        ("noise term", f"{record['noise']:.4f}" if record["noise"] else ""),
        ("images", str(record["images"] or "")),
        (
            "recorded",
            f"results/{item.table.name}.json, {result.recorded}; its rows are not here" if result.recorded else "",
        ),
        (f"choices for the row: {len(request.choices)}", "; ".join(request.choices)),
    ]
    return [(label, text) for label, text in facts if text]


def was_measured(contents: Contents, cell: CellId) -> bool:
    """Whether a table has a measured number of a cell."""
    return any(isinstance(result.measured, Measurement) for _, result in contents.asked[cell])


def making_facts(contents: Contents, cell: CellId, result: CellResult, *, ran: bool) -> list[Fact]:
    """What makes a cell: method, policy, degradation, saving; where it `ran`, all that its run left.

    A run that found something missing leaves times and versions, too, but made nothing: they are not told. Where the
    files of a run are missing, what was recorded with the number stands in for them.
    """
    group, _ = cell
    method = contents.methods.get(group.method)
    facts: list[Fact] = [
        ("method", f"{method.title} ({group.method})" if method else group.method),
        ("policy", group.policy),
        ("degradation", group.degradation),
        ("saving", group.saving),
    ]
    if not ran:
        return facts
    if result.origin:
        facts.append(("origin of weights", result.origin))
    found = contents.facts[cell]
    if found:
        facts += [fact for fact in found if fact[0] != "origin"]
    else:
        facts += [(f"weights {name}", digest) for name, digest in sorted(result.weights.items())]
    return facts


def telling_making_facts(contents: Contents, cell: CellId, result: CellResult, *, ran: bool) -> list[Fact]:
    """Of what makes a cell, that which tells it from the other cells of a table."""
    facts = making_facts(contents, cell, result, ran=ran)
    known = contents.facts[cell]
    return [fact for fact in facts if fact not in known] + telling_facts(fact for fact in facts if fact in known)
