"""Writing a new method's file, and a new table's."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from harness.errors import HarnessError
from harness.files import write_text
from harness.records.tasks import TASKS, Task, task
from harness.records.workspace import PARAMS_FILE
from harness.tables.published import Column, Row, Table, TablePart, check_table
from harness.tables.requests import default_protocol
from harness.tables.schema import SCHEMA_LINE, write_schema
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.degradations.kinds import Degradation

Kind = Literal["tensor", "array", "images"]

# Enlarges luma alone, though it takes RGB images: the programs behind the papers' Bicubic rows do.
_LUMA_ONLY = "bicubic-luma"

# What a row's numbers were made with, besides its input and protocols.
_MAKING = ("method", "policy", "saving", "images", "attributes")

DEFAULT_METRICS = ("psnr", "ssim")
"""Metrics of a new table's columns where nobody says others."""


def write_method(workspace: Workspace, name: str, task_name: str, kind: Kind) -> Path:
    """Write methods/<name>.py, an example that already runs, and list its folder in params.yaml.

    `name`: The method's name; its file is named with underscores.
    `kind` ({"tensor", "array", "images"}): What its callable takes, see `harness.methods.Method`.
    Raises HarnessError: The name is taken or not plain, or the file is there already.
    """
    workspace.define()
    chosen = task(task_name)
    path = _new_path(workspace, name)
    scale_note = ", enlarged by `level`" if chosen.level_name == "scale" else ""
    text = _rendered(
        kind, name=name, file=path.stem, title=name, task=task_name, task_title=chosen.title, scale_note=scale_note
    )
    write_text(path, text)
    return path


def write_checkpoint_method(
    workspace: Workspace,
    name: str,
    task_name: str,
    file: Path,
    levels: tuple[int, ...] = (),
    origin: Literal["released", "trained"] = "released",
) -> tuple[Path, str]:
    """Write methods/<name>.py for a checkpoint of a network that spandrel or this package recognises.

    `task_name`: Task the network was trained for.
    `file`: The checkpoint (PyTorch or safetensors); its SHA-256 is written into the method.
    `levels`: Levels it was trained for; empty for all, in super-resolution for its own scale.
    `origin` ({"released", "trained"}): Whether its authors released it, or it was trained elsewhere.
    Returns `what`: Architecture, sizes and number of parameters.
    Raises HarnessError: The name is taken, a level is unknown, the file is no checkpoint, or its channels or scale do
        not fit the task.
    Raises NotAvailableError: Nobody here knows the architecture, or spandrel is not installed.
    """
    import os

    import torch

    from harness.assets.weights.importers import import_checkpoint
    from harness.methods.checkpoint import checkpoint_sha256, misfit
    from harness.networks.recognition import recognise

    chosen = task(task_name)
    for level in levels:
        if level not in chosen.levels:
            known = ", ".join(str(value) for value in chosen.levels)
            raise HarnessError(f"{task_name} has the levels {known}, not {level}")
    sha256 = checkpoint_sha256(file)
    arrays, part = import_checkpoint(file)
    about = recognise({key: torch.from_numpy(array) for key, array in arrays.items()}, str(file)).about
    if task_name == "sr" and about.scale not in chosen.levels:
        known = ", ".join(f"x{value}" for value in chosen.levels)
        raise HarnessError(f"{file}: this {about.architecture} enlarges by {about.scale}; {chosen.title} has {known}")
    if task_name == "sr" and not levels:
        levels = (about.scale,)
    for level in levels or chosen.levels[:1]:
        problem = misfit(about.inputs, about.outputs, about.scale, task_name, level)
        if problem:
            raise HarnessError(f"{file}: this {about.architecture} {problem}; name its task and level")
    path = _new_path(workspace, name)
    inside = file.resolve().is_relative_to(workspace.root.resolve())
    text = _rendered(
        "checkpoint",
        name=name,
        title=about.architecture,
        title_text=json_text(f"{about.architecture} ({name})"),
        task=task_name,
        task_title=chosen.title,
        architecture=" ".join([about.architecture, *about.tags]),
        parameters=f"{about.parameters:,}",
        # A file inside the project is named relative to it, so that the project can be moved.
        relative=json_text(Path(os.path.relpath(file.resolve(), path.parent.resolve())).as_posix())
        if inside
        else json_text(str(file.resolve())),
        sha256=sha256,
        levels=repr(tuple(levels)),
        level_note=f"the {chosen.level_name}s it was trained for; () for all"
        if chosen.level_name
        else "only one level",
        origin=origin,
    )
    write_text(path, text)
    under = f", weights under {part}" if part else ""
    return path, f"{' '.join([about.architecture, *about.tags])}, {about.parameters:,} parameters{under}"


