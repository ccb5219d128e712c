"""Commands `harness stage …`, the steps that DVC runs, and `harness measure`, `export rows`."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.assets.progress import ProgressBar
from harness.cli.groups import own_process
from harness.cli.options import (
    complete_degradations,
    dataset_option,
    examples,
    format_option,
    level_option,
    method_option,
    one_of,
    protocol_option,
    task_option,
)
from harness.cli.printing import echo, echo_json, echo_table
from harness.errors import HarnessError
from harness.names import check_name
from harness.records.cells import SAVINGS
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.supervision import Supervised


class Levels(click.ParamType[tuple[int, ...]]):
    """Levels as `10,30,50`."""

    name = "levels"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Parse the text."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(sorted({int(part) for part in value.split(",")}))
        except ValueError:
            self.fail(f"'{value}' is not a list of whole numbers such as 10,30,50", param, ctx)


def _options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    texts = {
        "task": "Task, such as jpeg.",
        "dataset": "Dataset, such as live1.",
        "degradation": "Degradation, such as jpeg-y8.",
        "method": "Method, such as dncnn.",
        "policy": "Inference policy: whole, chop, x8, whole+onnx1 …",
    }

    def add(function: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            function = click.option(f"--{name}", required=True, help=texts[name])(function)
        return function

    return add


def _say(text: str) -> None:
    echo(text, err=True)


def _supervise(what: str, workspace: Workspace) -> Supervised:
    """Go on in a supervised process where this is a program of its own."""
    from harness.supervision import Supervised, supervise

    if not own_process():
        return Supervised()
    # Their import has a limit of its own, which is no part of a stage's.
    workspace.try_plugins()
    return supervise(what, workspace.params.limits.image_seconds)


def _tell_driver(done: int, total: int) -> None:
    """Let the view of a parallel run show how far this stage is."""
    file = os.environ.get("HARNESS_PROGRESS")
    if file:
        with contextlib.suppress(OSError):
            Path(file).write_text(f"{done} {total}", encoding="ascii")


@click.command()
@_options("task", "dataset", "degradation")
@click.option("--levels", type=Levels(), required=True, help="Levels, such as 10,20,30,40.")
def inputs(task: str, dataset: str, degradation: str, levels: tuple[int, ...]) -> None:
    """Make the degraded inputs of a dataset and record their hashes in work/inputs."""
    from harness.assets.inputs import record_inputs, write_inputs
    from harness.run.sources import refuse_edited

    for kind, name in (("task", task), ("dataset", dataset), ("degradation", degradation)):
        check_name(name, kind)
    workspace = Workspace.find()
    workspace.define()
    refuse_edited(workspace, "inputs", task=task, degradation=degradation)
    record = record_inputs(workspace.data, dataset, degradation, levels, workspace.params.noise)
    write_inputs(workspace.work / "inputs" / task / dataset / f"{degradation}.json", record)
    _say(f"inputs {task} {dataset} {degradation}: {record.reason or f'{len(record.inputs)} images'}")


@click.command()
@_options("task", "dataset", "degradation", "method", "policy")
@click.option("--saving", type=click.Choice(SAVINGS), default="round", help="How restored pixels are kept.")
@click.option("--levels", type=Levels(), required=True, help="Levels, such as 10,20,30,40.")
def restore(
    task: str, dataset: str, degradation: str, method: str, policy: str, saving: str, levels: tuple[int, ...]
) -> None:
    """Run METHOD on a dataset's inputs; keep PNGs in work/restored."""
    from harness.assets.inputs import read_inputs
    from harness.methods.fingerprints import fingerprint, method_code, method_packages
    from harness.records.cells import Group
    from harness.records.in_use import loading_from
    from harness.records.runs import write_run
    from harness.run.restore import restore as restore_group
    from harness.run.sources import refuse_edited

    workspace = Workspace.find()
    supervised = _supervise(f"restore {method} {dataset}", workspace)
    group = Group(task, dataset, degradation, method, policy, saving)
    found = workspace.method(method)
    supervised.goes_on()
    refuse_edited(workspace, "restore", task=task, degradation=degradation, method=found)
    code = fingerprint(method_code(found))
    recorded = read_inputs(workspace.work / "inputs" / task / dataset / f"{degradation}.json")
    # Set by a driver: how much less to compute at once after a stage was killed for its memory, and whether finished
    # images are to be made anew.
    shrink = os.environ.get("HARNESS_SHRINK", "")
    # Wherever the command is run, methods load from the workspace.
    with loading_from(workspace.root), ProgressBar(f"restore {method} {dataset}") as bar:

        def progress(done: int, total: int) -> None:
            supervised.goes_on()
            bar.update(done, total)
            _tell_driver(done, total)

        record, run = restore_group(
            group,
            found,
            levels,
            recorded,
            data=workspace.data,
            partial=workspace.work / "partial",
            target=workspace.work / "restored" / group.place,
            noise=workspace.params.noise,
            code=code,
            packages=method_packages(found),
            shrink=int(shrink) if shrink.isdigit() else 0,
            anew=os.environ.get("HARNESS_FORCE") == "1",
            progress=progress,
        )
    write_run(workspace.work, group, run)
    supervised.done()
    missing = [f"level {level}: {about.reason}" for level, about in record.levels.items() if about.reason]
    _say(f"restore {method} {dataset}: " + (record.reason or "; ".join([f"{len(record.images)} images", *missing])))


