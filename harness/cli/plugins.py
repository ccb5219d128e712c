"""What plugins define: `new metric` and the like write a file that runs, `metrics` and the like list what is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.cli.options import examples
from harness.cli.printing import echo
from harness.errors import HarnessError
from harness.files import write_text
from harness.names import check_name

if TYPE_CHECKING:
    from harness.tables.workspace import Workspace


def write_definition(workspace: Workspace, kind: str, name: str) -> Path:
    """Write plugins/<name>.py, an example that already runs, and list its folder in params.yaml.

    Parameters
    ----------
    workspace : Workspace
        Where to write.
    kind : {"metric", "degradation", "task", "dataset"}
        What the file defines.
    name : str
        Its name; the file is named with underscores.

    Raises
    ------
    HarnessError
        The name is taken or not plain, or the file is there already.
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
