"""Patches that grow during a training, and training sets that are mixed."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training_workspace import Place

from harness.assets.datasets.reading import open_dataset
from harness.degradations.registry import degradation
from harness.errors import HarnessError
from harness.records.training_runs import TrainingPlan, TrainingRun, read_training_plans
from harness.run.pipeline import pipeline_stages
from harness.training import loop
from harness.training.planning import Planner, least_operations
from harness.training.recipe import Recipe, overridden, read_recipe
from harness.training.samples import Samples
from harness.training.stores import Store, make_store
from harness.training.world import World

SIZES = "3:24:4,6:32:2"


@pytest.fixture
def found(place: Place) -> Recipe:
    """The tiny network's recipe."""
    return read_recipe(place.root / "tiny.yaml")


def _training(place: Place, plan: TrainingPlan) -> loop.Training:
    run, method = TrainingRun("denoise-rgb", place.method, 50), place.workspace.method(place.method)
    cpu = World(0, 1, torch.device("cpu"))
    return loop.Training(run, plan, method, data=place.workspace.data, work=place.workspace.work, world=cpu)


def test_steps_have_the_patch_and_batch_of_their_phase(found: Recipe) -> None:
    grown = overridden(found, {"sizes": SIZES})
    assert grown.sizes == ((3, 24, 4), (6, 32, 2))
    assert grown.phases(8) == [(0, 3, 16, 4), (3, 6, 24, 4), (6, 8, 32, 2)]
    # A shorter run is the beginning of a longer one.
    assert grown.phases(3) == [(0, 3, 16, 4)] and grown.phases(4)[-1] == (3, 4, 24, 4)
    assert [grown.patches(n) for n in (0, 3, 4, 8)] == [0, 12, 16, 28]
    assert found.phases(8) == [(0, 8, 16, 4)] and found.patches(8) == 32


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"sizes": "6:32:2,3:24:4"}, "the iterations rising"),
        ({"sizes": "0:32:2"}, "each 1 or more"),
        ({"sizes": "3:0:2"}, "each 1 or more"),
        ({"sizes": "3:24"}, "sizes=3:24 cannot be read; write sizes=ITERATION:PATCH:BATCH"),
        ({"sizes": "soon:24:4"}, "write sizes=ITERATION:PATCH:BATCH"),
        ({"mix": "embedded:2"}, "is the training set itself"),
        ({"mix": "bsd400:0"}, "must be above 0"),
        ({"mix": "bsd400:nan"}, "must be above 0"),
        ({"mix": "bsd400:much"}, "mix=bsd400:much cannot be read; write mix=SET:WEIGHT"),
        ({"mix": "../bsd400"}, "dataset"),
        ({"mix": "bsd400:1,bsd400:3"}, "names 'bsd400' twice"),
        ({"mix": ""}, "dataset"),
    ],
)
def test_what_cannot_be_is_refused(found: Recipe, values: dict[str, str], words: str) -> None:
    with pytest.raises(HarnessError, match=words):
        overridden(found, values)


def test_a_batch_that_cannot_be_split_is_refused_before_the_first_step(place: Place) -> None:
    code, said = place.train("--iterations", "8", "--set", f"sizes={SIZES}", "--set", "accumulate=4")
    assert code == 2 and "a batch of 2 cannot be split evenly" in said and "Traceback" not in said
    # A run that ends before needs no such batch.
    assert place.train("--iterations", "6", "--set", f"sizes={SIZES}", "--set", "accumulate=4")[0] == 0


def test_growing_patches_survive_kill_9_to_the_bit(places: Callable[[str], Place]) -> None:
    whole, killed, steps = places("whole"), places("killed"), places("steps")
    sizes = ("--set", "sizes=40:20:4,80:24:2")
    length = ("--iterations", "120", *sizes)
    assert whole.train(*length)[0] == 0
    kills = killed.kill_until_done(*length, minutes="0.0005", times=5, pause=0.3)
    assert kills
    assert killed.train(*length)[0] == 0
    assert killed.weights() == whole.weights()
    # Stopped at a border, within a phase, and gone on with other processes that make samples.
    for iterations in ("40", "61", "120"):
        assert steps.train("--iterations", iterations, *sizes, "--set", "workers=1")[0] == 0
    assert steps.weights() == whole.weights()
    record = json.loads((whole.trained / "training.json").read_text())
    assert record["overrides"] == {"sizes": "40:20:4,80:24:2"} and record["samples"] == 40 * 4 + 40 * 4 + 40 * 2
    assert json.loads((whole.trained / "recipe.json").read_text())["sizes"] == [[40, 20, 4], [80, 24, 2]]
    assert next(iter(read_training_plans(whole.root).values())).recipe == {"sizes": "40:20:4,80:24:2"}


