"""Commands `harness train`, `curves`, `stage train`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from harness.assets.progress import LINE_SECONDS, ProgressBar, Remaining
from harness.cli.options import (
    argument,
    complete_methods,
    complete_trainable,
    dataset_option,
    examples,
    format_option,
    level_option,
    one_of,
    row_option,
    task_option,
)
from harness.cli.printing import echo, echo_json, echo_table
from harness.errors import HarnessError, NotAvailableError, unknown_name
from harness.files import file_sha256
from harness.records.training_runs import (
    PLANS,
    USUAL_LOOP,
    LoopSettings,
    Options,
    TrainedRecord,
    TrainingPlan,
    TrainingRun,
    check_training_plan,
    note_training_plan,
    parse_run,
    parse_seeded,
    read_training_plans,
    seeded_name,
)
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.methods import Method
    from harness.training.logs import LogRow
    from harness.training.loop import Training
    from harness.training.world import World


@click.command(
    epilog=examples(
        "harness train panet-table8 --budget short",
        "harness train panet-s --task denoise-rgb --level 50 --minutes 30 \\",
        "    --dataset bsd400",
    )
)
@argument("target", "TARGET", complete_trainable, required=False, default="")
@task_option("Task, if the method has several.")
@level_option("Sigma, quality or scale.")
@row_option
@click.option("--budget", default="", help="smoke, short or paper: how long, by the recipe.")
@click.option("--iterations", type=click.IntRange(1), default=None, help="How long, in steps.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=None, help="How long, in minutes.")
@dataset_option("Another training dataset than the recipe's; recorded.", formerly="--data")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="amp=bfloat16, ema=0.999 …; recorded.")
@click.option("--seed", type=click.IntRange(0), default=0, help="Instead of the recipe's; recorded.")
@click.option("--seeds", type=click.IntRange(1), default=1, help="Train so many times, each with another seed.")
@click.option("--jobs", "-j", type=click.IntRange(1), default=1, help="Runs side by side, a GPU each.")
@click.option("--device", default="", help="cpu or cuda; with --plan also h100, a100, rtx4090.")
@click.option("--plan", "--dry-run", "planning", is_flag=True, help="Only say what it would cost; write nothing.")
@click.option("--replace", is_flag=True, help="Let a shorter run take the place of a longer one's weights.")
@click.option("--list", "listing", is_flag=True, help="List what can be trained, by which recipe.")
@format_option("text", "json", "md", help="Form of what --list prints.")
def train(
    target: str,
    task: str,
    levels: tuple[int, ...],
    rows: tuple[str, ...],
    budget: str,
    iterations: int | None,
    minutes: float | None,
    datasets: tuple[str, ...],
    settings: tuple[str, ...],
    seed: int,
    seeds: int,
    jobs: int,
    device: str,
    planning: bool,
    replace: bool,
    listing: bool,
    form: str,
) -> None:
    """Train the networks behind TARGET: a method, or every trainable row of a table.

    Interrupt it at any time; the same command goes on. Over several GPUs: torchrun --nproc-per-node 4 -m harness
    train ... Then `harness repro TABLE` shows the result beside the printed numbers. `--plan` says first what all of
    it takes: hours, memory, disk.

    Keys of --set: amp (bfloat16: mixed precision), channels_last, compile (torch.compile), deterministic (false
    allows operations whose result differs between runs), ema (decay of a moving average of the weights), clip
    (largest norm of the gradient), accumulate (parts of a batch, for less memory); of the recipe: patch, batch,
    augmentation, rate, epsilon, weight_decay, every, times, warmup, last, power; start (a run whose weights to
    begin with, such as edsr-trained--sr-2). Beside the training: keep (iterations between weights that are kept),
    validation (sets whose PSNR is watched), validation_images (how many results of each are kept), log (dvclive,
    wandb). Two change nothing and are not recorded: workers (processes that make samples), checkpoint_minutes (what
    an interruption costs at most; 5).
    """
    workspace = Workspace.find()
    methods = workspace.methods()
    if listing or not target:
        _list(workspace, form)
        if not listing:
            raise HarnessError("name a method or a table to train, and a length such as --budget smoke")
        return
    data = one_of(datasets, "--dataset", "train")
    loop, settings = _of_the_loop(settings)
    from harness.run.selection import method_run, table_runs
    from harness.tables.published import select

    if target in workspace.tables() or target in workspace.broken_tables:
        runs = table_runs(select(workspace.table(target), row=rows), methods)
        if task:
            runs = [run for run in runs if run.task == task]
        if levels:
            runs = [run for run in runs if run.level in levels]
        if not runs:
            raise HarnessError(f"no row of {target} is made by a network that can be trained here")
    else:
        # A further seed that nobody planned yet is known by its name alone.
        if (further := parse_seeded(target)) is not None and further[0] in methods:
            methods[target] = workspace.method(target)
        runs = [method_run(target, task, level, methods) for level in levels or (0,)]
    plans = read_training_plans(workspace.root)
    if budget or iterations or minutes:
        length = TrainingPlan(budget, iterations or 0, minutes or 0.0, data)
        plan = check_training_plan(_settings(length, settings, seed), "harness train")
        wanted: dict[TrainingRun, TrainingPlan] = {}
        for run in runs:
            wanted |= _with_seeds(run, plan, seeds, methods)
        plans |= wanted
        runs = list(wanted)
    elif seeds > 1:
        raise HarnessError("say how long with --seeds: --budget smoke (or short, paper), --iterations N or --minutes M")
    elif any(run not in plans for run in runs):
        raise HarnessError("say how long: --budget smoke (or short, paper), --iterations N or --minutes M")
    else:
        asked = {(run.task, run.method, run.level) for run in runs}
        runs = [run for run in plans if (run.task, _base(run.method), run.level) in asked or run in runs]
    chosen = {run: plans[run] for run in runs}
    from harness.training.world import world

    if planning:
        from harness.cli.planning import print_plan

        print_plan(workspace, chosen, device)
        return
    with world(device) as here:

        def begin() -> None:
            from harness.cli.planning import check_longer, say_device

            say_device(workspace, chosen, here)
            if not replace:
                check_longer(workspace, chosen)

        here.of_the_first(begin)
        if jobs > 1 and len(runs) > 1:
            if here.size > 1:
                raise HarnessError("-j gives every run a GPU, torchrun gives one run several; choose one of them")
            from harness.cli.training_jobs import train_side_by_side

            _prepare(workspace, chosen, here)
            train_side_by_side(
                workspace, chosen, jobs, loop, device=device, arguments=("--replace",) if replace else ()
            )
            return
        for number, run in enumerate(runs, 1):
            if here.first and len(runs) > 1:
                echo(f"{number} of {len(runs)}: {run.name}", err=True)
            make_run(workspace, run, plans[run], here, loop)
            if here.first:
                # Not before: the pipeline makes what is planned, and would put a refusal in place of good weights.
                note_training_plan(workspace.root, run, plans[run])
        if here.first:
            echo("evaluate it with `harness repro TABLE`, plot it with `harness report curves`", err=True)


def _base(name: str) -> str:
    """Name the method that another one is a further seed of."""
    return (parse_seeded(name) or (name, 0))[0]


def _prepare(workspace: Workspace, plans: Mapping[TrainingRun, TrainingPlan], here: World) -> None:
    """Fetch and decode the training sets of several runs, so that no two processes do the same work at once."""
    from harness.training.loop import Training

    for run, plan in plans.items():
        training = Training(
            run, plan, workspace.method(run.method), data=workspace.data, work=workspace.work, world=here
        )
        _fetch(workspace, training)
        training.prepare()


def _fetch(workspace: Workspace, training: Training) -> None:
    from harness.assets.datasets import fetch

    for name in (*training.recipe.sets, *(training.plan.validation or training.recipe.validation.datasets)):
        fetch(name, workspace.data)


def _with_seeds(
    run: TrainingRun, plan: TrainingPlan, seeds: int, methods: Mapping[str, Method]
) -> dict[TrainingRun, TrainingPlan]:
    """Plan a run with so many seeds: its own, and those that follow, which are runs of their own."""
    from harness.training.loop import recipe_of

    further = parse_seeded(run.method)
    if further is not None and further[0] in methods:
        if seeds > 1 or plan.options.seed not in (0, further[1]):
            raise HarnessError(f"'{run.method}' has the seed {further[1]}; give other seeds to '{further[0]}'")
        return {run: _seeded(plan, further[1])}
    first = plan.options.seed or recipe_of(methods[run.method], run.task, plan).seed
    planned = {run: plan}
    for seed in range(first + 1, first + seeds):
        planned[TrainingRun(run.task, seeded_name(run.method, seed), run.level)] = _seeded(plan, seed)
    return planned


def _seeded(plan: TrainingPlan, seed: int) -> TrainingPlan:
    return msgspec.structs.replace(plan, options=msgspec.structs.replace(plan.options, seed=seed))


# What a plan says beside options and values of the recipe.
_BESIDE = ("start", "keep", "validation", "validation_images", "log")


def _of_the_loop(settings: tuple[str, ...]) -> tuple[LoopSettings, tuple[str, ...]]:
    """Part what changes no result, and is neither recorded nor planned, from the other ``key=value`` pairs."""
    own = {
        key: value
        for key, sign, value in (text.partition("=") for text in settings)
        if sign and key in LoopSettings.__struct_fields__
    }
    try:
        found = msgspec.convert(own, LoopSettings, strict=False)
    except msgspec.ValidationError as error:
        raise HarnessError(f"--set {' '.join(f'{key}={own[key]}' for key in own)}: {error}") from None
    return found, tuple(text for text in settings if text.partition("=")[0] not in own)


def _settings(plan: TrainingPlan, settings: tuple[str, ...], seed: int) -> TrainingPlan:
    """Put ``key=value`` pairs into a plan: options, values of the recipe, what to start from, what to keep.

    HarnessError names a key that is none, or a value that does not fit.
    """
    from harness.training.recipe import OVERRIDES

    options: dict[str, str] = {}
    values: dict[str, str | int | float] = {}
    known = [*(field for field in Options.__struct_fields__ if field != "seed"), *OVERRIDES, *_BESIDE]
    for setting in settings:
        key, sign, value = setting.partition("=")
        if key not in known:
            raise unknown_name("setting", key, [*known, *LoopSettings.__struct_fields__])
        if not sign:
            raise HarnessError(f"--set {setting}: write KEY=VALUE, such as ema=0.999")
        if key in OVERRIDES:
            values[key] = _number(value)
        else:
            options[key] = value
    own: dict[str, object] = {key: options.pop(key) for key in _BESIDE if key in options}
    own |= {key: str(own[key]).split(",") for key in ("validation", "log") if key in own}
    try:
        read = msgspec.convert({"options": options, "recipe": values, **own}, TrainingPlan, strict=False)
        return msgspec.structs.replace(
            plan,
            options=msgspec.structs.replace(read.options, seed=seed),
            recipe=values,
            **{key: getattr(read, key) for key in _BESIDE},
        )
    except msgspec.ValidationError as error:
        raise HarnessError(f"--set {' '.join(settings)}: {error}") from None


def _number(text: str) -> str | int | float:
    """Read a number as one; another text stays as it is."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def make_run(
    workspace: Workspace,
    run: TrainingRun,
    plan: TrainingPlan,
    here: World,
    loop: LoopSettings = USUAL_LOOP,
) -> TrainedRecord:
    """Fetch the training set, train, and put the result where methods look for it."""
    from harness.training.checkpoints import export
    from harness.training.loop import Training, result_folder

    method = workspace.method(run.method)
    training = Training(
        run,
        plan,
        method,
        data=workspace.data,
        work=workspace.work,
        world=here,
        workers=_workers(here.size) if loop.workers is None else loop.workers,
        checkpoint_minutes=loop.checkpoint_minutes,
        notice=lambda text: echo(f"{run.name} {text}", err=True),
    )
    here.once_a_machine(lambda: _fetch(workspace, training))
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
    from harness.training.checkpoints import export
    from harness.training.loop import recipe_of
    from harness.training.recipe import recipe_file
    from harness.training.world import world

    workspace = Workspace.find()
    run = parse_run(name)
    plan = read_training_plans(workspace.root).get(run)
    if plan is None:
        raise HarnessError(
            f"training.yaml plans no run '{name}'; harness train writes it, harness pipeline takes it up"
        )
    recipe = workspace.method(run.method).recipes.get(run.task)
    planned = recipe and file_sha256(recipe_file(recipe), "")
    with world() as here:
        try:
            make_run(workspace, run, plan, here)
            # DVC hashes both when the stage has ended: it would record new ones as what these weights follow.
            if recipe and file_sha256(recipe_file(recipe), "") != planned:
                raise HarnessError(f"{recipe_file(recipe)}: was changed while '{name}' was trained; run it again")
            if read_training_plans(workspace.root).get(run) != plan:
                raise HarnessError(f"{PLANS}: the plan of '{name}' was changed while it was trained; run it again")
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
                overrides=plan.recipe,
                start=plan.start,
                reason=str(missing),
            )
            export(record, None, workspace.work / "trained" / run.place)
            echo(f"{name}: not trained: {missing}", err=True)


