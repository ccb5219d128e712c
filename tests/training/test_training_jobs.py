"""Several runs side by side."""

from __future__ import annotations

import re
import signal
import time

import psutil
import pytest
from training_workspace import Place

from harness.cli.training_jobs import _arguments
from harness.records.training_runs import Options, TrainingPlan, TrainingRun, read_training_plans


def weights(place: Place, seed: int) -> bytes:
    name = place.method + (f"-seed{seed}" if seed > 1 else "")
    return (place.root / "work/trained/denoise-rgb" / name / "50" / "weights.safetensors").read_bytes()


def test_runs_side_by_side_are_those_made_one_after_the_other(places: object, monkeypatch: pytest.MonkeyPatch) -> None:
    apart, together = places("a"), places("b")  # type: ignore[operator]
    assert apart.train("--iterations", "6", "--seeds", "3")[0] == 0
    # Two devices that no torch here has: what counts is who is given which.
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    code, said = together.train("--iterations", "6", "--seeds", "3", "-j", "8", "--set", "ema=0.5", "--set", "clip=1.0")
    assert code == 0, said
    assert "3 runs, 2 at a time, on GPUs 5, 7" in said
    assert set(re.findall(r"\(GPU (\d)\)", said)) == {"5", "7"}
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    code, said = together.train("--iterations", "6", "--seeds", "3", "-j", "2")
    assert code == 0 and "2 at a time, on the CPU" in said, said
    plans = read_training_plans(together.root)
    assert len(plans) == 3 and plans == {
        TrainingRun(run.task, run.method.replace(apart.method, together.method), run.level): plan
        for run, plan in read_training_plans(apart.root).items()
    }
    for seed in (1, 2, 3):
        assert weights(together, seed) == weights(apart, seed)
    assert len({weights(apart, seed) for seed in (1, 2, 3)}) == 3


def test_a_run_that_fails_stops_no_other(place: Place) -> None:
    broken = place.root / "work/trained/denoise-rgb" / f"{place.method}-seed2"
    broken.parent.mkdir(parents=True)
    broken.write_text("a file where a folder must be")
    code, said = place.train("--iterations", "4", "--seeds", "3", "-j", "2")
    assert code == 2 and f"{place.method}-seed2--denoise-rgb-50 was not trained: " in said and "Traceback" not in said
    assert weights(place, 1) != weights(place, 3)
    assert {run.method for run in read_training_plans(place.root)} == {place.method, f"{place.method}-seed3"}


def test_an_interruption_reaches_every_run(place: Place) -> None:
    process = place.start("--iterations", "400", "--seeds", "2", "-j", "2", "--set", "checkpoint_minutes=0")
    deadline = time.monotonic() + 120
    while len(list(place.root.glob("work/training/runs/**/checkpoint.safetensors"))) < 2:
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130 and "run the same command again" in said
    psutil.wait_procs(children, timeout=20)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    assert not (place.root / "training.yaml").exists()
    # The same command goes on.
    code, said = place.train("--iterations", "400", "--seeds", "2", "-j", "2")
    assert code == 0, said


def test_a_plan_as_arguments() -> None:
    run = TrainingRun("denoise-rgb", "panet-s", 50)
    options = Options(amp="bfloat16", compile=True, deterministic=False, clip=1.5, seed=4)
    assert _arguments(run, TrainingPlan(minutes=1.5, data="bsd400", options=options)) == [
        *("--task", "denoise-rgb", "--level", "50", "--minutes", "1.5", "--dataset", "bsd400"),
        *("--set", "amp=bfloat16", "--set", "compile=true", "--set", "deterministic=false", "--set", "clip=1.5"),
        *("--seed", "4"),
    ]
    assert _arguments(TrainingRun("derain", "kit", 0), TrainingPlan(budget="short")) == [
        *("--task", "derain", "--budget", "short")
    ]
