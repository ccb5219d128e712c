"""What a training leaves to look at: PSNR of several sets, pictures, copies of its log for other programs."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from itertools import pairwise
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from training_workspace import Place

from harness.errors import HarnessError, NotAvailableError
from harness.images import read_image
from harness.metrics import psnr
from harness.records.training_runs import TrainingPlan, TrainingRun, read_training_plans
from harness.report.training_curves import read_curves
from harness.run.pipeline import stage_files
from harness.training.curves import plot_curves
from harness.training.logs import read_log
from harness.training.loop import Training
from harness.training.world import World

BOTH = ("embedded", "white")


def training(place: Place, plan: TrainingPlan) -> Training:
    workspace, run = place.workspace, TrainingRun("denoise-rgb", place.method, 50)
    cpu, method = World(0, 1, torch.device("cpu")), workspace.method(place.method)
    return Training(run, plan, method, data=workspace.data, work=workspace.work, world=cpu)


def test_several_sets_are_watched_each_by_itself(places: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, both = places("plain"), places("both")
    both.add_white(monkeypatch)
    assert plain.train("--iterations", "6")[0] == 0
    code, said = both.train("--iterations", "6", "--set", "validation=white,embedded")
    assert code == 0, said
    # What is watched changes no bit.
    assert both.weights() == plain.weights()
    rows, alone = read_log(both.trained / "log.csv"), read_log(plain.trained / "log.csv")
    assert [row.psnrs["embedded"] for row in rows] == [row.psnr for row in alone]
    assert [row.psnrs["white"] for row in rows] == [row.psnr for row in rows] != [row.psnr for row in alone]
    assert [row.psnrs for row in alone] == [{}] * len(alone)
    assert (plain.trained / "log.csv").read_text().splitlines()[0].endswith(",seconds")
    record = json.loads((both.trained / "training.json").read_text())
    assert record["validation"]["dataset"] == "white"
    assert record["validation"]["psnr"] == pytest.approx(rows[-1].psnrs["white"])
    assert [(each["dataset"], each["images"]) for each in record["further_validation"]] == [("embedded", 2)]
    # Every place that draws a log draws each set: DVC's plots, the site, `harness report curves`.
    (plan,) = read_training_plans(both.root).values()
    assert plan.validation == ("white", "embedded")
    assert all(f"log.csv: psnr_{name}" in "".join(stage_files(both.workspace).values()) for name in BOTH)
    assert {"psnr_white", "psnr_embedded"} <= {curve.name for curve in read_curves(both.trained / "log.csv")}
    plot_curves({"run": rows}, both.root / "curves.svg")
    assert len(re.findall("<!-- run, (?:white|embedded) -->", (both.root / "curves.svg").read_text())) == 2


def test_a_resumed_log_keeps_the_columns_that_it_had(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.add_white(monkeypatch)
    training(place, TrainingPlan(iterations=2, validation=("white",))).finish()
    training(place, TrainingPlan(iterations=4, validation=("embedded",))).finish()
    _, folder = training(place, TrainingPlan(iterations=6)).finish()
    with open(folder / "log.csv", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [(bool(line["psnr_white"]), bool(line["psnr_embedded"])) for line in lines] == [
        *[(True, False)] * 2,
        *[(False, True)] * 2,
        *[(False, False)] * 2,
    ]


def test_a_set_that_was_named_must_be_here(place: Place) -> None:
    for plan, error, words in (
        (TrainingPlan(iterations=2, validation=("embedded", "div2k-valid")), NotAvailableError, "div2k-valid"),
        (TrainingPlan(iterations=2, log=("dvclive",)), NotAvailableError, r"pip install .*\[dvclive\]"),
    ):
        with pytest.MonkeyPatch.context() as without:
            without.setitem(sys.modules, "dvclive", None)
            with pytest.raises(error, match=words):
                training(place, plan).finish()
    assert not place.checkpoints()
    for setting, words in (
        ("validation=nosuchset", "nosuchset"),
        ("validation=embedded,embedded", "names one thing twice"),
        ("validation=../embedded", "dataset"),
        ("validation_images=-1", "validation_images"),
        ("log=tensorbored", "unknown log"),
    ):
        code, said = place.train("--iterations", "2", "--set", setting)
        assert code == 2 and words in said and "Traceback" not in said, said


def test_pictures_are_those_whose_psnr_is_logged(place: Place) -> None:
    plan = TrainingPlan(iterations=6, validation_images=5)
    _, folder = training(place, plan).finish()
    pictures = folder / "validation"
    rows = [row for row in read_log(folder / "log.csv") if row.psnr is not None]
    assert {path.name for path in pictures.iterdir()} == {"input", "target", *(str(row.iteration) for row in rows)}
    names = sorted(path.name for path in (pictures / "target").iterdir())
    assert len(names) == 2 and all(name.startswith("embedded-") for name in names)
    assert names == sorted(path.name for path in (pictures / "input").iterdir())
    for row in rows:
        values = [
            psnr(read_image(pictures / "target" / name), read_image(pictures / str(row.iteration) / name))
            for name in names
        ]
        assert np.mean(values) == pytest.approx(row.psnr, abs=1e-6)
    assert list(read_training_plans(place.root)) == []


def test_dvc_shows_what_dvclive_wrote(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("dvclive")
    place.add_white(monkeypatch)
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=place.root, check=True)
    (place.root / ".gitignore").write_text("/data/\n/work/\n")
    subprocess.run(["git", "add", "."], cwd=place.root, check=True)
    author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *author, "commit", "-qm", "all"], cwd=place.root, check=True)
    settings = ("--set", "log=dvclive", "--set", "validation=embedded,white")
    # A resumed run's curves have each step once.
    for iterations in ("3", "6"):
        code, said = place.train("--iterations", iterations, *settings)
        assert code == 0 and "copy of the log" not in said, said
    run = f"{place.method}--denoise-rgb-50"

    def dvc(*words: str) -> Any:
        done = subprocess.run(
            [sys.executable, "-m", "dvc", *words, "--json"], cwd=place.root, check=True, capture_output=True, text=True
        )
        return json.loads(done.stdout)

    rows = read_log(place.trained / "log.csv")
    shown = dvc("exp", "show")[0]["data"]["metrics"][f"dvclive/{run}/metrics.json"]["data"]
    assert {name: shown[f"psnr_{name}"] for name in BOTH} == pytest.approx(rows[-1].psnrs)
    assert shown["step"] == 6 and shown["loss"] == pytest.approx(rows[-1].loss, rel=1e-6)
    plots = dvc("plots", "show")
    (losses,) = [value for name, value in plots["data"].items() if name.endswith("loss.tsv")]
    assert [point["step"] for point in losses[0]["content"]["data"]["values"]] == [str(n) for n in range(1, 7)]
    assert not subprocess.run(["git", "for-each-ref", "refs/exps"], cwd=place.root, capture_output=True).stdout


class _Wandb(ModuleType):
    """What is used of W&B, noting the calls."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.begun: list[dict[str, Any]] = []
        self.lines: list[tuple[int, dict[str, float]]] = []
        self.finished = 0

    def init(self, **given: Any) -> _Wandb:
        self.begun.append(given)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        if step == 5:
            raise RuntimeError("no room")
        self.lines.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_weights_and_biases_gets_the_log_and_sends_nothing_unasked(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = _Wandb()
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    plan = TrainingPlan(iterations=2, log=("wandb",))
    training(place, plan).finish()
    monkeypatch.setenv("WANDB_MODE", "online")
    said: list[str] = []
    second = training(place, TrainingPlan(iterations=6, log=("wandb",)))
    second.notice = said.append
    record, folder = second.finish()
    first, resumed = wandb.begun
    assert (first["mode"], resumed["mode"]) == ("offline", "online")
    # The same run of W&B goes on, with the steps that it does not have.
    assert first["id"] == resumed["id"] == folder.name and resumed["resume"] == "allow"
    assert first["config"]["recipe"]["patch"] == 16 and first["dir"] == str(folder)
    rows = {row.iteration: row for row in read_log(folder / "log.csv")}
    assert [step for step, _ in wandb.lines] == [1, 2, 3, 4]
    assert all(values["loss"] == pytest.approx(rows[step].loss, rel=1e-6) for step, values in wandb.lines)
    # What fails there is said once, and ends no training.
    assert said == ["a copy of the log is not written any more (RuntimeError: no room); the training goes on"]
    assert record.iterations == 6 and wandb.finished == 2


def test_a_plan_with_logs_and_sets_is_a_plan_like_any_other(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is written to training.yaml is read again, and what is handed to processes of their own is understood."""
    from harness.cli.training import _settings
    from harness.cli.training_jobs import _arguments
    from harness.records.training_runs import check_training_plan, write_training_plans

    run = TrainingRun("denoise-rgb", place.method, 50)
    plan = TrainingPlan(iterations=3, keep=2, validation=BOTH, validation_images=1, log=("dvclive", "wandb"))
    write_training_plans(place.root, {run: plan})
    assert read_training_plans(place.root) == {run: plan}
    words = _arguments(run, plan)
    settings = tuple(value for word, value in pairwise(words) if word == "--set")
    assert check_training_plan(_settings(TrainingPlan(iterations=3), settings, 0), "here") == plan
    with pytest.raises(HarnessError, match="unknown log 'dvc'"):
        check_training_plan(msgspec.structs.replace(plan, log=("dvc",)), "here")