def json_text(text: str) -> str:
    """Write a text as a Python literal, whatever characters are in it."""
    import json

    return json.dumps(text)


def _new_path(workspace: Workspace, name: str) -> Path:
    """Choose the file of a new method; a name that is taken or not plain raises HarnessError."""
    from harness.names import check_name

    check_name(name)
    if name in workspace.methods():
        raise HarnessError(f"a method '{name}' is there already; choose another name")
    path = workspace.root / own_folder(workspace, "methods") / f"{name.replace('-', '_')}.py"
    if path.exists():
        raise HarnessError(f"{path} is there already; choose another name or delete it")
    return path


def _rendered(template: str, **values: object) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.methods"), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    return environment.get_template(f"{template}.py.j2").render(**values)


def write_table(
    workspace: Workspace,
    name: str,
    task_name: str,
    datasets: list[str],
    levels: list[int],
    methods: list[str],
    published: list[str],
    degradation: str = "",
    protocols: Sequence[str] = (),
    metrics: Sequence[str] = (),
) -> Path:
    """Write tables/<name>.yaml and list its folder in params.yaml.

    `datasets`, `levels`: Its columns; no levels stand for all the task has.
    `methods`: Its rows that are measured only.
    `published`: Rows of other tables to show beside, as ``panet-table1:FFDNet``; values are copied where that table has
        the same dataset, level and metric.
    `degradation`: How the input of the measured rows is made; empty for the way of the published rows, or the task's
        where there are none.
    `protocols`: How they are measured, at most one for each metric; likewise.
    `metrics`: Metrics of the columns; PSNR and SSIM where none is named.
    Raises HarnessError: A name is unknown or taken, no row is named, or the published rows were made or measured in
        several ways and nobody said which one the new rows shall have.
    """
    import yaml

    from harness.assets.datasets.registry import dataset

    workspace.define()
    chosen = task(task_name)
    path = new_table_path(workspace, name)
    levels = levels or list(chosen.levels)
    metrics = metrics or DEFAULT_METRICS
    columns = [
        {"dataset": dataset(d).name, **({"level": level} if level else {}), "metric": metric}
        for d in datasets
        for level in levels
        for metric in metrics
    ]
    if not methods and not published:
        raise HarnessError(f"table '{name}': a table needs rows; name some with --method and --published")
    copies = [published_row(workspace, task_name, columns, source) for source in published]
    chosen_input, chosen_protocols = _chosen(chosen, metrics, copies, degradation, protocols, asks=bool(methods))
    rows = [without_defaults(copy, chosen, chosen_input, chosen_protocols) for copy in copies]
    for method_name in methods:
        found = workspace.method(method_name)
        if task_name not in found.tasks:
            raise HarnessError(f"method '{method_name}' does not do '{task_name}'; it does {', '.join(found.tasks)}")
        rows.append({"name": found.title, "method": found.name})
    plain = {
        "name": name,
        "paper": "",
        "title": f"{chosen.title[:1].upper()}{chosen.title[1:]}: {name}",
        "source": "measured here",
        "parts": [
            {
                "task": task_name,
                **({"degradation": chosen_input} if chosen_input != chosen.degradation else {}),
                **({"protocol": chosen_protocols} if chosen_protocols else {}),
                "columns": columns,
                "rows": rows,
            }
        ],
    }
    from harness.records.loading import convert

    check_table(convert(plain, Table, name), name)
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
    own_folder(workspace, "tables")
    write_text(path, f"{SCHEMA_LINE}\n{text}")
    write_schema(path.parent)
    return path


