"""Definitions of plugins: `new metric` and the like write files that run, `list metrics` and the like list all."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import examples, format_option
from harness.cli.printing import echo, echo_json, echo_table
from harness.errors import HarnessError
from harness.files import write_text
from harness.names import check_name

if TYPE_CHECKING:
    from harness.tables.workspace import Workspace


def write_definition(workspace: Workspace, kind: str, name: str) -> Path:
    """Write plugins/<name>.py, an example that already runs, and list its folder in params.yaml.

    `kind` ({"metric", "degradation", "task", "dataset"}): What the file defines.
    `name`: Its name; the file is named with underscores.
    Raises HarnessError: The name is taken or not plain, or the file is there already.
    """
    import jinja2

    from harness.assets.registry import asset_names
    from harness.cli.authoring import own_folder
    from harness.methods.definitions import broken_definitions, registry_of

    check_name(name, kind)
    workspace.define()
    if name in registry_of(kind) or (kind == "dataset" and name in asset_names("datasets")):
        raise HarnessError(f"a {kind} '{name}' is there already; choose another name")
    file = name.replace("-", "_")
    path = workspace.root / own_folder(workspace, "plugins") / f"{file}.py"
    if path.exists():
        raise HarnessError(f"{path} is there already; choose another name or delete it")
    loader = jinja2.PackageLoader("harness.cli")
    environment = jinja2.Environment(loader=loader, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    function = f"of_{file}" if file[0].isdigit() else file
    write_text(path, environment.get_template(f"{kind}.py.j2").render(name=name, function=function))
    type(workspace)(workspace.root).define()
    # A name may be kept for the package in a way that only the definition itself finds.
    if problem := next((text for what, text in broken_definitions().items() if str(path) in what), ""):
        path.unlink()
        raise HarnessError(problem)
    return path


def _write(kind: str, name: str, following: str) -> None:
    from harness.tables.workspace import Workspace

    echo(f"written: {write_definition(Workspace.find(), kind, name)}")
    echo(f"next: edit it, then {following}")


@click.command("metric", epilog=examples("harness new metric mae"))
@click.argument("name")
def new_metric(name: str) -> None:
    """Write the file of a metric of your own, which already runs."""
    _write("metric", name, f"name it in a table's column, `metric: {name}`, or `harness measure --protocol {name}`")


@click.command("degradation", epilog=examples("harness new degradation poisson"))
@click.argument("name")
def new_degradation(name: str) -> None:
    """Write the file of a degradation of your own, which already runs."""
    _write("degradation", name, f"name it in a table, `degradation: {name}`, or in a task: `harness new task NAME`")


@click.command("task", epilog=examples("harness new task inpainting"))
@click.argument("name")
def new_task(name: str) -> None:
    """Write the file of a task of your own, which already runs."""
    _write("task", name, f"`harness new method NAME --task {name}` and `harness new table NAME --task {name} ...`")


@click.command("dataset", epilog=examples("harness new dataset ramps"))
@click.argument("name")
def new_dataset(name: str) -> None:
    """Write the file of a dataset of your own, which already runs; for a folder of images: `harness datasets add`."""
    _write("dataset", name, f"`harness datasets fetch {name}` and `harness new table NAME --dataset {name} ...`")


def _listing(kind: str, heads: tuple[str, ...], known: Callable[[], list[dict[str, Any]]], form: str) -> None:
    """Print what is known of a kind; each line ends with where it comes from."""
    from harness.methods.definitions import origin_of
    from harness.tables.workspace import Workspace

    workspace = Workspace.find(needed=False)
    workspace.define()
    records = [record | {"from": _shown(workspace, origin_of(kind, record[kind]))} for record in known()]
    if form == "json":
        echo_json(records)
    else:
        echo_table([[_cell(record[head]) for head in (*heads, "from")] for record in records], (*heads, "from"), form)


def _shown(workspace: Workspace, origin: str) -> str:
    path, root = Path(origin), workspace.root.resolve()
    return path.relative_to(root).as_posix() if path.is_absolute() and path.is_relative_to(root) else origin


def _cell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


@click.command("tasks", epilog=examples("harness list tasks --format json"))
@format_option("text", "json", "md")
def tasks(form: str) -> None:
    """List the tasks known here: levels, default degradation, protocols, and where each comes from."""

    def known() -> list[dict[str, Any]]:
        from harness.records.tasks import TASKS

        return [
            {
                "task": task.name,
                "title": task.title,
                "level": task.level_name,
                "levels": list(task.levels),
                "degradation": task.degradation,
                "protocols": list(task.metrics),
                "channels": task.channels,
            }
            for task in TASKS.values()
        ]

    _listing("task", ("task", "title", "level", "levels", "degradation"), known, form)


@click.command("degradations", epilog=examples("harness list degradations --format json"))
@format_option("text", "json", "md")
def degradations(form: str) -> None:
    """List the degradations known here: how inputs are made, under which version, and where each comes from."""

    def known() -> list[dict[str, Any]]:
        from harness.degradations import DEGRADATIONS

        return [
            {
                "degradation": made.name,
                "version": made.version,
                "input": made.output,
                "random": made.random,
                "summary": made.summary,
            }
            for made in DEGRADATIONS.values()
        ]

    _listing("degradation", ("degradation", "version", "input", "summary"), known, form)


@click.command("metrics", epilog=examples("harness list metrics --format json"))
@format_option("text", "json", "md")
def metrics(form: str) -> None:
    """List the metrics known here: what begins a protocol's name, which values are better, where each comes from."""

    def known() -> list[dict[str, Any]]:
        from harness.protocols import protocol
        from harness.protocols.definitions import ALIGNED, METRICS
        from harness.protocols.own import OWN_METRICS

        built_in = [
            {
                "metric": part.name,
                "version": part.version,
                "better": "higher",
                "unit": protocol(part.name).unit,
                "of": "image",
                "reference": True,
                "range": [0 if part.name.startswith("psnr") else -1, math.inf if part.name.startswith("psnr") else 1],
                "what": part.phrase,
            }
            for part in (*METRICS.values(), *ALIGNED.values())
        ]
        return built_in + [
            {
                "metric": own.name,
                "version": own.version,
                "better": own.better,
                "unit": own.unit,
                "of": own.of,
                "reference": own.reference,
                "range": list(own.range),
                "what": own.title,
            }
            for own in OWN_METRICS.values()
        ]

    _listing("metric", ("metric", "version", "better", "unit", "of", "what"), known, form)
