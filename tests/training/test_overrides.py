"""Trainings that differ from their recipe, and those that begin with the weights of another."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from training_workspace import Place

from harness.errors import HarnessError
from harness.files import file_sha256
from harness.records.training_runs import TrainedRecord, TrainingPlan, TrainingRun, read_training_plans
from harness.run.pipeline import pipeline_stages
from harness.training.checkpoints import begin_with, write_tensors
from harness.training.loop import Training
from harness.training.recipe import OVERRIDES, overridden, read_recipe, recipe, recipe_names
from harness.training.world import World


def test_every_value_that_may_be_another_is_one_of_every_recipe() -> None:
    for name in recipe_names():
        found = recipe(name)
        plain = msgspec.to_builtins(found)
        same = {key: (plain[part] if part else plain)[key] for key, part in OVERRIDES.items()}
        assert overridden(found, same) == found and overridden(found, {}) == found


def test_values_are_checked(place: Place) -> None:
    found = read_recipe(place.root / "tiny.yaml")
    assert overridden(found, {"rate": 5e-4, "batch": 2}).optimizer.rate == 5e-4
    assert overridden(found, {"batch": 2}).batch == 2 and overridden(found, {"warmup": 5}).schedule.warmup == 5
    for values, words in (
        ({"rates": 1.0}, "did you mean 'rate'"),
        ({"rate": "fast"}, "Expected `float`"),
        ({"rate": -1e-3}, "rate cannot be -0.001"),
        ({"rate": float("nan")}, "rate cannot be nan"),
        ({"batch": 0}, "batch must be 1 or more"),
        ({"batch": 2.5}, "Expected `int`"),
        ({"every": 0}, "needs 'every'"),
        ({"augmentation": "mixup"}, "augmentation"),
    ):
        with pytest.raises(HarnessError, match=words):
            overridden(found, values)  # type: ignore[arg-type]


def test_other_values_are_recorded_and_begin_a_run_of_their_own(place: Place) -> None:
    assert place.train("--iterations", "4")[0] == 0
    plain = place.weights()
    code, said = place.train("--iterations", "4", "--set", "rate=0.0005", "--set", "batch=2")
    assert code == 0 and "its recipe.optimizer.rate is 0.001, here 0.0005" in said, said
    assert place.weights() != plain
    record = json.loads((place.trained / "training.json").read_text())
    assert record["overrides"] == {"rate": 0.0005, "batch": 2} and record["samples"] == 8
    assert "with batch 2, rate 0.0005" in said
    assert json.loads((place.trained / "recipe.json").read_text())["optimizer"]["rate"] == 0.0005
    # The stage makes the same: what the plan says is enough.
    (plan,) = read_training_plans(place.root).values()
    assert plan == TrainingPlan(iterations=4, recipe={"rate": 0.0005, "batch": 2})
    code, said = place.train("--iterations", "4", "--set", "rate=quick")
    assert code == 2 and "recipe 'tiny'" in said and "Traceback" not in said


def test_a_network_begins_with_what_fits(tmp_path: Path) -> None:
    torch.manual_seed(0)
    before = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 12, 3))
    write_tensors(tmp_path / "w.safetensors", before.state_dict())
    sha256 = file_sha256(tmp_path / "w.safetensors", "")
    # Another upsampling: the body is taken, the rest stays as it was made.
    after = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 27, 3))
    own = after[1].weight.clone()
    said = begin_with(after, tmp_path / "w.safetensors", sha256, "a-run")
    assert torch.equal(after[0].weight, before[0].weight) and torch.equal(after[1].weight, own)
    assert said == "begins with 2 of 4 tensors of a-run; random: 1.weight, 1.bias"
    with pytest.raises(HarnessError, match="nothing of 'a-run' fits"):
        begin_with(nn.Linear(2, 2), tmp_path / "w.safetensors", sha256, "a-run")
    with pytest.raises(HarnessError, match="another SHA-256"):
        begin_with(after, tmp_path / "w.safetensors", "0" * 64, "a-run")


def test_a_run_starts_from_another_and_resumes(place: Place) -> None:
    first = f"{place.method}--denoise-rgb-50"
    assert place.train("--iterations", "5")[0] == 0
    start = load_file(place.trained / "weights.safetensors")
    run, method = TrainingRun("denoise-rgb", place.method, 30), place.workspace.method(place.method)
    cpu = World(0, 1, torch.device("cpu"))

    def made(steps: int, work: Path = place.workspace.work) -> tuple[TrainedRecord, Path]:
        plan = TrainingPlan(iterations=steps, start=first)
        return Training(run, plan, method, data=place.workspace.data, work=work, world=cpu).finish()

    record, folder = made(1)
    moved = load_file(folder / "results/1/weights.safetensors")
    # One step of Adam moves no weight by more than the rate: it began where the other ended.
    assert all(float((moved[key] - start[key]).abs().max()) <= 1.001e-3 for key in start)
    assert (record.start, record.start_weights) == (first, file_sha256(place.trained / "weights.safetensors", ""))
    assert record.origin.endswith(f"from the weights of {first}")
    resumed, _ = made(6)
    # Other weights to start from are another run.
    assert place.train("--iterations", "7")[0] == 0
    again, other = made(6)
    assert other != folder and again.weights != resumed.weights
    with pytest.raises(HarnessError, match="cannot start from itself"):
        Training(
            run,
            TrainingPlan(iterations=1, start=run.name),
            method,
            data=place.workspace.data,
            work=place.workspace.work,
            world=cpu,
        )


def test_the_pipeline_knows_what_a_run_starts_from(place: Place) -> None:
    assert place.train("--iterations", "2")[0] == 0
    first = f"{place.method}--denoise-rgb-50"
    code, said = place.train("--level", "30", "--iterations", "2", "--set", f"start={first}")
    assert code == 0 and f"begins with 4 of 4 tensors of {first}" in said, said
    stages = pipeline_stages(place.workspace)
    found = {
        name: stage
        for of_file in stages.values()
        for name, stage in of_file.items()
        if name.startswith("train") and "@" in name
    }
    assert set(found) == {f"train@{place.method}-50", f"train-from@{place.method}-30"}
    assert f"work/trained/denoise-rgb/{place.method}/50" in found[f"train-from@{place.method}-30"]["deps"]
    code, said = place.train("--level", "70", "--iterations", "2", "--set", "start=nothing--denoise-rgb-50")
    assert code != 0 and "'nothing' is not trained" in said and "Traceback" not in said