def test_weights_on_the_way_are_kept_and_change_no_bit(places: Callable[[str], Place]) -> None:
    plain, kept = places("plain"), places("kept")
    assert plain.train("--iterations", "10")[0] == 0
    assert kept.train("--iterations", "10", "--set", "keep=4")[0] == 0
    assert kept.weights() == plain.weights()
    files = {file.stem: file.read_bytes() for file in kept.root.glob("work/training/runs/**/kept/*.safetensors")}
    assert set(files) == {"4", "8"}
    # They are the very weights of a run of that length.
    assert plain.train("--iterations", "4", "--replace")[0] == 0
    assert plain.weights() == files["4"]
    assert next(iter(read_training_plans(kept.root).values())).keep == 4
    for wrong in ("keep=-1", "keep=often"):
        code, said = kept.train("--iterations", "10", "--set", wrong)
        assert code == 2 and "keep" in said and "Traceback" not in said, said


def test_a_kill_beside_a_checkpoint_loses_no_weights_that_were_to_be_kept(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, written = _training(place, TrainingPlan(iterations=4, keep=2)), loop.write_checkpoint

    class Killed(BaseException):
        pass

    def killed(path: Path, *rest: object) -> None:
        written(path, *rest)  # type: ignore[arg-type]
        raise Killed

    made.checkpoint_minutes = 0.0
    monkeypatch.setattr(loop, "write_checkpoint", killed)
    for _ in range(2):
        with pytest.raises(Killed):
            made.finish()
    monkeypatch.undo()
    # The checkpoint of step 2 is there, so no later process makes that step again.
    made.finish()
    assert {file.stem for file in place.root.glob("work/training/runs/**/kept/*.safetensors")} == {"2", "4"}


def test_weights_that_are_no_numbers_are_not_kept(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    step = torch.optim.Adam.step

    def poisoned(self: torch.optim.Adam) -> None:
        step(self)
        with torch.no_grad():
            self.param_groups[0]["params"][0].fill_(float("nan"))

    monkeypatch.setattr(torch.optim.Adam, "step", poisoned)
    with pytest.raises(HarnessError, match="a weight is NaN or infinite at iteration 1"):
        _training(place, TrainingPlan(iterations=4, keep=1)).finish()
    assert not list(place.root.glob("work/training/runs/**/kept/*"))


def test_the_plan_counts_every_phase(place: Place) -> None:
    run, method = TrainingRun("denoise-rgb", place.method, 50), place.workspace.method(place.method)
    planner = Planner(place.workspace.data, place.workspace.work, World(0, 1, torch.device("cpu")), "h100")

    def cost(recipe: dict[str, str | int | float], **length: float) -> tuple[int, float, int]:
        made = planner.estimate(run, TrainingPlan(recipe=recipe, **length), method)  # type: ignore[arg-type]
        return made.iterations, made.operations, made.memory

    steps, operations, memory = cost({"sizes": SIZES}, iterations=8)
    # A convolution's arithmetic grows with the area: 3 steps of 4 patches of 16^2, 3 of 4 of 24^2, 2 of 2 of 32^2.
    area = 3 * 4 * 16**2 + 3 * 4 * 24**2 + 2 * 2 * 32**2
    assert steps == 8 and operations == pytest.approx(cost({}, iterations=8)[1] * area / (8 * 4 * 16**2))
    assert operations == least_operations(run, TrainingPlan(iterations=8, recipe={"sizes": SIZES}), method)
    # Memory is that of the phase that needs most.
    assert memory == cost({"patch": 24}, iterations=8)[2] > cost({"patch": 32, "batch": 2}, iterations=8)[2]
    few, _, _ = cost({"sizes": "3:512:64"}, minutes=0.001)
    assert 3 <= few < cost({}, minutes=0.001)[0]


def test_patches_come_from_each_set_as_often_as_asked(
    place: Place, found: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.add_white(monkeypatch)
    made = degradation(found.degradation)
    stores = [
        Store(make_store(open_dataset(name, place.root / "data"), made, 50, place.root / "stores"))
        for name in ("embedded", "white")
    ]
    for mix, low, high in (("white:3", 0.7, 0.8), ("white:0.25", 0.15, 0.25), ("white", 0.45, 0.55)):
        samples = Samples(stores[0], overridden(found, {"mix": mix}), made, 50, 1, stores[1:])
        white = [bool((samples.sample(step, place)[0] == 255).all()) for step in range(300) for place in range(4)]
        assert low < sum(white) / len(white) < high, mix
    with pytest.raises(HarnessError, match="no image of 'white' holds a patch of 41x41"):
        Samples(stores[0], overridden(found, {"mix": "white", "sizes": "9:41:1"}), made, 50, 1, stores[1:])


def test_a_mixed_training_is_recorded_and_a_stage_of_its_own(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add_white(monkeypatch)
    assert place.train("--iterations", "6")[0] == 0
    plain = place.weights()
    mixed = ("--set", "mix=white:2")
    code, said = place.train("--iterations", "6", *mixed)
    assert code == 0 and "with mix white:2" in said, said
    assert place.weights() != plain
    (stage,) = (
        stage
        for of_file in pipeline_stages(place.workspace).values()
        for name, stage in of_file.items()
        if name.startswith("train-on2@")
    )
    assert "data/manifests/datasets/white.json" in stage["deps"]
    assert "data/manifests/datasets/embedded.json" in stage["deps"]
    code, said = place.train("--iterations", "6", "--set", "mix=whites")
    assert code == 2 and "whites" in said and "Traceback" not in said
