"""What `harness train` says before the first step: the cost, the device, and what a shorter run would replace."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from harness.cli.printing import echo
from harness.errors import HarnessError, plural
from harness.records.training_runs import (
    TrainingPlan,
    TrainingRun,
    percent,
    read_trained,
    trained_folder,
)
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.training.planning import Estimate, Planner
    from harness.training.world import World

# Operations a second that no core of a CPU reaches with these networks: what takes an hour at it takes longer.
FASTEST_CORE = 1e11

LONG = 3600.0


def print_plan(workspace: Workspace, plans: Mapping[TrainingRun, TrainingPlan], device: str) -> None:
    """Print what some runs cost: time, arithmetic, memory and disk, and what of them is there.

    `plans`: How long each run is trained, on what, how.
    `device`: ``cpu``, ``cuda``; empty: the GPU where there is one; or one of `harness.training.planning.DEVICES`.
    """
    from harness.training.planning import DEVICES
    from harness.training.world import world

    with world("" if device in DEVICES else device) as here:
        if here.first:
            _print_plan(workspace, plans, here, device if device in DEVICES else "")


def _print_plan(workspace: Workspace, plans: Mapping[TrainingRun, TrainingPlan], here: World, named: str) -> None:
    from tabulate import tabulate

    from harness.training.planning import Planner

    planner = Planner(workspace.data, workspace.work, here, named)
    estimates, lines = [], []
    notes: dict[str, list[str]] = {}
    for number, (run, plan) in enumerate(plans.items(), 1):
        if len(plans) > 1:
            echo(f"{number} of {len(plans)}: {run.name}", err=True)
        found = planner.estimate(run, plan, workspace.method(run.method))
        state = found.state
        estimates.append(found)
        for text in (*found.notes, _longer(workspace, run, plan)):
            notes.setdefault(text, []).append(run.name)
        lines.append(
            [
                run.name,
                f"{found.iterations:,}" + (" or so" if plan.minutes else ""),
                percent(found.iterations, found.recipe_iterations),
                f"{found.operations / 1e15:,.3g}",
                f"{found.memory / 2**30:.1f} GiB",
                _hours(found.seconds),
                found.basis,
                state.partition(":")[0],
            ]
        )
    heads = ("run", "iterations", "of the recipe", "PFLOP", "memory", "time", "basis", "here")
    echo(tabulate(lines, heads, disable_numparse=True, colalign=("left", *["right"] * 5, "left", "left")))
    for text in _sums(workspace, estimates, planner, here):
        echo(text)
    for text, names in notes.items():
        if text:
            echo(f"{names[0] if len(names) == 1 else plural(len(names), 'run')}: {text}")


def _sums(workspace: Workspace, estimates: list[Estimate], planner: Planner, here: World) -> list[str]:
    """Say what all runs take together, and what the numbers rest on."""
    from harness.records.devices import device_facts
    from harness.training.planning import SHARE, wall_seconds

    total = sum(found.seconds for found in estimates)
    named = planner.named
    device = named.title if named else device_facts(here.device.type).text
    said = [f"\nall of it: {_hours(total)} on {device}"]
    if len(estimates) > 1:
        by = ", ".join(f"{_hours(wall_seconds(estimates, count))} on {count}" for count in (2, 4, 8))
        said[0] += f"; a run a device: {by}"
    bases = {found.basis for found in estimates}
    if "measured" in bases:
        patches = "patches of the batch" if here.device.type == "cuda" else "one patch at a time"
        said.append(f"measured: steps on random {patches}, no optimiser, no loading, no validation")
    if "scaled" in bases:
        said.append("scaled: from the network that was measured last, by arithmetic")
    if named is not None:
        said.append(
            f"estimated: arithmetic at {100 * SHARE['float32']:.0f} % of the printed peak "
            f"({100 * SHARE['bfloat16']:.0f} % in bfloat16), with terms for memory and for each operation; 0.4 to 1.8 "
            "times as long is possible (docs/training.md)"
        )
    said.append("arithmetic: three forward passes a patch, counted without computing; PFLOP are 10^15 operations")
    room = named.memory if named else _memory(here)
    for found in estimates:
        if found.memory > room:
            said.append(
                f"{found.run.name} does not fit: it holds {found.memory / 2**30:.1f} GiB of {room / 2**30:.1f} GiB; "
                "--set accumulate=2 (or 4 …) computes a batch in parts"
            )
    said.append(_disk(workspace, estimates))
    return said


def _disk(workspace: Workspace, estimates: list[Estimate]) -> str:
    written = sum(found.written for found in estimates)
    stores = {(e.store, e.store_of) for e in estimates}
    store = sum(size for size, _ in stores if size)
    absent = sorted({name for size, name in stores if size is None})
    free = shutil.disk_usage(workspace.work if workspace.work.is_dir() else workspace.root).free
    text = f"disk: {_bytes(written)} for checkpoints and weights, {_bytes(store)} for decoded training images"
    if absent:
        text += f" (and those of {', '.join(absent)}, which {'is' if len(absent) == 1 else 'are'} not here)"
    text += f"; {_bytes(free)} are free"
    return text + (": too little" if written + store > free else "")


def say_device(workspace: Workspace, plans: Mapping[TrainingRun, TrainingPlan], here: World) -> None:
    """Name the device, say why there is no GPU where torch was built for one, and warn of hours on a CPU."""
    from harness.records.devices import device_facts, why_no_gpu
    from harness.training.planning import least_operations

    gpu = here.device.type == "cuda"
    echo(f"on {f'{here.size} of ' if here.size > 1 and gpu else ''}{device_facts(here.device.type).text}", err=True)
    if gpu:
        return
    if text := why_no_gpu():
        echo(f"warning: {text}", err=True)
    from harness.process_state import core_count

    counted = 0.0
    for run, plan in plans.items():
        with suppress(HarnessError):  # a network whose cost cannot be counted may be trained all the same
            counted += least_operations(run, plan, workspace.method(run.method))
    least = counted / (FASTEST_CORE * core_count() * here.size)
    if least > LONG:
        echo(
            f"warning: at least {_hours(least)} on this CPU; see --plan (and --plan --device h100) before you wait",
            err=True,
        )


def check_longer(workspace: Workspace, plans: Mapping[TrainingRun, TrainingPlan]) -> None:
    """Refuse a run whose weights would take the place of those of a longer one."""
    found = [f"{run.name}: {text}" for run, plan in plans.items() if (text := _longer(workspace, run, plan))]
    if found:
        more = f" (and {plural(len(found) - 1, 'other run')})" if len(found) > 1 else ""
        raise HarnessError(f"{found[0]}{more}; add --replace if that is what you want")


def _longer(workspace: Workspace, run: TrainingRun, plan: TrainingPlan) -> str:
    """Say that the weights in use are those of a longer run than is planned; empty where they are not."""
    from harness.training.loop import planned_length, recipe_of

    record = read_trained(trained_folder(workspace.root, run))
    if record is None or record.reason:
        return ""
    if plan.minutes:
        shorter = record.seconds > 60 * plan.minutes and record.budget != plan.label
    else:
        shorter = record.iterations > planned_length(recipe_of(workspace.method(run.method), run.task, plan), plan)
    if not shorter:
        return ""
    return f"{plan.label} would take the place of weights of {plural(record.iterations, 'iteration')}"


def _memory(here: World) -> int:
    import torch

    from harness.records.runs import machine_memory

    if here.device.type == "cuda":
        return int(torch.cuda.get_device_properties(here.device).total_memory)
    return machine_memory()


def _hours(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 3600:,.0f} h ({seconds / 86400:.1f} d)"


def _bytes(count: int) -> str:
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:.0f} MiB"
