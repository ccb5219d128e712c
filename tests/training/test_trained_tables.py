"""Trained networks in tables: through DVC in a copy of the project, and the rules behind it."""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import forked
import msgspec
import numpy as np
import pytest
from training_workspace import METHOD, RECIPE

from harness.errors import NotAvailableError
from harness.methods import methods
from harness.methods.trained import of_seed
from harness.records.training_runs import (
    Options,
    TrainedRecord,
    TrainingPlan,
    TrainingRun,
    parse_run,
    parse_seeded,
    percent,
    read_training_plans,
    seeded_name,
    write_training_plans,
)
from harness.run.selection import table_runs
from harness.tables.collected import collect
from harness.tables.diff import CellResult, as_record
from harness.tables.measurements import Measurement, NotRun
from harness.tables.ordering import orderings
from harness.tables.published import published_tables
from harness.tables.requests import requests
from harness.tables.trained import with_trained_rows
from harness.tables.verdicts import Judgement, judge
from harness.tables.workspace import Workspace
from harness.training.recipe import recipe

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


def _measured(name: str, values: list[float], further: tuple[float, ...] = (), **changes: object) -> list[CellResult]:
    """Make a table's cells; `further` says by how much further seeds lie above the first."""
    results = []
    for request, value in zip(requests(published_tables()[name], methods()), values, strict=True):
        seeds = tuple((number, value + more) for number, more in enumerate((0.0, *further), 1)) if further else ()
        mean = sum(of_seed for _, of_seed in seeds) / len(seeds) if seeds else value
        made = record(**changes)
        judgement = Judgement("trained", 0.0, "")
        results.append(
            CellResult(
                request,
                Measurement(mean, 100, None, seeds),
                judgement,
                None,
                {},
                made.origin,
                made,
                trained_for=made.trained_for,
            )
        )
    return results


def test_rank_correlation_of_an_ablation() -> None:
    table = published_tables()["panet-table8"]
    rising = [20.0, 21.0, 22.0, 23.0, 24.0, 25.0]
    (same,) = orderings(table, _measured("panet-table8", rising))
    assert same.rows == 6 and (same.tau, same.p) == (pytest.approx(1), pytest.approx(2 / 720))
    assert "tau = +1.00, exact p = 0.0028" in same.text and "4,000 iterations on div2k-train with one seed" in same.text
    # What was printed was reached at another length: the order at this one is no answer to it.
    assert "a budget of 0.4 % of the released program's iterations says nothing about the order" in same.text
    assert same.interval is None
    (whole,) = orderings(table, _measured("panet-table8", rising, iterations=10**6))
    assert "says nothing" not in whole.text
    (other,) = orderings(table, _measured("panet-table8", rising[::-1]))
    assert other.tau == pytest.approx(-1)
    (flat,) = orderings(table, _measured("panet-table8", [20.0] * 6))
    assert flat.tau is None and "no order" in flat.text
    mixed = _measured("panet-table8", rising)
    mixed[2] = msgspec.structs.replace(mixed[2], trained_for=record(iterations=5).trained_for)
    assert "different budgets" in orderings(table, mixed)[0].text
    few = [msgspec.structs.replace(r, measured=NotRun("")) if i > 1 else r for i, r in enumerate(mixed)]
    assert "too few" in orderings(table, few)[0].text
    assert orderings(published_tables()["panet-table1"], []) == []


def test_a_p_value_is_given_only_where_it_is_exact() -> None:
    table = published_tables()["panet-table8"]
    (tied,) = orderings(table, _measured("panet-table8", [20.0, 20.0, 22.0, 23.0, 24.0, 25.0]))
    assert tied.tau == pytest.approx(14 / math.sqrt(14 * 15)) and tied.p is None
    assert "no exact p, as values are equal" in tied.text