def input_note(path: Path, methods: Sequence[str]) -> str:
    """Say where a method of a new table is given what it is not made for; empty where none is."""
    from harness.tables.published import read_table

    for part in read_table(path).parts:
        made = part.degradation or TASKS[part.task].degradation
        if _LUMA_ONLY in methods and "-y8" not in made:
            return (
                f"{_LUMA_ONLY} clips to the range of luma, 16..235, which darkens the whites of RGB images, and the "
                f"input of this table is {made}; give --degradation bicubic-y8-float, or take the method bicubic"
            )
    return ""


def new_table_path(workspace: Workspace, name: str, *, force: bool = False) -> Path:
    """Choose the file of a new table; a name that is taken or not plain raises HarnessError.

    With `force` the user's own table of that name is to be written anew.
    """
    from harness.names import check_name

    check_name(name)
    # A file that cannot be read is no known table, and is not to be lost.
    places = [workspace.root / folder / f"{name}.yaml" for folder in workspace.params.tables or ("tables",)]
    there = next((path for path in places if path.exists()), None)
    if (there is not None and not force) or (there is None and name in workspace.tables()):
        raise HarnessError(f"a table '{name}' is there already; choose another name")
    return there or places[0]


def published_row(workspace: Workspace, task_name: str, columns: list[dict[str, Any]], source: str) -> dict[str, Any]:
    """Copy a row of another table, as far as the columns are the same."""
    table_name, colon, row_name = source.partition(":")
    if not colon:
        raise HarnessError(f"'{source}': write a published row as TABLE:ROW, such as panet-table1:FFDNet")
    from harness.tables.published import select

    chosen = select(workspace.table(table_name), row=row_name)
    # The first of the columns of a set, level and metric: others of them are under another protocol.
    values: dict[tuple[str, int | None, str], tuple[str, TablePart, Row, Column]] = {}
    for part in chosen.parts:
        for row in part.rows if part.task == task_name else ():
            for column, value in zip(part.columns, row.values, strict=True):
                level = column.level if column.level is not None else row.level
                if not column.variant:  # which is another method
                    values.setdefault((column.dataset, level, column.metric), (value, part, row, column))
    if not values:
        about = " and ".join(dict.fromkeys(part.task for part in chosen.parts))
        raise HarnessError(f"{source}: {table_name} is not about {TASKS[task_name].title}; give --task {about}")
    of_columns = [values.get((c["dataset"], c.get("level"), c["metric"])) for c in columns]
    found = [cell[0] if cell else "" for cell in of_columns]
    made = [(part, row, column) for value, part, row, column in filter(None, of_columns) if value]
    if not made:
        raise HarnessError(f"{source}: {table_name} prints none of the chosen datasets and levels")
    part, row, _ = made[0]
    degradation = row.degradation or part.degradation or TASKS[task_name].degradation
    protocols: dict[str, str] = {}
    for part, of_level, column in made:
        metric = column.metric
        protocol = of_level.protocol.get(metric) or column.protocol or part.protocol.get(metric, "")
        same = protocols.setdefault(metric, protocol) == protocol
        own = of_level.degradation or part.degradation or TASKS[task_name].degradation
        if not same or own != degradation or any(getattr(of_level, key) != getattr(row, key) for key in _MAKING):
            where = " and ".join(f"{r.name}{f' at {r.level}' if r.level else ''}" for r in (row, of_level))
            raise HarnessError(f"{source}: {where} were not made alike; take their levels, sets or metrics apart")
    copied: dict[str, Any] = {"name": f"{row.name} ({table_name})", "values": found, "degradation": degradation}
    asked = {column["dataset"] for column in columns}
    if images := {name: method for name, method in row.images.items() if name in asked}:
        copied["images"] = images
    task = TASKS[task_name]
    # Of the metrics whose numbers were copied.
    metrics = dict.fromkeys(c["metric"] for c, value in zip(columns, found, strict=True) if value)
    copied["protocol"] = {metric: protocols.get(metric) or default_protocol(task, metric) for metric in metrics}
    for key in (*_MAKING, "cite", "source_digits", "fitted", "not_run", "incomparable", "evidence"):
        if key != "images" and getattr(row, key):
            copied[key] = getattr(row, key)
    if row.not_run:
        copied["lacks"] = row.lacks
    # What is special about a cell goes with it: ARCNN's images of two cells are saved in another way.
    keys = {"/".join(str(c[part]) for part in ("dataset", "level", "metric") if c.get(part)) for c in columns}
    notes = {key: note for _, of_level, _ in made for key, note in of_level.cells.items()}
    if cells := {key: msgspec.to_builtins(note) for key, note in notes.items() if key in keys}:
        copied["cells"] = cells
    return copied


