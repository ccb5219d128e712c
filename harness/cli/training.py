"""Commands `harness train`, `curves`, `stage train`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from harness.assets.progress import ProgressBar
from harness.cli.printing import echo
from harness.errors import HarnessError, NotAvailableError, unknown_name
from harness.records.training_runs import (
    Options,
    TrainedRecord,
    TrainingPlan,
    TrainingRun,
    check_training_plan,
    parse_run,
    read_training_plans,
    write_training_plans,
)
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.training.logs import LogRow
    from harness.training.world import World

# Seconds between two lines where there is no terminal for a progress bar.
LINE_SECONDS = 30.0


@click.command()
@click.argument("target", required=False, default="")
@click.option("--task", default="", help="Task, if the method has several.")
@click.option("--level", type=int, default=0, help="Sigma, quality or scale.")
@click.option("--row", default="", help="Only this printed row, where TARGET is a table.")
@click.option("--budget", default="", help="smoke, short or paper: how long, by the recipe.")
@click.option("--iterations", type=click.IntRange(1), default=None, help="How long, in steps.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=None, help="How long, in minutes.")
@click.option("--data", default="", help="Another training dataset than the recipe's; recorded.")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="amp=bfloat16, ema=0.999 …; recorded.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Instead of the recipe's; recorded.")
@click.option("--workers", type=click.IntRange(0), default=None, help="Processes that make samples (changes nothing).")
@click.option("--device", default="", help="cpu or cuda; the GPU where there is one.")
@click.option("--checkpoint-minutes", type=float, default=5.0, help="What an interruption costs at most.")
@click.option("--list", "listing", is_flag=True, help="List what can be trained, by which recipe.")
def train(
    target: str,
    task: str,
    level: int,
    row: str,
    budget: str,
    iterations: int | None,
    minutes: float | None,
    data: str,
    settings: tuple[str, ...],
    seed: int,
    workers: int | None,
    device: str,
    checkpoint_minutes: float,
    listing: bool,
) -> None:
    """Train the networks behind TARGET: a method, or every trainable row of a table.

    For example: harness train panet-table8 --budget short; harness train panet-s --task denoise-rgb --level 50
    --minutes 30 --data bsd400. Interrupt it at any time; the same command goes on. Over several GPUs: torchrun
    --nproc-per-node 4 -m harness train ... Then `harness repro TABLE` shows the result beside the printed numbers.

    Keys of --set: amp (bfloat16: mixed precision), channels_last, compile (torch.compile), deterministic (false allows
    operations whose result differs between runs), ema (decay of a moving average of the weights), clip (largest norm
    of the gradient), accumulate (parts of a batch, for less memory).
    """
    workspace = Workspace.find()
    methods = workspace.methods()
    if listing or not target:
        _list(workspace)
        if not listing:
            raise HarnessError("name a method or a table to train, and a length such as --budget smoke")
        return
    from harness.run.selection import method_run, table_runs
    from harness.tables.published import select

    if target in workspace.tables() or target in workspace.broken_tables:
        runs = table_runs(select(workspace.table(target), row=row), methods)
        if task:
            runs = [run for run in runs if run.task == task]
        if level:
            runs = [run for run in runs if run.level == level]
        if not runs:
            raise HarnessError(f"no row of {target} is made by a network that can be trained here")
    else:
        runs = [method_run(target, task, level, methods)]
    plans = read_training_plans(workspace.root)
    if budget or iterations or minutes:
        options = _options(settings, seed)
        plan = check_training_plan(
            TrainingPlan(budget, iterations or 0, minutes or 0.0, data, options), "harness train"
        )
        plans |= dict.fromkeys(runs, plan)
    elif any(run not in plans for run in runs):
        raise HarnessError("say how long: --budget smoke (or short, paper), --iterations N or --minutes M")
    from harness.training.world import world

    with world(device) as here:
        for number, run in enumerate(runs, 1):
            if here.first and len(runs) > 1:
                echo(f"{number} of {len(runs)}: {run.name}", err=True)
            make_run(workspace, run, plans[run], here, workers=workers, checkpoint_minutes=checkpoint_minutes)
            if here.first:
                # Not before: the pipeline makes what is planned, and would put a refusal in place of good weights.
                write_training_plans(workspace.root, {**read_training_plans(workspace.root), run: plans[run]})
        if here.first:
            echo("evaluate it with `harness repro TABLE`, plot it with `harness report curves`", err=True)


def _options(settings: tuple[str, ...], seed: int) -> Options:
    """Read ``key=value`` pairs; HarnessError names a key that is none, or a value that does not fit."""
    given = {}
    for setting in settings:
        key, sign, value = setting.partition("=")
        known = [field for field in Options.__struct_fields__ if field != "seed"]
        if key not in known:
            raise unknown_name("setting", key, known)
        if not sign:
            raise HarnessError(f"--set {setting}: write KEY=VALUE, such as ema=0.999")
        given[key] = value
    try:
        return msgspec.structs.replace(msgspec.convert(given, Options, strict=False), seed=seed)
    except msgspec.ValidationError as error:
        raise HarnessError(f"--set {' '.join(settings)}: {error}") from None


def make_run(
    workspace: Workspace,
    run: TrainingRun,
    plan: TrainingPlan,
    here: World,
    *,
    workers: int | None = None,
    checkpoint_minutes: float = 5.0,
) -> TrainedRecord:
    """Fetch the training set, train, and put the result where methods look for it."""
    from harness.training.exports import export
    from harness.training.loop import Training, recipe_of, result_folder

    method = workspace.method(run.method)
    training = Training(
        run,
        plan,
        method,
        data=workspace.data,
        work=workspace.work,
        world=here,
        workers=_workers(here.size) if workers is None else workers,
        checkpoint_minutes=checkpoint_minutes,
    )
    failure: HarnessError | None = None
    if here.first:
        from harness.assets.datasets import fetch

        try:
            for name in (recipe_of(method, run.task, plan).data, *training.recipe.validation.datasets):
                fetch(name, workspace.data)
        except HarnessError as error:
            failure = error
    here.first_does(str(failure or ""))
    if failure is not None:
        raise failure
    with _Bar(run.name, shown=here.first) as report:
        training.report = report
        record, folder = training.finish()
    if here.first:
        export(record, result_folder(folder, record), workspace.work / "trained" / run.place)
        psnr = f", {record.validation.psnr:.2f} dB on {record.validation.dataset}" if record.validation else ""
        echo(f"{run.name}: {record.origin}{psnr}, {record.seconds:,.0f} s of training", err=True)
    return record


@click.command("train")
@click.argument("name")
def train_run(name: str) -> None:
    """Make the weights of run NAME (such as panet-s--denoise-rgb-50) as training.yaml plans them."""
    from harness.training.exports import export
    from harness.training.loop import recipe_of
    from harness.training.world import world

    workspace = Workspace.find()
    run = parse_run(name)
    plan = read_training_plans(workspace.root).get(run)
    if plan is None:
        raise HarnessError(
            f"training.yaml plans no run '{name}'; harness train writes it, harness pipeline takes it up"
        )
    with world() as here:
        try:
            make_run(workspace, run, plan, here)
        except NotAvailableError as missing:
            found = recipe_of(workspace.method(run.method), run.task, plan)
            record = TrainedRecord(
                run=run,
                recipe=found.name,
                paper=found.paper,
                budget=plan.label,
                iterations=0,
                recipe_iterations=found.iterations,
                length_of=found.length_of,
                data=found.data,
                recipe_data=recipe_of(workspace.method(run.method), run.task).data,
                options=plan.options,
                reason=str(missing),
            )
            export(record, None, workspace.work / "trained" / run.place)
            echo(f"{name}: not trained: {missing}", err=True)


@click.command()
@click.argument("targets", nargs=-1)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=None, help="SVG, PNG or PDF file.")
def curves(targets: tuple[str, ...], out: Path | None) -> None:
    """Plot loss and PSNR of trained runs (names, methods; default: all) over the iterations."""
    from harness.records.training_runs import shipped_runs, trained_folder
    from harness.training.curves import plot_curves
    from harness.training.logs import read_log

    workspace = Workspace.find()
    plans = read_training_plans(workspace.root)
    runs = sorted({*plans, *shipped_runs(workspace.root)})
    chosen = [run for run in runs if not targets or run.method in targets or run.name in targets]
    logs = {}
    for run in chosen:
        rows = read_log(trained_folder(workspace.root, run, run in plans) / "log.csv")
        if rows:
            logs[run.name] = rows
    if not logs:
        raise HarnessError("nothing trained here yet fits; begin with harness train METHOD --budget smoke")
    path = out or workspace.work / "training" / "curves.svg"
    plot_curves(logs, path)
    echo(f"written: {path}")


def _list(workspace: Workspace) -> None:
    from tabulate import tabulate

    from harness.records.training_runs import shipped_runs
    from harness.training.recipe import recipe

    lines = []
    shipped = shipped_runs(workspace.root)
    plans = read_training_plans(workspace.root)
    for name, method in workspace.methods().items():
        for task, found in method.recipes.items():
            known = recipe(found)
            made = [
                f"{run.level}: {_made(workspace, run, plan)}"
                for run, plan in plans.items()
                if (run.method, run.task) == (name, task)
            ]
            made += [f"{run.level}: shipped" for run in shipped if (run.method, run.task) == (name, task)]
            lines.append([name, task, found, known.data, f"{known.iterations:,}", "; ".join(made)])
    heads = ("method", "task", "recipe", "data", "iterations", "here")
    echo(tabulate(lines, heads, disable_numparse=True))


def _made(workspace: Workspace, run: TrainingRun, plan: TrainingPlan) -> str:
    """Say what was trained of what is planned."""
    from harness.records.training_runs import read_trained, trained_folder

    record = read_trained(trained_folder(workspace.root, run, planned=True))
    if record is None or record.reason:
        return f"not trained yet ({plan.label} planned)"
    return record.budget if record.budget == plan.label else f"{record.budget} ({plan.label} planned)"


def _workers(processes: int) -> int:
    """Sample-making processes for this machine: none where the network needs every core."""
    import os

    import torch

    return min(8, (os.cpu_count() or 1) // processes) if torch.cuda.is_available() else 0


class _Bar:
    """Progress with PSNR, images/s and the time left; on a terminal a bar, in a log a line now and then."""

    def __init__(self, title: str, *, shown: bool) -> None:
        self._title, self._shown = title, shown
        self._bar = ProgressBar(title, noted=True)
        self._psnr = ""
        self._last = 0.0
        self._first: LogRow | None = None

    def __enter__(self) -> Callable[[LogRow, int], None]:
        if self._shown:
            self._bar.__enter__()
        return self._update

    def _update(self, row: LogRow, length: int) -> None:
        if not self._shown:
            return
        if row.psnr is not None:
            self._psnr = f"  {row.psnr:.2f} dB"
        self._first = self._first or row
        steps, seconds = row.iteration - self._first.iteration, row.seconds - self._first.seconds
        left = f"  {_duration((length - row.iteration) * seconds / steps)} left" if steps else ""
        fields = f"loss {row.loss:.5f}{self._psnr}  {row.images_per_second:.1f} images/s{left}"
        if self._bar.shown:
            self._bar.update(row.iteration, length, fields)
        elif time.monotonic() - self._last > LINE_SECONDS or row.iteration >= length:
            self._last = time.monotonic()
            echo(f"{self._title}: {row.iteration:,} of {length:,}  {fields}", err=True)

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"
