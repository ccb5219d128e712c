"""Commands `harness list methods`, `describe`, `check`, `new method`, `new table`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.groups import own_process
from harness.cli.options import (
    argument,
    complete_checked,
    complete_degradations,
    dataset_option,
    examples,
    format_option,
    level_option,
    listed,
    method_argument,
    method_option,
    metric_option,
    protocol_option,
    task_option,
)
from harness.cli.printing import echo, echo_json, echo_table, echo_text
from harness.errors import CheckFailedError, HarnessError, plural
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.run.conformance import Check
    from harness.run.here import Here
    from harness.supervision import Supervised


@click.command("methods", epilog=examples("harness list methods --task sr", "harness list methods --task sr --here"))
@task_option("Only methods that do this task.")
@click.option("--here", "only_here", is_flag=True, help="Only those that can run here now, with what they can do.")
@click.option("--why", is_flag=True, help="With --here: say of each of the others what it lacks.")
@format_option("text", "json", "md")
def methods_command(task: str, only_here: bool, why: bool, form: str) -> None:
    """List the methods known here: built in, installed, and in your folders.

    With --here only those whose weights, packages and images are here: fetched, trained, or in the mirror.
    """
    from harness.records.tasks import task as task_of

    if why and not only_here:
        raise HarnessError("--why goes with --here")
    workspace = Workspace.find(needed=False)
    known = workspace.methods().values()
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
    others: list[Here] = []
    if only_here:
        from harness.run.here import what_runs

        states = [what_runs(workspace, m) for m in found]
        for record, state in zip(records, states, strict=True):
            kept = {name: list(levels) for name, levels in state.levels.items() if not task or name == task}
            record |= {"here": kept, "lacks": state.lacks}
        others = [state for state, record in zip(states, records, strict=True) if not record["here"]]
    shown = [r for r in records if not only_here or r["here"]]
    if form == "json":
        echo_json(records if why else shown)
        return
    # A method that loads a file of its own is not one without weights.
    own = {m.name for m in found if m.origin == "none" and m.depends}
    lines = [
        [
            r["method"],
            r["title"],
            _abilities(r),
            "own file" if r["method"] in own else r["origin"],
            r["policy"],
            r["paper"],
        ]
        for r in shown
    ]
    echo_table(lines, ("method", "title", "tasks", "weights", "policy", "paper"), form)
    if others:
        _tell_others(records, others, why, form)


def _abilities(record: dict[str, Any]) -> str:
    """Name what a method does; where that is known, only the levels that can run here."""
    if "here" not in record:
        return ", ".join(record["tasks"])
    return ", ".join(
        f"{task} {' '.join(map(str, levels))}" if levels != [0] else task for task, levels in record["here"].items()
    )


def _tell_others(records: list[dict[str, Any]], others: list[Here], why: bool, form: str) -> None:
    """Say what cannot run here: all in one line, or each with what it lacks."""
    from harness.run.here import summarised

    lacking = [(r["method"], r["lacks"]) for r in records if not r["here"]]
    echo()
    if why:
        echo_table(lacking, ("cannot run here", "what it lacks"), form)
    else:
        echo_text(f"{plural(len(lacking), 'other')} cannot run here: {summarised(others)} (--why says what each lacks)")


@click.command("method", epilog=examples("harness new method my-net --task denoise-rgb"))
@click.argument("name")
@task_option("Task it does.", default="denoise-rgb", show_default=True)
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
@level_option("Levels that the checkpoint was trained for.")
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


@click.command("check", epilog=examples("harness check bicubic", "harness check my_metric.py:psnr"))
@argument("name", "NAME", complete_checked)
@click.option(
    "--limit",
    type=click.FloatRange(0.1),
    default=600.0,
    show_default=True,
    help="Seconds that one check may take.",
)
@format_option("text", "json")
def check_method(name: str, limit: float, form: str) -> None:
    """Try a method, or a metric, degradation, task or dataset of a plugin, on small images; or look through a table.

    Of a method: sizes, range, determinism, batches. Of a table: what is odd about its marks and digits, and which of
    its numbers other tables print otherwise. The status is 1 where a promise is broken, and where nothing could be
    tried because what it takes is not here. What hangs, crashes or ends the process is stopped, with a message.

    FILE.py:FUNCTION or MODULE:FUNCTION says which protocol a metric of your own or of a library equals, by the
    conformance vectors (vectors/README.md); the status is 1 where it equals none.
    """
    if ":" in name:
        _check_function(name, limit, form)
        return
    from harness.run.conformance import check_method as run_checks
    from harness.run.definitions_conformance import defining_kinds

    workspace = Workspace.find(needed=False)
    if name in workspace.tables() or name in workspace.broken_tables:
        _check_table(workspace, name, form)
        return
    if own_process():
        workspace.try_plugins()
    supervised = _supervised(name, limit, "what was tried is above", " on an image of 21x321")
    workspace.define()
    kinds = defining_kinds(name)
    method = workspace.method(name) if not kinds or name in workspace.methods() else None
    runs = [("", run_checks(method))] if method is not None else []
    runs += [(f"{kind}: ", _checks_of(kind, name, limit)) for kind in kinds]
    outcomes: list[bool | None] = []
    records = []
    for of, checks in runs:
        for check in checks:
            supervised.goes_on()
            sign = {True: "ok", False: "FAIL", None: "skip"}[check.held]
            if form == "text":
                echo_text(f"{sign:<4}  {of}{check.what}{': ' + check.found if check.found else ''}")
            records.append({"check": f"{of}{check.what}", "outcome": sign.lower(), "found": check.found})
            outcomes.append(check.held)
    supervised.done()
    if form == "json":
        echo_json(records)
    if failed := outcomes.count(False):
        raise CheckFailedError(f"{plural(failed, 'check')} of '{name}' failed")
    of_images = method is not None and method.on == "images"
    if True not in outcomes and not of_images:
        raise CheckFailedError(f"nothing of '{name}' could be tried, so it is not known whether it conforms")
    if form == "text":
        echo(f"'{name}' gives images that were restored elsewhere" if of_images else f"'{name}' conforms")


def _supervised(name: str, limit: float, kept: str, slow_on: str) -> Supervised:
    from harness.supervision import Supervised, supervise

    if not own_process():
        return Supervised()
    return supervise(f"check {name}", limit, kept=kept, slow=f"Give --limit SECONDS if it is that slow{slow_on}")


def _checks_of(kind: str, name: str, limit: float) -> Iterator[Check]:
    """Try a definition here, and once more in another process."""
    from harness.run.definitions_conformance import check_definition, check_elsewhere

    found = []
    for check in check_definition(kind, name):
        found.append(check)
        yield check
    if any(check.held for check in found):
        yield check_elsewhere(kind, name, found, limit)


def _check_function(name: str, limit: float, form: str) -> None:
    import msgspec

    from harness.protocols.vectors import EQUAL, find_function, read_vectors, try_function

    pairs = read_vectors()
    supervised = _supervised(name, limit, "nothing was told", "")
    tried = try_function(find_function(name), pairs)
    supervised.done()
    equal = [fit for fit in tried.fits if fit.miss < EQUAL]
    if form == "json":
        echo_json({**msgspec.to_builtins(tried), "equal": [fit.protocol for fit in equal]})
    else:
        shown = tried.fits[: max(3, len(equal) + 1)]
        lines = [[fit.protocol, f"{fit.miss:.3g}", fit.where if fit.miss else "", fit.pairs] for fit in shown]
        echo_table(lines, ("protocol", "off by up to", "in pair", "pairs"))
        if tried.refused:
            pair, why = next(iter(tried.refused.items()))
            echo_text(f"no number for {plural(len(tried.refused), 'pair')}, such as {pair}: {why}")
        if tried.of_equal:
            echo_text(f"for equal images: {', '.join(f'{value:g}' for value in tried.of_equal)}")
    if not equal:
        raise CheckFailedError(f"'{name}' equals no named protocol")
    if form == "text":
        echo_text(f"'{name}' equals {', '.join(fit.protocol for fit in equal)}")


def _check_table(workspace: Workspace, name: str, form: str) -> None:
    from harness.tables.checking import remarks

    table = workspace.table(name)
    found = remarks(table, workspace.tables().values())
    if form == "json":
        echo_json([{"check": "remark", "found": text} for text in found])
        return
    for text in found:
        echo(f"remark: {text}")
    echo(f"'{name}' can be read: {plural(table.number_count(), 'number')} in {plural(table.cell_count(), 'place')}")


@click.command(epilog=examples("harness describe dncnn --size 128x96"))
@method_argument()
@task_option("Task to count and measure for; default: the method's first.")
@click.option("--size", default="", help="Input size, width x height; default: 96x96, or the next that it accepts.")
@click.option("--measure/--no-measure", default=True, help="Run it once for time and memory.")
@format_option("text", "json")
def describe(name: str, task: str, size: str, measure: bool, form: str) -> None:
    """Say what METHOD is and what it costs: parameters, multiply-adds, tiles, time and memory on this machine."""
    from harness.cli.describing import describe_method

    method = Workspace.find(needed=False).method(name)
    if task and task not in method.tasks:
        raise HarnessError(f"method '{name}' does not do '{task}'; it does {', '.join(method.tasks)}")
    try:
        width, height = (int(part) for part in (size or "0x0").split("x"))
    except ValueError:
        raise HarnessError(f"'{size}' is no size; write width x height, such as 128x96") from None
    facts = describe_method(method, task or method.tasks[0], (height, width) if size else None, measure)
    if form == "json":
        echo_json([{"fact": fact, "text": text} for fact, text in facts])
        return
    for fact, text in facts:
        echo_text(f"{fact:<14}  {text}")


@click.command(
    "table",
    epilog=examples(
        "harness new table mine --dataset cbsd68,kodak24 --level 50 --method my-net \\",
        "    --published panet-table1:FFDNet",
    ),
)
@click.argument("name")
@task_option("Task.", default="denoise-rgb", show_default=True)
@dataset_option("Datasets of the columns.", required=True)
@level_option("Sigma, quality or scale; default: all.")
@method_option("Methods to measure.")
@listed(
    "published",
    help="Published rows to show beside.",
    metavar="TABLE:ROW,…",
    between=r",(?=[^,:]+:)",
    to="published",
)
@click.option(
    "--degradation",
    default="",
    help="How the inputs of your rows are made; default: as of the published rows.",
    shell_complete=complete_degradations,
)
@protocol_option("How your rows are measured, such as ssim-8x8; likewise.")
@metric_option("Metrics of the columns; default: psnr,ssim.")
def new_table(
    name: str,
    task: str,
    datasets: tuple[str, ...],
    levels: tuple[int, ...],
    methods: tuple[str, ...],
    published: tuple[str, ...],
    degradation: str,
    protocols: tuple[str, ...],
    metrics: tuple[str, ...],
) -> None:
    """Write a table of your own: choose task, sets, levels, methods and published rows."""
    from harness.cli.authoring import DEFAULT_METRICS, input_note, write_table
    from harness.records.tasks import task as task_of
    from harness.tables.published import read_table
    from harness.tables.requests import default_protocol

    workspace = Workspace.find()
    path = write_table(
        workspace,
        *(name, task, list(datasets), list(levels), list(methods), list(published)),
        degradation=degradation,
        protocols=protocols,
        metrics=metrics,
    )
    echo(f"written: {path}")
    if methods and (published or degradation or protocols):
        part, chosen = read_table(path).parts[0], task_of(task)
        ways = [part.protocol.get(metric) or default_protocol(chosen, metric) for metric in metrics or DEFAULT_METRICS]
        likewise = " (as of the published rows)" if published and not degradation else ""
        echo(f"input of your rows: {part.degradation or chosen.degradation}{likewise}; measured by {', '.join(ways)}")
    if note := input_note(path, methods):
        echo_text(f"note: {note}")
    echo(f"next: harness repro {name}")