def _chosen(
    task: Task,
    metrics: Collection[str],
    copies: list[dict[str, Any]],
    degradation: str,
    protocols: Sequence[str],
    *,
    asks: bool,
) -> tuple[str, dict[str, str]]:
    """Choose input and protocols of the rows that are measured: as said, else as the published rows have them."""
    from harness.degradations import degradation as degradation_of
    from harness.protocols import protocol

    said: dict[str, str] = {}
    for name in protocols:
        metric = protocol(name).family
        if metric not in metrics:
            raise HarnessError(f"protocol '{name}' measures {metric}; the columns are {', '.join(metrics)}")
        if metric in said:
            raise HarnessError(f"'{said[metric]}' and '{name}' both measure {metric}; name one of them")
        said[metric] = name
    if degradation and not _fits(degradation_of(degradation), task):
        raise HarnessError(f"degradation '{degradation}' is not one of {task.title}; its default is {task.degradation}")

    def agreed(what: str, option: str, of_row: dict[str, str], default: str) -> str:
        names = dict.fromkeys(of_row.values())
        if len(names) > 1 and asks:
            which = "; ".join(f"{name} ({', '.join(r for r in of_row if of_row[r] == name)})" for name in names)
            raise HarnessError(f"the published rows have several {what}: {which}; name that of your rows with {option}")
        return next(iter(names)) if len(names) == 1 else default

    found = degradation or agreed(
        "inputs", "--degradation NAME", {copy["name"]: copy["degradation"] for copy in copies}, task.degradation
    )
    for metric in metrics:
        if metric not in said:
            of_row = {copy["name"]: copy["protocol"][metric] for copy in copies if metric in copy["protocol"]}
            said[metric] = agreed(f"{metric} protocols", "--protocol NAME", of_row, default_protocol(task, metric))
    return found, {metric: name for metric, name in said.items() if name != default_protocol(task, metric)}


def _fits(degradation: Degradation, task: Task) -> bool:
    """Whether a task's level means something to a degradation; of one's own only the size of its output is known."""
    from harness.degradations import degradation as degradation_of
    from harness.degradations.defining import Defined

    if isinstance(degradation, Defined):
        return degradation.shrinks == (task.level_name == "scale")
    return degradation.level_name == degradation_of(task.degradation).level_name


def without_defaults(copy: dict[str, Any], task: Task, degradation: str, protocols: dict[str, str]) -> dict[str, Any]:
    """Leave out of a copied row what its table states for all rows."""
    own = {m: name for m, name in copy["protocol"].items() if name != (protocols.get(m) or default_protocol(task, m))}
    kept = {"degradation": copy["degradation"] if copy["degradation"] != degradation else "", "protocol": own}
    return {key: value for key, value in (copy | kept).items() if value or key not in kept}


def own_folder(workspace: Workspace, kind: Literal["methods", "plugins", "tables"]) -> str:
    """Name the folder for the user's own files of a kind; params.yaml learns of it if it lists none."""
    # Read anew: what was written before, here or by another command, may have added it.
    listed = getattr(Workspace(workspace.root).params, kind)
    if listed:
        return str(listed[0])
    path = workspace.root / PARAMS_FILE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    lines = [line for line in lines if line.split("#")[0].strip() != "{}"]
    for index, line in enumerate(lines):
        if line.split("#")[0].strip() == f"{kind}: []":
            lines[index] = f"{kind}: [{kind}]"
            break
    else:
        lines.append(f"{kind}: [{kind}]")
    (workspace.root / kind).mkdir(exist_ok=True)
    write_text(path, "\n".join(lines) + "\n")
    return kind