def test_no_order_inside_the_warm_up() -> None:
    table = published_tables()["panet-table8"]
    rising = [20.0, 21.0, 22.0, 23.0, 24.0, 25.0]
    (inside,) = orderings(table, _measured("panet-table8", rising, warmup=4000))
    assert inside.tau is None and inside.p is None and "rises over the first 4,000" in inside.text
    (after,) = orderings(table, _measured("panet-table8", rising, warmup=3999))
    assert after.tau == pytest.approx(1)
    # A record of an earlier version does not say; the recipe does.
    name = "kit-denoise-real"
    warmup = recipe(name).schedule.warmup
    assert warmup > 1
    (early,) = orderings(table, _measured("panet-table8", rising, recipe=name, iterations=warmup))
    assert early.tau is None and f"{warmup:,}" in early.text
    (late,) = orderings(table, _measured("panet-table8", rising, recipe=name, iterations=warmup + 1))
    assert late.tau == pytest.approx(1)


def test_several_seeds_give_tau_an_interval() -> None:
    table = published_tables()["panet-table8"]
    rising = [20.0, 20.03, 20.06, 20.09, 20.12, 20.15]
    (sure,) = orderings(table, _measured("panet-table8", rising, (0.0, 0.0)))
    assert sure.interval == (1.0, 1.0)
    (near,) = orderings(table, _measured("panet-table8", rising, (0.01, -0.01)))
    (far,) = orderings(table, _measured("panet-table8", rising, (1.0, -1.0)))
    assert near.interval and far.interval and near.tau == far.tau == pytest.approx(1)
    assert 0 < near.interval[0] <= near.interval[1] <= 1
    # A spread of 1 dB between seeds makes steps of 0.03 dB a lottery, whatever the order of the means.
    assert far.interval == (-1.0, 1.0) and "with other seeds the order may be another" in far.text
    assert "may be another" not in near.text and "3 seeds, standard deviation 1 dB" in far.text
    # The interval holds what was measured, and more seeds, each as far from the others, narrow it.
    (more,) = orderings(table, _measured("panet-table8", rising, (0.02, -0.02) * 12))
    (few,) = orderings(table, _measured("panet-table8", rising, (0.02, -0.02)))
    assert few.interval and more.interval and few.interval[0] < more.interval[0] <= more.interval[1] == few.interval[1]
    # Rows against the printed order are told apart as well.
    (against,) = orderings(table, _measured("panet-table8", rising[::-1], (0.001, -0.001)))
    assert against.interval == (-1.0, -1.0)
    # The same input gives the same interval; one row with one seed gives none.
    assert orderings(table, _measured("panet-table8", rising, (1.0, -1.0))) == [far]
    some = _measured("panet-table8", rising, (0.1, -0.1))
    some[3] = msgspec.structs.replace(some[3], measured=Measurement(20.09, 100, None))
    assert orderings(table, some)[0].interval is None


@pytest.mark.parametrize("step", [0.02, 0.3])
def test_the_interval_covers_the_truth(step: float) -> None:
    """Of many experiments whose rows truly have the printed order, at least 95 % of the intervals hold tau = 1."""
    table = published_tables()["panet-table8"]
    truth = 20 + step * np.arange(6)
    cells = _measured("panet-table8", list(truth))
    rng = np.random.default_rng(1)
    held = 0
    for _ in range(60):
        values = truth[:, None] + 0.25 * rng.standard_normal((6, 3))
        drawn = [
            msgspec.structs.replace(
                cell, measured=Measurement(float(row.mean()), 100, None, tuple(enumerate(row.tolist(), 1)))
            )
            for cell, row in zip(cells, values, strict=True)
        ]
        (found,) = orderings(table, drawn)
        assert found.interval is not None and found.tau is not None
        assert found.interval[0] <= found.tau + 1e-9 and found.tau - 1e-9 <= found.interval[1]
        held += found.interval[1] == 1
    assert held >= 57


