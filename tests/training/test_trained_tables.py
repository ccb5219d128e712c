"""Trained networks in tables: through DVC in a copy of the project, and the rules behind it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from training_workspace import METHOD, RECIPE

from harness.methods import methods
from harness.records.training_runs import (
    Options,
    TrainedRecord,
    TrainingPlan,
    TrainingRun,
    parse_run,
    percent,
    read_training_plans,
    write_training_plans,
)
from harness.run.selection import table_runs
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement, NotRun
from harness.tables.ordering import orderings
from harness.tables.published import published_tables
from harness.tables.requests import requests
from harness.tables.trained import with_trained_rows
from harness.tables.verdicts import Judgement, judge

ROOT = Path(__file__).parent.parent.parent


def record(**changes: object) -> TrainedRecord:
    plain = TrainedRecord(
        run=TrainingRun("denoise-rgb", "panet-s", 50),
        recipe="panet-denoise-rgb",
        paper="panet",
        budget="smoke",
        iterations=4000,
        recipe_iterations=1_000_000,
        length_of="released",
        data="div2k-train",
        recipe_data="div2k-train",
        options=Options(),
    )
    return msgspec.structs.replace(plain, **changes)


def test_the_origin_says_how_long() -> None:
    assert record().origin == "trained: 0.4 % of the released program's iterations"
    assert record(iterations=10**6).origin == "trained: 100 % of the released program's iterations"
    assert record(iterations=999_999).origin == "trained: 99 % of the released program's iterations"
    assert record(data="bsd400").origin.endswith("iterations, on bsd400 instead of div2k-train")
    # A record that does not say whose length it was: nobody's but this project's.
    assert record(length_of="project").origin == "trained: 0.4 % of this project's own recipe's iterations"
    assert record(length_of="paper").origin == "trained: 0.4 % of the paper's iterations"
    assert record(length_of="epochs").origin == "trained: 0.4 % of the paper's epochs as counted here"


@pytest.mark.parametrize(
    ("part", "share"), [(1, "0.0001 %"), (150, "0.015 %"), (20_000, "2 %"), (123_456, "12 %"), (995_000, "99 %")]
)
def test_shares(part: int, share: str) -> None:
    assert percent(part, 1_000_000) == share
    assert percent(1, 10**9) == "less than 0.0001 %"


def test_a_trained_number_never_reproduces() -> None:
    from harness.tables.published import published_number

    printed = published_number("30.00")
    for value in (30.0, 29.97, 20.0):
        verdict = judge(printed, Measurement(value, 1, None), trained="trained: 2 % of the paper's iterations")
        assert verdict.verdict == "trained" and verdict.delta == pytest.approx(value - 30)
    assert judge(None, Measurement(30.0, 1, None), trained="trained: 2 %").verdict == "trained"
    assert judge(printed, NotRun("no images"), trained="trained: 2 %").verdict == "not run"


def test_nothing_runs_for_what_nobody_trained() -> None:
    for name in ("panet-table6", "panet-table8", "rnan-table1", "kit-table4", "kit-table5"):
        for request in requests(published_tables()[name], methods()):
            assert request.group is None and f"harness train {name} --budget smoke" in request.reason


def test_runs_behind_tables() -> None:
    known = methods()
    assert len(table_runs(published_tables()["panet-table9"], known)) == 8
    assert len(table_runs(published_tables()["kit-table4"], known)) == 25
    runs = table_runs(published_tables()["panet-table1"], known)
    assert (
        TrainingRun("denoise-rgb", "panet-trained", 70) in runs
        and TrainingRun("denoise-rgb", "rnan-trained", 10) in runs
    )
    assert {run.level for run in table_runs(published_tables()["panet-table5"], known)} == {2, 3, 4}


def test_a_trained_row_stands_below_the_released_one() -> None:
    table = published_tables()["panet-table1"]
    assert with_trained_rows(table, [TrainingRun("denoise-rgb", "panet-s", 50)]) == table
    extended = with_trained_rows(table, [TrainingRun("denoise-rgb", "panet-trained", 50)])
    names = [row.name for row in extended.parts[0].rows]
    assert names[names.index("PANet") + 1] == "PANet (trained here)"
    assert extended.number_count() == table.number_count()
    assert with_trained_rows(table, [TrainingRun("denoise-rgb", "panet-trained", 15)]) == table


def test_plans_are_kept_and_checked(tmp_path: Path) -> None:
    plans = {
        TrainingRun("sr", "csnln-trained", 2): TrainingPlan(budget="short"),
        TrainingRun("jpeg", "panet-s", 10): TrainingPlan(iterations=5),
    }
    write_training_plans(tmp_path, plans)
    assert read_training_plans(tmp_path) == dict(sorted(plans.items()))
    text = (tmp_path / "training.yaml").read_text()
    assert "iterations: 5" in text and "minutes" not in text and "options" not in text
    options = {TrainingRun("jpeg", "panet-s", 10): TrainingPlan(minutes=1.5, options=Options(ema=0.9))}
    write_training_plans(tmp_path, options)
    assert read_training_plans(tmp_path) == options and "clip" not in (tmp_path / "training.yaml").read_text()
    write_training_plans(tmp_path, plans)
    for run in plans:
        assert parse_run(run.name) == run
    from harness.errors import HarnessError

    for text, words in (
        ("runs: {panet-s: {budget: smoke}}", "names no training run"),
        ("runs: {panet-s--jpeg-10: {budget: long}}", "unknown budget 'long'"),
        ("runs: {panet-s--jpeg-10: {budget: smoke, minutes: 3}}", "give one of budget"),
        ("runs: {panet-s--jpeg-10: {buget: smoke}}", "did you mean 'budget'"),
        ("runs: {panet-s--jpeg-10: {iterations: 3, options: {amp: fp8}}}", "amp is bfloat16"),
    ):
        (tmp_path / "training.yaml").write_text(text)
        with pytest.raises(HarnessError, match=words):
            read_training_plans(tmp_path)


def _measured(name: str, values: list[float], **changes: object) -> list[CellResult]:
    results = []
    for request, value in zip(requests(published_tables()[name], methods()), values, strict=True):
        measured = Measurement(value, 100, None)
        results.append(CellResult(request, measured, Judgement("trained", 0.0, ""), None, {}, "", record(**changes)))
    return results


def test_rank_correlation_of_an_ablation() -> None:
    table = published_tables()["panet-table8"]
    rising = [20.0, 21.0, 22.0, 23.0, 24.0, 25.0]
    (same,) = orderings(table, _measured("panet-table8", rising))
    assert same.rows == 6 and (same.tau, same.p) == (pytest.approx(1), pytest.approx(2 / 720))
    assert "tau = +1.00, p = 0.0028" in same.text and "4,000 iterations on div2k-train" in same.text
    (other,) = orderings(table, _measured("panet-table8", rising[::-1]))
    assert other.tau == pytest.approx(-1)
    (flat,) = orderings(table, _measured("panet-table8", [20.0] * 6))
    assert flat.tau is None and "no order" in flat.text
    mixed = _measured("panet-table8", rising)
    mixed[2] = msgspec.structs.replace(mixed[2], trained=record(iterations=5))
    assert "different budgets" in orderings(table, mixed)[0].text
    few = [msgspec.structs.replace(r, measured=NotRun("")) if i > 1 else r for i, r in enumerate(mixed)]
    assert "too few" in orderings(table, few)[0].text
    assert orderings(published_tables()["panet-table1"], []) == []


TABLE = """
name: mine
paper: doe
title: Mine
source: a test
kind: ablation
parts:
  - task: denoise-rgb
    degradation: awgn-8bit
    protocol: {psnr: psnr}
    columns: [{metric: psnr, dataset: embedded, level: 50}]
    rows: [{name: Tiny, method: tiny-net, values: ["30.00"]}]