@click.command("measure")
@_options("task", "dataset", "degradation", "method", "policy")
@click.option("--saving", type=click.Choice(SAVINGS), default="round", help="How restored pixels are kept.")
@click.option("--protocols", required=True, help="Protocols, such as psnr,ssim-gauss.")
def measure_restored(
    task: str, dataset: str, degradation: str, method: str, policy: str, saving: str, protocols: str
) -> None:
    """Measure what METHOD restored of a dataset; write a row for each image to work/rows."""
    from harness.methods.fingerprints import metric_facts
    from harness.protocols import protocol
    from harness.records.cells import Group
    from harness.records.rows import write_rows
    from harness.records.runs import Clock, write_run
    from harness.run.measure import measure as measure_group
    from harness.run.restore import keep_for_further_levels
    from harness.run.sources import note_awaited, refuse_edited

    clock = Clock()
    workspace = Workspace.find()
    group = Group(task, dataset, degradation, method, policy, saving)
    workspace.define()
    folder = workspace.work / "restored" / group.place
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no restored images; run harness repro TABLE, which makes everything")
    names = tuple(protocols.split(","))
    own = {name: made for name in names if (made := protocol(name).own) is not None}
    refuse_edited(workspace, "measure", task=task, degradation=degradation, metrics={of.name for of in own.values()})
    made_with = {name: metric_facts(made) for name, made in own.items()}
    kept = workspace.work / "partial" / "measured" / group.place
    record, rows = measure_group(folder, data=workspace.data, protocols=names, made_with=made_with, kept=kept)
    note_awaited(workspace, record)
    # DVC has recorded the stage before this one.
    keep_for_further_levels(workspace.work / "partial", group, record.levels)
    write_rows(workspace.work / "rows" / group.place.with_name(group.place.name + ".csv"), record, rows)
    write_run(workspace.work, group, clock.finish(), "measure")
    _say(f"measure {method} {dataset}: {record.reason or f'{len(rows)} values'}")


@click.command(epilog=examples("harness measure --restored my-images/ --task sr --dataset set5 --level 2"))
@task_option("Task, such as jpeg.", required=True)
@dataset_option("The dataset, such as live1.", required=True)
@click.option(
    "--restored", type=click.Path(path_type=Path), required=True, help="Folder of images, named as those of the set."
)
@level_option("Sigma, quality or scale.")
@click.option(
    "--degradation",
    default="",
    help="Degradation, where it is not the task's own.",
    shell_complete=complete_degradations,
)
@click.option("--saving", type=click.Choice(SAVINGS), default="round", help="How pixels were kept; unrounded: 16 bits.")
@protocol_option("Protocols, such as psnr,ssim-gauss, or signatures; default: the task's.", formerly="--protocols")
@format_option("text", "json", "csv", "md")
def measure(
    task: str,
    datasets: tuple[str, ...],
    restored: Path,
    levels: tuple[int, ...],
    degradation: str,
    saving: str,
    protocols: tuple[str, ...],
    form: str,
) -> None:
    """Measure a folder of restored images, wherever they come from: every image and the means.

    No workspace is needed; the set is then fetched to data/ here, or to the folder that HARNESS_DATA names.
    """
    from harness.assets.datasets import fetch
    from harness.assets.places import DATA_VARIABLE
    from harness.records.tasks import task as task_of
    from harness.report.render import csv_lines
    from harness.run.measure import measure_folder

    workspace = Workspace.find(needed=False)
    workspace.define()
    known = task_of(task)
    chosen = protocols or known.metrics
    dataset, level = one_of(datasets, "--dataset", "measure"), one_of(levels, "--level", "measure", 0)
    if level not in known.levels:
        given = f", not {level}" if levels else ""
        raise HarnessError(f"{task} has the levels {', '.join(map(str, known.levels))}; give one with --level{given}")
    data = workspace.data if workspace.exists else Path(os.environ.get(DATA_VARIABLE) or workspace.data)
    fetch(dataset, data)
    degrading = degradation or known.degradation
    chosen = tuple(_protocol_name(text, known.scale(level)) for text in chosen)
    values = measure_folder(
        *(restored, data, task, dataset, level, degrading, chosen, saving),
        remark=lambda text: echo(f"note: {text}", err=True),
    )
    means = {name: sum(of_image[name] for of_image in values.values()) / len(values) for name in chosen}
    records = [
        {"image": image, **{name: of_image[name] for name in chosen}}
        for image, of_image in [*values.items(), ("mean", means)]
    ]
    if form == "json":
        echo_json(records)
    elif form == "csv":
        echo(csv_lines(records, ("image", *chosen)), nl=False)
    else:
        lines = [[record["image"], *(f"{record[name]:.5f}" for name in chosen)] for record in records]
        echo_table(lines, ("image", *chosen), form)