@click.command(epilog=examples("harness report curves --out curves.pdf"))
@argument("targets", "[NAME…]", complete_methods, nargs=-1)
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


def _list(workspace: Workspace, form: str) -> None:
    from harness.records.training_runs import shipped_runs
    from harness.training.recipe import recipe

    records: list[dict[str, Any]] = []
    shipped = shipped_runs(workspace.root)
    plans = read_training_plans(workspace.root)
    for name, method in workspace.methods().items():
        if parse_seeded(name) is not None and method.origin == "trained":
            continue  # a further seed of another line
        for task, found in method.recipes.items():
            known = recipe(found)
            made = {
                f"{run.level}{_seed(run)}": _made(workspace, run, plan)
                for run, plan in plans.items()
                if (_base(run.method), run.task) == (name, task)
            }
            made |= {str(run.level): "shipped" for run in shipped if (run.method, run.task) == (name, task)}
            records.append(
                {
                    "method": name,
                    "task": task,
                    "recipe": found,
                    "dataset": known.data,
                    "iterations": known.iterations,
                    "here": made,
                }
            )
    if form == "json":
        echo_json(records)
        return
    lines = [
        [
            *(record[key] for key in ("method", "task", "recipe", "dataset")),
            f"{record['iterations']:,}",
            "; ".join(f"{level}: {text}" for level, text in record["here"].items()),
        ]
        for record in records
    ]
    echo_table(lines, ("method", "task", "recipe", "dataset", "iterations", "here"), form)


def _seed(run: TrainingRun) -> str:
    further = parse_seeded(run.method)
    return f", seed {further[1]}" if further else ""


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
        self._remaining = Remaining()

    def __enter__(self) -> Callable[[LogRow, int], None]:
        if self._shown:
            self._bar.__enter__()
        return self._update

    def _update(self, row: LogRow, length: int) -> None:
        if not self._shown:
            return
        if row.psnr is not None:
            self._psnr = f"  {row.psnr:.2f} dB"
        left = self._remaining.text(row.iteration, length, row.seconds)
        fields = f"loss {row.loss:.5f}{self._psnr}  {row.images_per_second:.1f} images/s  {left}".rstrip()
        if self._bar.shown:
            self._bar.update(row.iteration, length, fields)
        elif time.monotonic() - self._last > LINE_SECONDS or row.iteration >= length:
            self._last = time.monotonic()
            echo(f"{self._title}: {row.iteration:,} of {length:,}  {fields}", err=True)

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__()