def test_names_of_further_seeds() -> None:
    assert parse_seeded(seeded_name("panet-s", 2)) == ("panet-s", 2)
    assert parse_seeded("panet-s") is None and parse_seeded("panet-s-seed0") is None
    further = of_seed(methods()["panet-s"], 3)
    assert further.name == "panet-s-seed3" and further.tasks == methods()["panet-s"].tasks
    assert further.source_file == methods()["panet-s"].source_file
    # It loads its own weights, and none of the first seed.
    with pytest.raises(NotAvailableError, match="'panet-s-seed3' is not trained"):
        further.build("denoise-rgb", 50)


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


def test_what_was_trained_elsewhere_stays(tmp_path: Path) -> None:
    """A clone has neither the weights nor the plan of a training; its recorded rows stand, with how they were made."""
    results = tmp_path / "results"
    results.mkdir()
    (tmp_path / "params.yaml").write_text("methods: []\ntables: []\n")
    shutil.copy(ROOT / "results/train-levels.json", results)
    (found,) = collect(Workspace(tmp_path), ["train-levels"])
    assert [cell.judgement.verdict for cell in found.results] == ["trained"] * 6
    assert all(cell.recorded and len(cell.measured.seeds) == 3 for cell in found.results)  # type: ignore[union-attr]
    assert {cell.request.group.degradation for cell in found.results if cell.request.group} == {"awgn-seed0-8bit"}
    before = json.loads((results / "train-levels.json").read_text())
    again = json.loads(json.dumps([as_record(cell) for cell in found.results]))
    differing = {key for old, new in zip(before, again, strict=True) for key in old if old[key] != new[key]}
    assert differing == {"recorded"}
    (order,) = orderings(found.table, found.results)
    assert (
        order.interval and order.interval[0] <= 0 <= order.interval[1] and "says nothing about the order" in order.text
    )


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
        done = forked.harness("diff", "mine", "--format", "json", cwd=tmp_path, env=environment)
        assert done.returncode == code, done.stderr
        (found,) = json.loads(done.stdout)
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
    # A second seed: the mean, and in it the first seed as it was, bit for bit.
    harness("train", "mine", "--budget", "smoke", "--seeds", "2")
    assert (tmp_path / "work/trained/denoise-rgb/tiny-net/50/training.json").read_bytes() == record
    harness("repro", "mine")
    both = cell()
    seeds: dict[str, float] = both["seeds"]  # type: ignore[assignment]
    assert set(seeds) == {"1", "2"} and seeds["1"] == first["measured"] != seeds["2"]
    assert both["measured"] == pytest.approx(sum(seeds.values()) / 2) and "2 seeds (1, 2)" in str(both["reason"])
    assert both["seeds_sd"] == pytest.approx(abs(seeds["1"] - seeds["2"]) / math.sqrt(2))
    assert (
        " ± " in (tmp_path / "results/mine.md").read_text() and r"$\pm$" in (tmp_path / "results/mine.tex").read_text()
    )
    # Recorded results say the same where nothing is measured.
    (tmp_path / "work").rename(tmp_path / "away")
    recorded = cell()
    assert {key: both[key] for key in ("seeds", "seeds_sd", "measured", "trained_for")} == {
        key: recorded[key] for key in ("seeds", "seeds_sd", "measured", "trained_for")
    }
    (tmp_path / "away").rename(tmp_path / "work")
    # Trained longer: the old number is not shown under the new budget's name.
    harness("train", "mine", "--budget", "short")
    assert cell(1)["verdict"] == "not run" and "run harness repro" in str(cell(1)["reason"])
    harness("repro", "mine")
    second = cell()
    assert second["origin"] == "trained: 10 % of the paper's iterations"
    # A seed of another length is no draw of the same thing.
    assert "seeds" not in second and "seed 2 was trained otherwise (20 iterations" in str(second["reason"])
    assert float(str(second["measured"])) > float(str(first["measured"]))
    # A training set that is not here ends in a reason and stops nothing.
    text = (tmp_path / "training.yaml").read_text().replace("budget: short", "budget: short\n    data: div2k-train")
    (tmp_path / "training.yaml").write_text(text)
    harness("repro", "mine", code=1)
    assert cell(1)["verdict"] == "not run" and "not trained: dataset 'div2k-train'" in str(cell(1)["reason"])