def _protocol_name(text: str, scale: int) -> str:
    """Give a protocol's name, also for its signature; refuse one that was made at another scale."""
    from harness.protocols.signature import from_signature

    if "|" not in text:
        return text
    of, signed = from_signature(text)
    if signed not in (None, scale):
        raise HarnessError(f"'{text}' cuts the border of scale {signed}, and this is scale {scale}; give its --level")
    return of.name


@click.command()
@click.argument("name")
def cost(name: str) -> None:
    """Count the parameters and multiply-adds of method NAME's network."""
    from harness.records.cost import write_cost
    from harness.run.cost import count_cost
    from harness.run.sources import refuse_edited

    workspace = Workspace.find()
    supervised = _supervise(f"cost {name}", workspace)
    method = workspace.method(name)
    refuse_edited(workspace, "cost", method=method)
    record = count_cost(method)
    write_cost(workspace.work, record)
    supervised.done()
    for item in record.costs:
        _say(
            f"cost {name} {item.task}: {item.parameters:,} parameters, "
            f"{item.multiply_adds / 1e9:.1f} G multiply-adds for {item.side}x{item.side} pixels"
        )


@click.command()
@click.argument("name")
def render(name: str) -> None:
    """Write table NAME to results/ as Markdown, LaTeX, CSV and JSON."""
    from harness.report.grid import summary
    from harness.report.render import render as render_table
    from harness.run.sources import refuse_edited

    workspace = Workspace.find()
    refuse_edited(workspace, "render")
    table = workspace.table(name)
    _say(summary(table, render_table(workspace, table)))


@click.command(epilog=examples("harness export rows --dataset set5 --mean", "harness export rows --out rows.csv"))
@task_option()
@dataset_option()
@method_option()
@click.option("--mean", is_flag=True, help="Means over the images instead of single images.")
@format_option("csv", "json", "md", "parquet", default="csv", help="Form of the output; parquet needs --out.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write into this file instead.")
def rows(
    task: str, datasets: tuple[str, ...], methods: tuple[str, ...], mean: bool, form: str, out: Path | None
) -> None:
    """Print the measured values, one row per image and protocol.

    In Python, `harness.rows()` gives them as a data frame.
    """
    from harness.files import json_numbers, whole_file, write_text
    from harness.tables.frames import COLUMNS, measured_rows, parquet

    if form == "parquet" and out is None:
        raise HarnessError("--format parquet is no text: name a file with --out")

    frame = measured_rows(Workspace.find())
    if not len(frame):
        echo("nothing is measured here yet; run `harness repro TABLE` (`harness tables` lists them)", err=True)
    for column, wanted in (("task", (task,) if task else ()), ("dataset", datasets), ("method", methods)):
        known = list(dict.fromkeys(frame[column]))
        if wanted and known and not set(known).intersection(wanted):
            echo(f"nothing is measured of {column} {', '.join(wanted)}; there is {', '.join(sorted(known))}", err=True)
        if wanted:
            frame = frame[frame[column].isin(wanted)]
    if mean:
        frame = frame[frame["draw"] == 0]
        keys = [column for column in COLUMNS if column not in ("image", "draw", "value")]
        frame = frame.groupby(keys, sort=False)["value"].agg(["mean", "count"]).reset_index()
    if form == "csv":
        from harness.report.render import csv_value

        text = frame.map(csv_value).to_csv(index=False, lineterminator="\n")
    elif form == "json":
        text = json.dumps(json_numbers(frame.to_dict(orient="records")), indent=1) + "\n"
    elif form == "md":
        text = frame.to_markdown(index=False) + "\n"
    if out is None:
        echo(text, nl=False)
        return
    if form == "parquet":
        data = parquet(frame)
        with whole_file(out) as part:
            part.write_bytes(data)
    else:
        write_text(out, text)
    echo(f"written: {out}", err=True)