"""


def test_train_evaluate_and_train_on_through_dvc(tmp_path: Path) -> None:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z", "harness", ".dvc", ".dvcignore"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tmp_path / name)
    for name, text in (
        ("params.yaml", "methods: [methods]\ntables: [tables]\nnoise: {further_draws: 0, images: 0}\n"),
        ("methods/tiny_net.py", METHOD.replace("RECIPE", '"recipes/tiny.yaml"')),
        ("recipes/tiny.yaml", RECIPE),
        ("tables/mine.yaml", TABLE),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    plain = {key: value for key, value in os.environ.items() if not key.startswith("HARNESS_")}
    environment = {**plain, "PYTHONPATH": str(tmp_path), "PATH": f"{Path(sys.executable).parent}:{plain['PATH']}"}

    def run(*command: str, code: int = 0) -> str:
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == code, f"{command}: {done.stdout}\n{done.stderr}"
        return done.stdout + done.stderr

    def harness(*arguments: str, code: int = 0) -> str:
        return run(sys.executable, "-m", "harness", *arguments, code=code)

    def cell(code: int = 0) -> dict[str, object]:
        (found,) = json.loads(harness("diff", "mine", "--format", "json", code=code).partition("\n]")[0] + "]")
        return found  # type: ignore[no-any-return]

    # Where nothing is compared, `diff` and `repro` fail.
    assert cell(1)["verdict"] == "not run" and "harness train mine --budget smoke" in str(cell(1)["reason"])
    said = harness("train", "mine", "--budget", "smoke")
    assert "trained: 5 % of the paper's iterations" in said
    record = (tmp_path / "work/trained/denoise-rgb/tiny-net/50/training.json").read_bytes()
    harness("repro", "mine")
    # Nothing was trained a second time: the record has its seconds and its moment.
    assert (tmp_path / "work/trained/denoise-rgb/tiny-net/50/training.json").read_bytes() == record
    first = cell()
    assert (first["verdict"], first["origin"]) == ("trained", "trained: 5 % of the paper's iterations")
    assert first["delta"] == pytest.approx(float(str(first["measured"])) - 30)
    pipeline = (tmp_path / "pipelines/denoise-rgb/training/dvc.yaml").read_text()
    assert "tiny-net-50" in pipeline and "harness stage train ${item.run}" in pipeline
    assert "◦" in (tmp_path / "results/mine.md").read_text()
    # DVC makes the weights as well, and takes the finished training instead of making it twice.
    shutil.rmtree(tmp_path / "work/trained")
    shutil.rmtree(tmp_path / ".dvc/cache", ignore_errors=True)
    run("dvc", "repro", "pipelines/denoise-rgb/training/dvc.yaml:train@tiny-net-50")
    assert cell()["measured"] == first["measured"]
    # Trained longer: the old number is not shown under the new budget's name.
    harness("train", "mine", "--budget", "short")
    assert cell(1)["verdict"] == "not run" and "run harness repro" in str(cell(1)["reason"])
    harness("repro", "mine")
    second = cell()
    assert second["origin"] == "trained: 10 % of the paper's iterations"
    assert float(str(second["measured"])) > float(str(first["measured"]))
    # A training set that is not here ends in a reason and stops nothing.
    text = (tmp_path / "training.yaml").read_text().replace("budget: short", "budget: short\n    data: div2k-train")
    (tmp_path / "training.yaml").write_text(text)
    harness("repro", "mine", code=1)
    assert cell(1)["verdict"] == "not run" and "not trained: dataset 'div2k-train'" in str(cell(1)["reason"])
