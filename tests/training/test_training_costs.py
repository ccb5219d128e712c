"""What a training costs, before it starts; what is there already; and what a shorter run would replace."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from training_workspace import Place

from harness.assets.datasets.reading import open_dataset
from harness.degradations.registry import degradation
from harness.errors import HarnessError
from harness.methods import methods
from harness.records.training_runs import Options, TrainingPlan, TrainingRun
from harness.run.selection import table_runs
from harness.tables.published import published_tables
from harness.training.loop import Training
from harness.training.planning import DEVICES, Planner, count_work, store_bytes, wall_seconds
from harness.training.recipe import read_recipe
from harness.training.stores import make_store
from harness.training.world import World

CPU = World(0, 1, torch.device("cpu"))


class _Allocated(TorchDispatchMode):
    """The largest tensor that is not on the meta device."""

    largest = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                self.largest = max(self.largest, tensor.numel())
        return result


TRAINABLE = [name for name, table in published_tables().items() if table_runs(table, methods())]


@pytest.mark.parametrize("name", TRAINABLE)
def test_every_table_that_can_be_trained_has_a_cost(name: str, tmp_path: Path) -> None:
    known = methods()
    runs = table_runs(published_tables()[name], known)
    planner = Planner(tmp_path, tmp_path / "work", CPU, "h100")
    # The first and the last row: the others of a table are networks of the same kind.
    for run in {runs[0], runs[-1]}:
        with _Allocated() as allocated:
            found = planner.estimate(run, TrainingPlan(budget="paper"), known[run.method])
        assert allocated.largest < 10**6
        assert found.basis == "estimated" and found.iterations == found.recipe_iterations > 0
        assert found.work.multiply_adds > 0 and found.work.calls > 0 and found.seconds > 0
        assert found.memory == found.work.held + found.work.kept > 16 * found.work.parameters
        # Nothing was fetched into this folder.
        assert found.store is None and found.state == "set not here"
    assert list(tmp_path.iterdir()) == []


def test_arithmetic_and_memory_are_counted_exactly(place: Place) -> None:
    recipe = read_recipe(place.root / "tiny.yaml")
    with torch.device("meta"):
        network = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))
    work = count_work(network, recipe.patch, 3, 4, Options())
    pixels = recipe.patch**2
    assert work.multiply_adds == 2 * 3 * 16 * 9 * pixels
    assert work.parameters == 2 * 3 * 16 * 9 + 16 + 3 and work.held == 4 * 4 * work.parameters
    # The input of either convolution; ReLU keeps its output, which is the second of them.
    assert work.kept == 4 * 4 * (3 + 16) * pixels
    assert work.calls == 3
    assert count_work(network, recipe.patch, 3, 4, Options(ema=0.9)).held == 5 * 4 * work.parameters
    assert count_work(network, recipe.patch, 3, 2, Options(accumulate=2)).kept == work.kept // 2


def test_an_estimate_follows_from_what_was_counted(place: Place) -> None:
    run, method = TrainingRun("denoise-rgb", place.method, 50), place.workspace.method(place.method)
    work = place.workspace.work

    def estimate(plan: TrainingPlan, device: str = "h100") -> Any:
        return Planner(place.workspace.data, work, CPU, device).estimate(run, plan, method)

    short, paper = estimate(TrainingPlan(budget="short")), estimate(TrainingPlan(budget="paper"))
    assert (short.iterations, paper.iterations) == (40, 400)
    assert paper.seconds == pytest.approx(10 * short.seconds)
    assert paper.operations == 6.0 * paper.work.multiply_adds * 4 * 400
    assert estimate(TrainingPlan(budget="paper"), "a100").seconds > paper.seconds
    # As many steps as fit; the time is the wish itself. A run ends with its recipe, whatever time is left.
    half = estimate(TrainingPlan(minutes=paper.seconds / 120))
    assert half.seconds == pytest.approx(paper.seconds / 2) and 199 <= half.iterations <= 200
    minutes = estimate(TrainingPlan(minutes=2))
    assert (minutes.seconds, minutes.iterations) == (paper.seconds, 400)
    with pytest.raises(HarnessError, match=r"unknown device 'h10'.*h100"):
        estimate(TrainingPlan(budget="paper"), "h10")
    assert not work.exists()


def test_the_device_at_hand_is_timed_and_serves_its_like(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import harness.training.planning as planning

    timed = []
    real = planning.calibrate
    monkeypatch.setattr(planning, "calibrate", lambda training, at: timed.append(training.run) or real(training, at))
    method = place.workspace.method(place.method)
    planner = Planner(place.workspace.data, place.workspace.work, CPU)
    runs = [TrainingRun("denoise-rgb", name, 50) for name in (place.method, f"{place.method}-seed2")]
    found = [planner.estimate(run, TrainingPlan(budget="short"), method) for run in runs]
    assert timed == runs[:1] and found[0].seconds == found[1].seconds > 0
    assert {one.basis for one in found} == {"measured"}
    # Where the time for that is used up, another network is scaled by its arithmetic.
    monkeypatch.setattr(planning, "ALL_SECONDS", -1.0)
    other = planner.estimate(runs[0], TrainingPlan(budget="short", options=Options(accumulate=2)), method)
    assert other.basis == "scaled" and other.seconds == pytest.approx(found[0].seconds) and len(timed) == 1


def test_disk_is_that_of_the_store_that_is_made(place: Place) -> None:
    fetched = open_dataset("embedded", place.workspace.data)
    for name, level in (("awgn-8bit", 50), ("bicubic-replicate", 2)):
        made = degradation(name)
        folder = make_store(fetched, made, level, place.root / "stores")
        written = sum(file.stat().st_size for file in folder.glob("*.u8"))
        # Reduced images are rounded up to whole pixels, or cut to a multiple of the scale.
        assert store_bytes(fetched, made, level) == pytest.approx(written, rel=0 if name == "awgn-8bit" else 0.02)


def test_runs_side_by_side() -> None:
    from types import SimpleNamespace

    runs = [SimpleNamespace(seconds=float(value)) for value in (3, 5, 2, 2)]
    assert [wall_seconds(runs, count) for count in (1, 2, 4, 8)] == [12, 7, 5, 5]  # type: ignore[arg-type]


def test_plan_prints_and_writes_nothing(place: Place) -> None:
    code, said = place.train("--budget", "short", "--plan")
    assert code == 0, said
    code, _ = place.train("--budget", "short", "--dry-run", "--device", "rtx4090")
    assert code == 0
    assert not (place.root / "work").exists() and not (place.root / "training.yaml").exists()
    code, said = place.train("--budget", "short", "--device", "h100")
    assert code == 2 and "device is cpu or cuda" in said


def test_a_shorter_run_replaces_no_longer_one_unasked(place: Place) -> None:
    assert place.train("--budget", "short")[0] == 0
    longer = place.weights()
    for wish in (
        ("--budget", "smoke"),
        ("--iterations", "39"),
        ("--minutes", "0.0001"),
        ("--iterations", "5", "--seed", "9"),
    ):
        code, said = place.train(*wish)
        assert code == 2 and "weights of 40 iterations" in said and "--replace" in said, said
    assert place.weights() == longer
    assert "budget: short" in (place.root / "training.yaml").read_text()
    assert place.train("--budget", "smoke", "--replace")[0] == 0
    assert place.weights() != longer
    # The longer weights are kept all the while.
    code, said = place.train("--budget", "short")
    assert code == 0 and place.weights() == longer


def test_a_network_that_cannot_be_counted_is_trained_all_the_same(place: Place) -> None:
    file = place.root / "methods" / "tiny_net.py"
    text = file.read_text().replace(
        "    return nn.Sequential(",
        "    return Choosy(nn.Conv2d(3, 3, 3, padding=1)) if level == 30 else nn.Sequential(",
    )
    file.write_text(
        "from torch import nn\n\n\nclass Choosy(nn.Sequential):\n    def forward(self, x):\n"
        "        return super().forward(x) * (1 if x.mean().item() > 2 else 2)\n\n" + text
    )
    code, said = place.train("--level", "30", "--iterations", "2", "--plan")
    assert code == 2 and "its cost cannot be counted" in said and "Traceback" not in said
    code, said = place.train("--level", "30", "--iterations", "2", "--device", "cpu")
    assert code == 0, said


def test_what_is_there_is_told_and_why_it_does_not_go_on(place: Place) -> None:
    run, method = TrainingRun("denoise-rgb", place.method, 50), place.workspace.method(place.method)

    def training(plan: TrainingPlan) -> tuple[Training, list[str]]:
        said: list[str] = []
        place_of = {"data": place.workspace.data, "work": place.workspace.work, "world": CPU}
        return Training(run, plan, method, notice=said.append, **place_of), said  # type: ignore[arg-type]

    first, said = training(TrainingPlan(iterations=3))
    assert first.standing() == ["begins"]
    first.finish()
    assert first.standing() == ["is finished"] and said == []
    assert training(TrainingPlan(iterations=9))[0].standing() == ["goes on after 3 iterations"]
    assert training(TrainingPlan(iterations=2))[0].standing()[0].startswith("begins: a run of 3 iterations is there")
    for options, reason in (
        (Options(channels_last=True), "its options.channels_last is not set, here on"),
        (Options(amp="bfloat16"), "its options.amp is not set, here bfloat16"),
        (Options(seed=7), "its options.seed is not set, here 7 and its seed is 1, here 7"),
    ):
        other, said = training(TrainingPlan(iterations=3, options=options))
        state, *notes = other.standing()
        assert state == "begins" and any(reason in note and "3 iterations" in note for note in notes), notes
        other.finish()
        assert said == notes
    # A run of an earlier version did not note it.
    for file in place.root.glob("work/training/runs/**/identity.json"):
        file.unlink()
    fourth, said = training(TrainingPlan(iterations=1, options=Options(clip=1.0)))
    fourth.finish()
    assert len(said) == 4 and all("did not note how" in note for note in said)


def test_the_record_names_the_device(place: Place) -> None:
    assert place.train("--iterations", "1")[0] == 0
    record = json.loads((place.trained / "training.json").read_text())
    assert record["device"] == "cpu" and record.get("driver", "") == "" and "cuda" not in record["libraries"]


def test_devices_are_those_that_are_sold() -> None:
    for device in DEVICES.values():
        assert device.peak["bfloat16"] > device.peak["float32"] > 1e13 and math.log10(device.bandwidth) > 12
