"""Commands `harness methods`, `describe`, `check`, `new method`, `new table`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from harness.cli.printing import echo
from harness.errors import CheckFailedError, HarnessError, plural
from harness.tables.workspace import Workspace


@click.command("methods")
@click.option("--task", default="", help="Only methods that do this task.")
@click.option("--format", "form", type=click.Choice(["text", "json", "md"]), default="text", help="Form of the output.")
def methods_command(task: str, form: str) -> None:
    """List the methods known here: built in, installed, and in your folders."""
    from harness.records.tasks import task as task_of

    known = Workspace.find(needed=False).methods().values()
    if task:
        task_of(task)
    found = [m for m in known if not task or task in m.tasks]
    records = [
        {
            "method": m.name,
            "title": m.title,
            "tasks": list(m.tasks),
            "origin": m.origin,
            "policy": m.policy,
            "weights": list(m.weights),
            "weights_for": dict(m.weights_for),
            "extra": m.extra,
            "paper": m.paper,
        }
        for m in found
    ]
    if form == "json":
        echo(json.dumps(records, indent=1, ensure_ascii=False))
    else:
        from tabulate import tabulate

        lines = [
            [r["method"], r["title"], ", ".join(r["tasks"]), r["origin"], r["policy"], r["paper"]] for r in records
        ]
        heads = ("method", "title", "tasks", "weights", "policy", "paper")
        echo(tabulate(lines, heads, tablefmt="github" if form == "md" else "simple"))


@click.command("method")
@click.argument("name")
@click.option("--task", default="denoise-rgb", show_default=True, help="Task it does.")
@click.option(
    "--on",
    "kind",
    type=click.Choice(["tensor", "array", "images"]),
    default="tensor",
    show_default=True,
    help="A network on tensors, a function on arrays, or a folder of restored images.",
)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="A checkpoint (PyTorch or safetensors) of a network that spandrel recognises; needs no editing.",
)
@click.option("--level", "levels", type=int, multiple=True, help="A level the checkpoint was trained for (repeat).")
@click.option(
    "--origin",
    type=click.Choice(["released", "trained"]),
    default="released",
    show_default=True,
    help="Whether the checkpoint is its authors' or was trained elsewhere.",
)
def new_method(name: str, task: str, kind: str, checkpoint: Path | None, levels: tuple[int, ...], origin: str) -> None:
    """Write a method's file that already runs; change its few lines into your own method.

    With --checkpoint FILE: a method that applies that network, for example
    harness new method my-nafnet --task deblur --checkpoint NAFNet-GoPro-width64.pth
    """
    from harness.cli.authoring import write_checkpoint_method, write_method

    if checkpoint is not None:
        path, what = write_checkpoint_method(
            Workspace.find(),
            name,
            task,
            checkpoint,
            levels,
            origin,  # type: ignore[arg-type]
        )
        echo(f"recognised: {what}")
        echo(f"written: {path}")
        echo(f"next: `harness check {name}` and `harness new table NAME --task {task} --method {name} ...`")
        return
    if levels:
        raise HarnessError("--level goes with --checkpoint; a method of your own gets the level when it is built")
    path = write_method(Workspace.find(), name, task, kind)  # type: ignore[arg-type]
    echo(f"written: {path}")
    echo(f"next: edit it, then `harness check {name}` and `harness new table NAME --method {name}`")


@click.command("check")
@click.argument("name")
@click.option(
    "--limit",
    type=click.FloatRange(0.1),
    default=600.0,
    show_default=True,
    help="Seconds that one check may take.",
)
def check_method(name: str, limit: float) -> None:
    """Try method NAME on small images: sizes, range, determinism, batches; exit status 1 if a promise is broken.

    Of a table NAME: say what is odd about its marks and digits, and which of its numbers other tables print otherwise.

    The status is 1, too, where nothing could be tried because its weights are not here.

    A method that hangs, crashes or ends the process is stopped, and the message says so.
    """
    from harness.run.conformance import check_method as run_checks
    from harness.supervision import Supervised, supervise

    workspace = Workspace.find(needed=False)
    if name in workspace.tables() or name in workspace.broken_tables:
        _check_table(workspace, name)
        return
    supervised = Supervised()
    about = click.get_current_context().find_root().obj
    if isinstance(about, dict) and about.get("own"):
        workspace.try_plugins()
        supervised = supervise(
            f"check {name}",
            limit,
            kept="what was tried is above",
            slow="Give --limit SECONDS if the method is that slow on an image of 321x21",
        )
    method = workspace.method(name)
    failed = held = 0
    for check in run_checks(method):
        supervised.goes_on()
        sign = {True: "ok  ", False: "FAIL", None: "skip"}[check.held]
        echo(f"{sign}  {check.what}{': ' + check.found if check.found else ''}")
        failed += check.held is False
        held += check.held is True
    supervised.done()
    if failed:
        raise CheckFailedError(f"{failed} checks of '{name}' failed")
    if not held and method.on != "images":
        raise CheckFailedError(f"nothing of '{name}' could be tried, so it is not known whether it conforms")
    echo(f"'{name}' conforms" if held else f"'{name}' gives images that were restored elsewhere")


def _check_table(workspace: Workspace, name: str) -> None:
    from harness.tables.checking import remarks

    table = workspace.table(name)
    for text in remarks(table, workspace.tables().values()):
        echo(f"remark: {text}")
    echo(f"'{name}' can be read: {plural(table.number_count(), 'number')} in {plural(table.cell_count(), 'place')}")


@click.command()
@click.argument("name")
@click.option("--task", default="", help="Task to count and measure for; default: the method's first.")
@click.option("--size", default="", help="Input size, width x height; default: 96x96, or the next that it accepts.")
@click.option("--measure/--no-measure", default=True, help="Run it once for time and memory.")
def describe(name: str, task: str, size: str, measure: bool) -> None:
    """Say what method NAME is and what it costs: parameters, multiply-adds, tiles, time and memory on this machine."""
    from harness.cli.describing import describe_method

    method = Workspace.find(needed=False).method(name)
    if task and task not in method.tasks:
        raise HarnessError(f"method '{name}' does not do '{task}'; it does {', '.join(method.tasks)}")
    try:
        width, height = (int(part) for part in (size or "0x0").split("x"))
    except ValueError:
        raise HarnessError(f"'{size}' is no size; write width x height, such as 128x96") from None
    for fact, text in describe_method(method, task or method.tasks[0], (height, width) if size else None, measure):
        echo(f"{fact:<14} {text}")


@click.command("table")
@click.argument("name")
@click.option("--task", default="denoise-rgb", show_default=True, help="Task.")
@click.option("--dataset", "datasets", multiple=True, required=True, help="A dataset (repeat for more).")
@click.option("--level", "levels", type=int, multiple=True, help="Sigma, quality or scale (repeat); default: all.")
@click.option("--method", "methods", multiple=True, help="A method to measure (repeat).")
@click.option("--published", multiple=True, help="A published row to show beside, as TABLE:ROW (repeat).")
@click.option(
    "--degradation", default="", help="How the inputs of your rows are made; default: as of the published rows."
)
@click.option(
    "--protocol", "protocols", multiple=True, help="How your rows are measured, such as ssim-8x8 (repeat); likewise."
)
def new_table(
    name: str,
    task: str,
    datasets: tuple[str, ...],
    levels: tuple[int, ...],
    methods: tuple[str, ...],
    published: tuple[str, ...],
    degradation: str,
    protocols: tuple[str, ...],
) -> None:
    """Write a table of your own: choose task, sets, levels, methods and published rows."""
    from harness.cli.authoring import write_table
    from harness.records.tasks import task as task_of
    from harness.tables.published import read_table
    from harness.tables.requests import default_protocol

    workspace = Workspace.find()
    path = write_table(
        workspace,
        *(name, task, list(datasets), list(levels), list(methods), list(published)),
        degradation=degradation,
        protocols=protocols,
    )
    echo(f"written: {path}")
    if methods and (published or degradation or protocols):
        part, chosen = read_table(path).parts[0], task_of(task)
        ways = [part.protocol.get(metric) or default_protocol(chosen, metric) for metric in ("psnr", "ssim")]
        likewise = " (as of the published rows)" if published and not degradation else ""
        echo(f"input of your rows: {part.degradation or chosen.degradation}{likewise}; measured by {', '.join(ways)}")
    echo(f"next: harness repro {name}")
