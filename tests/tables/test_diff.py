"""From measured rows to verdicts: protocols of their own, averages, exit status, every output form."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

import harness.methods as registry
from harness.cli import harness
from harness.errors import CheckFailedError, HarnessError, Missing
from harness.files import write_text
from harness.methods import Method
from harness.records.cells import Group
from harness.records.cost import Cost, CostRecord, write_cost
from harness.records.restored import LevelRecord
from harness.records.rows import ImageRow, MeasuredRecord, write_rows
from harness.report.grid import grids, reasons_not_run
from harness.report.render import csv_text, json_text, latex, markdown, render
from harness.report.site import build_site
from harness.tables.collected import UNCOMMITTED, Revisions, place_of, results_of
from harness.tables.counting import count
from harness.tables.workspace import Workspace

VERSIONS = {"psnr": "psnr.1", "ssim-gauss": "ssim-gauss.1", "ssim-8x8": "ssim-8x8.1"}

TABLE = {
    "name": "doe-table1",
    "paper": "doe",
    "title": "Two sets & a <b>mean</b>",
    "source": "Doe et al. Nowhere",
    "parts": [
        {
            "task": "jpeg",
            "protocol": {"psnr": "psnr", "ssim": "ssim-gauss"},
            "columns": [
                {"dataset": "live1", "level": 10, "metric": "psnr"},
                {"dataset": "live1", "level": 10, "metric": "ssim"},
                {"dataset": "classic5", "level": 10, "metric": "psnr"},
                {"metric": "psnr", "label": "Average"},
                {"metric": "parameters"},
            ],
            "rows": [
                {
                    "name": "Mixed",
                    "method": "mixed",
                    "values": ["30.00", "_0.9000_", "**32.00**", "31.00", "12K"],
                    "protocol": {"ssim": "ssim-8x8"},
                    "evidence": "measured under both",
                },
                {
                    "name": "Other | weights",
                    "method": "other",
                    "values": ["28.00", "N/A", "29.00", "28.50", "5K"],
                    "cells": {
                        "live1/10/psnr": {"incomparable": "retrained by others"},
                        "classic5/10/psnr": {"suspect": "a misprint of 29.50"},
                    },
                },
                {"name": "Lost", "values": ["1.00", "0.1000", "-", "1.00", "1K"], "not_run": "no code is known"},
            ],
        }
    ],
}


def write(
    workspace: Workspace,
    method: str,
    dataset: str,
    values: dict[str, list[float]],
    reason: str = "",
    missing: Missing | None = None,
) -> None:
    group = Group("jpeg", dataset, "jpeg-y8", method, "whole")
    rows = [
        ImageRow(10, 0, f"image{index}", VERSIONS[name], value)
        for name, of_images in values.items()
        for index, value in enumerate(of_images)
    ]
    record = MeasuredRecord(
        group=group,
        origin="released",
        degradation_version=1,
        protocols=VERSIONS,
        code="c",
        reason=reason,
        levels={10: LevelRecord("", {"w/file.mat": "ab" * 32})},
        images=2,
        missing=missing,
    )
    write_rows(workspace.work / "rows" / group.place.with_name(group.place.name + ".csv"), record, sorted(rows))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    registry.methods()
    known = dict(registry._registry)
    for name in ("mixed", "other"):
        known[name] = Method(name, ("jpeg",), lambda task, level: None, network=lambda task, level: None)  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(registry, "_registry", known)
    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/doe-table1.yaml").write_text(yaml.safe_dump(TABLE))
    made = Workspace(tmp_path)
    write(made, "mixed", "live1", {"psnr": [29.0, 31.004], "ssim-gauss": [0.8, 0.9], "ssim-8x8": [0.85, 0.95]})
    write(made, "mixed", "classic5", {"psnr": [32.03], "ssim-gauss": [0.8], "ssim-8x8": [0.8]})
    write(made, "other", "live1", {"psnr": [35.0], "ssim-gauss": [0.9], "ssim-8x8": [0.9]})
    write(made, "other", "classic5", {"psnr": [30.0], "ssim-gauss": [0.9], "ssim-8x8": [0.9]})
    write_cost(made.work, CostRecord("mixed", (Cost("jpeg", 10, 12_345, 1, 96),)))
    monkeypatch.chdir(tmp_path)
    return made


def cells(workspace: Workspace) -> dict[tuple[str, str], dict[str, Any]]:
    results = results_of(workspace, workspace.table("doe-table1"))
    return {(r.request.row, r.request.key): json.loads(json_text([r]))[0] for r in results}


def test_verdicts_of_a_table(workspace: Workspace) -> None:
    found = cells(workspace)
    verdicts = {key: cell["verdict"] for key, cell in found.items()}
    assert verdicts == {
        ("Mixed", "live1/10/psnr"): "match",
        ("Mixed", "live1/10/ssim"): "match",
        ("Mixed", "classic5/10/psnr"): "close",
        ("Mixed", "psnr"): "close",
        ("Mixed", "parameters"): "match",
        ("Other | weights", "live1/10/psnr"): "incomparable",
        ("Other | weights", "live1/10/ssim"): "measured",
        ("Other | weights", "classic5/10/psnr"): "off",
        ("Other | weights", "psnr"): "incomparable",
        ("Other | weights", "parameters"): "not run",
        ("Lost", "live1/10/psnr"): "not run",
        ("Lost", "live1/10/ssim"): "not run",
        ("Lost", "psnr"): "not run",
        ("Lost", "parameters"): "not run",
    }
    mixed = found["Mixed", "live1/10/ssim"]
    assert (mixed["protocol"], mixed["column_protocol"]) == ("ssim-8x8", "ssim-gauss")
    assert mixed["measured"] == pytest.approx(0.9)
    assert mixed["measured_under_column_protocol"] == pytest.approx(0.85)
    assert "not comparable with the other rows" in mixed["reason"]
    assert found["Mixed", "psnr"]["measured"] == pytest.approx((30.002 + 32.03) / 2)
    assert found["Other | weights", "live1/10/psnr"]["reason"] == "retrained by others"
    assert found["Other | weights", "live1/10/ssim"]["published"] is None
    assert "suspect: a misprint of 29.50" in found["Other | weights", "classic5/10/psnr"]["reason"]
    assert found["Lost", "live1/10/psnr"]["reason"] == "no code is known"
    assert mixed["weights"] == {"w/file.mat": "ab" * 32}
    assert found["Mixed", "parameters"]["measured"] == 12345


def test_every_form_tells_the_same(workspace: Workspace) -> None:
    table = workspace.table("doe-table1")
    results = results_of(workspace, table)
    lines = list(csv.DictReader(io.StringIO(csv_text(results))))
    records = json.loads(json_text(results))
    assert [line["verdict"] for line in lines] == [record["verdict"] for record in records]
    assert [float(line["measured"]) for line in lines if line["measured"]] == [
        record["measured"] for record in records if record["measured"] is not None
    ]
    text = markdown(table, results)
    assert "0.90000 ✓" in text
    assert "*0.9000*" in text
    assert "**32.00**" in text
    assert "12.3K" in text
    assert "5 cells" not in text.split("Not run")[0]
    assert "Other \\| weights" in text
    tex = latex(table, results)
    assert r"\textbf{32.00}" in tex
    assert r"\underline{0.9000}" in tex
    assert r"Two sets \& a" in tex
    assert tex.count(r"\begin{tabular}") == tex.count(r"\end{tabular}") == 1


def test_names_cannot_inject_markup(workspace: Workspace) -> None:
    table = workspace.table("doe-table1")
    text = markdown(table, results_of(workspace, table))
    assert "<b>" not in text.replace("<br>", "")
    assert "&lt;b&gt;mean" in text


def test_the_command_exits_1_for_off_cells(workspace: Workspace) -> None:
    runner = CliRunner()
    answer = runner.invoke(harness, ["diff", "doe-table1"])
    assert isinstance(answer.exception, CheckFailedError)
    assert answer.exception.exit_code == 1
    assert "1 of 13 printed numbers of doe-table1 are off" in str(answer.exception)
    good = runner.invoke(harness, ["diff", "doe-table1", "--row", "mixed", "--format", "json"])
    assert good.exit_code == 0
    assert {cell["row"] for cell in json.loads(good.stdout)} == {"Mixed"}
    for form in ("csv", "md", "tex"):
        assert runner.invoke(harness, ["diff", "doe-table1", "--row", "Mixed", "--format", form]).exit_code == 0


def test_rendering_twice_gives_the_same_bytes(workspace: Workspace) -> None:
    table = workspace.table("doe-table1")
    made = []
    for _ in range(2):
        render(workspace, table)
        files = [path for path in workspace.results.rglob("*") if path.is_file()]
        made.append({path.relative_to(workspace.results).as_posix(): path.read_bytes() for path in files})
    assert made[0] == made[1]
    written = {f"doe-table1.{suffix}" for suffix in ("md", "tex", "csv", "json")}
    assert set(made[0]) == {*written, "metrics/doe-table1.json"}
    metrics = json.loads(made[0]["metrics/doe-table1.json"])
    assert metrics["Mixed"]["live1/10/psnr"] == pytest.approx(30.002)


def test_rows_as_a_frame(workspace: Workspace) -> None:
    from harness.tables.frames import measured_rows

    frame = measured_rows(workspace)
    assert len(frame) == 2 * 3 + 3 + 3 + 3
    mixed = frame[(frame.method == "mixed") & (frame.dataset == "live1") & (frame.protocol == "psnr")]
    assert mixed.value.mean() == pytest.approx(30.002)
    means = json.loads(CliRunner().invoke(harness, ["export", "rows", "--mean", "--format", "json"]).stdout)
    assert {m["count"] for m in means} == {1, 2}


def test_what_an_own_table_could_not_measure_is_told(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a published number there is still a reason: every cell of an own table was asked for."""
    parts = [
        {
            "task": "jpeg",
            "columns": [{"dataset": "live1", "level": 10, "metric": "psnr"}],
            "rows": [{"name": "Mixed", "method": "mixed"}, {"name": "Again", "method": "jpeg"}],
        }
    ]
    own = {"name": "mine", "paper": "", "title": "Mine", "source": "here", "parts": parts}
    (workspace.root / "tables/mine.yaml").write_text(yaml.safe_dump(own))
    results = results_of(workspace, workspace.table("mine"))
    assert [(result.request.row, result.verdict) for result in results] == [
        ("Mixed", "measured"),
        ("Again", "not run"),
    ]
    harness.main(["diff", "mine"], standalone_mode=False)
    told = capsys.readouterr().out
    assert "not run: Again (1 cell): not computed here yet; run harness repro" in told
    assert "mine: 1 of 2 numbers measured" in told


def test_what_fails_can_be_chosen(workspace: Workspace) -> None:
    def status(*options: str) -> int:
        answer = CliRunner().invoke(harness, ["diff", "doe-table1", "--row", *options])
        return getattr(answer.exception, "exit_code", answer.exit_code)

    assert status("Mixed") == 0
    assert status("Mixed", "--fail-on", "close") == 1
    assert status("Mixed", "--fail-on", "not-run") == 0
    assert status("Other | weights") == 1
    # What is worse than close fails with it.
    assert status("Other | weights", "--fail-on", "close") == 1
    assert status("Other | weights", "--fail-on", "not-run") == 1
    (workspace.root / "work/rows/jpeg/live1/jpeg-y8/mixed--whole.json").unlink()
    assert status("Mixed") == 0
    assert status("Mixed", "--strict") == 1


def test_missing_files_of_one_set_of_weights_are_one_reason(workspace: Workspace) -> None:
    """By the recorded names, whatever the sentences look like; results that name nothing are still read."""
    for dataset, file in (("live1", "first file"), ("classic5", "second")):
        write(workspace, "mixed", dataset, {}, f"fetch {file}", Missing("weights", "toy", file))
        write(workspace, "other", dataset, {}, f"no {dataset}.pt", Missing("dataset", dataset))
    table = workspace.table("doe-table1")
    here = results_of(workspace, table)
    reasons = {reason.reason: reason.cells for reason in reasons_not_run(here)}
    assert reasons["fetch first file (and so for 1 more files)"] == 3
    assert sum("more files" in reason for reason in reasons) == 1
    recorded = json.loads(json_text(here))
    assert [cell["missing"] for cell in recorded if cell["reason"] == "fetch second"] == [
        {"kind": "weights", "name": "toy", "file": "second"}
    ]
    assert all("missing" not in cell for cell in recorded if cell["measured"] is not None)
    shutil.rmtree(workspace.work / "rows")
    path = workspace.results / "doe-table1.json"
    write_text(path, json.dumps(recorded))
    assert {reason.reason: reason.cells for reason in reasons_not_run(results_of(workspace, table))} == reasons
    write_text(path, json.dumps([{key: cell[key] for key in cell if key != "missing"} for cell in recorded]))
    earlier = {reason.reason: reason.cells for reason in reasons_not_run(results_of(workspace, table))}
    assert earlier["fetch first file"] + earlier["fetch second"] == 3


def test_what_was_recorded_is_not_measured_here(workspace: Workspace) -> None:
    def strict() -> str:
        return str(CliRunner().invoke(harness, ["diff", "doe-table1", "--row", "Mixed", "--strict"]).exception)

    render(workspace, workspace.table("doe-table1"))
    assert strict() == "None"
    shutil.rmtree(workspace.work)
    assert "5 of 5 printed numbers of doe-table1 were not measured here" in strict()


def test_a_recorded_number_of_other_weights_is_nobodys(workspace: Workspace) -> None:
    """The file that the table asks for has another checksum now: what was recorded is another model's number."""
    table = workspace.table("panet-table3")
    workspace.results.mkdir(exist_ok=True)
    cells = json.loads((Path(__file__).parents[2] / "results/panet-table3.json").read_text())

    def verdicts() -> set[str]:
        (workspace.results / "panet-table3.json").write_text(json.dumps(cells))
        return {r.verdict for r in results_of(workspace, table) if r.request.row == "DnCNN"}

    assert verdicts() == {"match"}
    for cell in cells:
        cell["weights"] = dict.fromkeys(cell["weights"], "0" * 64)
    assert verdicts() == {"not run"}


def test_nothing_compared_is_a_failure(workspace: Workspace) -> None:
    answer = CliRunner().invoke(harness, ["diff", "doe-table1", "--row", "Lost"])
    assert isinstance(answer.exception, CheckFailedError)
    assert "nothing of doe-table1 could be compared: it prints 4 numbers" in str(answer.exception)


def test_a_choice_for_a_cell_alone_is_no_match_and_choices_are_told(workspace: Workspace) -> None:
    table = json.loads(json.dumps(TABLE))
    table["parts"][0]["rows"][0]["cells"] = {"live1/10/ssim": {"protocol": "ssim-8x8"}}
    (workspace.root / "tables/doe-table1.yaml").write_text(yaml.safe_dump(table))
    fresh = Workspace(workspace.root)
    results = results_of(fresh, fresh.table("doe-table1"))
    verdicts = {(r.request.row, r.request.key): r.verdict for r in results}
    assert verdicts["Mixed", "live1/10/ssim"] == "fits"
    text = markdown(fresh.table("doe-table1"), results)
    assert "- Mixed: 2: ssim by ssim-8x8; live1/10/ssim: ssim-8x8" in text
    assert "◇ fits: equal by a choice made for it" in text


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_measured_here_or_recorded_every_surface_says_the_same(workspace: Workspace) -> None:
    """After one row was run in a fresh clone, the rest is what the results in git recorded."""
    table = workspace.table("doe-table1")
    before = render(workspace, table)
    git(workspace.root, "init", "-q")
    git(workspace.root, "add", "params.yaml", "tables", "results")
    git(workspace.root, "commit", "-qm", "results")
    revision = git(workspace.root, "log", "-1", "--format=%h", "--abbrev=10").strip()
    shutil.rmtree(workspace.work)
    write(workspace, "mixed", "classic5", {"psnr": [32.0], "ssim-gauss": [0.8], "ssim-8x8": [0.8]})

    run = CliRunner()
    told = json.loads(run.invoke(harness, ["diff", "doe-table1", "--format", "json"]).stdout)
    assert [cell["verdict"] for cell in told].count("match") == [r.verdict for r in before].count("match") + 2
    recorded = {(cell["row"], cell["dataset"], cell["metric"]): cell["recorded"] for cell in told}
    assert recorded["Mixed", "classic5", "psnr"] == ""
    assert recorded["Mixed", "live1", "psnr"] == revision
    # The mean is made of both again; a part of it is recorded.
    assert recorded["Mixed", "", "psnr"] == revision
    mean = next(c for c in told if (c["row"], c["dataset"], c["metric"]) == ("Mixed", "", "psnr"))
    assert mean["measured"] == pytest.approx((30.002 + 32.0) / 2) and mean["verdict"] == "match"

    line = count(results_of(workspace, table)).text()
    assert line.startswith("5 of 13 numbers reproduced")
    surfaces = {
        "badge": ["report", "badge", "doe-table1"],
        "terminal": ["table", "doe-table1"],
        "diff": ["diff", "doe-table1"],
        "markdown": ["diff", "doe-table1", "--format", "md"],
        "render": ["stage", "render", "doe-table1"],
    }
    for name, command in surfaces.items():
        assert line in run.invoke(harness, command).output, name
    site = build_site(workspace, workspace.root / "site", names=["doe-table1"])
    page = (site.folder / "tables/doe-table1.html").read_text()
    where = (
        f"1 of the 9 measured numbers were measured here; the others are recorded in results/: 8 at revision {revision}"
    )
    assert line in page and where in page
    index = (site.folder / "index.html").read_text()
    assert "5 of 13 different published numbers are reproduced" in index
    assert "<b>5</b> reproduced to the printed digit" in index
    for command in (["table", "doe-table1"], ["diff", "doe-table1"]):
        assert where in run.invoke(harness, command).output, command
    in_file = where.replace("were measured here", "are of the run that wrote this file")
    assert in_file in run.invoke(harness, ["diff", "doe-table1", "--format", "md"]).output

    # Rendered again, the recorded numbers stay and keep their revision.
    again = {place_of(r.request): r.recorded for r in render(workspace, table)}
    git(workspace.root, "commit", "-qam", "one number measured again")
    assert {place_of(r.request): r.recorded for r in results_of(workspace, table)} == again
    shutil.rmtree(workspace.work)
    assert sorted({r.recorded for r in results_of(workspace, table)}) == sorted(
        {"", revision, git(workspace.root, "log", "-1", "--format=%h", "--abbrev=10").strip()}
    )


def test_a_recorded_number_is_judged_by_todays_rules(workspace: Workspace) -> None:
    render(workspace, workspace.table("doe-table1"))
    shutil.rmtree(workspace.work)
    table = json.loads(json.dumps(TABLE))
    table["parts"][0]["rows"][0]["fitted"] = {"psnr": "chosen on this set"}
    table["parts"][0]["rows"][1]["method"] = "mixed"
    (workspace.root / "tables/doe-table1.yaml").write_text(yaml.safe_dump(table))
    fresh = Workspace(workspace.root)
    found = {(r.request.row, r.request.key): r for r in results_of(fresh, fresh.table("doe-table1"))}
    assert found["Mixed", "live1/10/psnr"].verdict == "fits"
    # Another method is behind the row now: what was recorded is another's number.
    assert found["Other | weights", "live1/10/psnr"].verdict == "not run"


def test_columns_may_have_protocols_of_their_own(workspace: Workspace) -> None:
    """One set and level under two protocols, as tables print PSNR on RGB and on luma side by side."""
    columns = [{"dataset": "live1", "level": 10, "metric": "ssim", "protocol": f"ssim-{of}"} for of in ("gauss", "8x8")]
    row = {"name": "Mixed", "method": "mixed", "values": ["0.9000", "0.8800"]}
    plain = {"name": "two", "title": "Two", "source": "", "paper": "mine"}
    text = yaml.safe_dump({**plain, "parts": [{"task": "jpeg", "columns": columns, "rows": [row]}]})
    (workspace.root / "tables" / "two.yaml").write_text(text)
    write(workspace, "mixed", "live1", {"ssim-gauss": [0.90], "ssim-8x8": [0.88], "psnr": [30.0]})
    results = results_of(workspace, workspace.table("two"))
    assert [(r.request.key, r.request.protocol, r.verdict) for r in results] == [
        ("live1/10/ssim-gauss", "ssim-gauss", "match"),
        ("live1/10/ssim-8x8", "ssim-8x8", "match"),
    ]
    (grid,) = grids(workspace.table("two"), results)
    assert grid.heads[-1] == ("SSIM (ssim-gauss)", "SSIM (ssim-8x8)")
    (workspace.root / "tables" / "two.yaml").write_text(text.replace("ssim-gauss", "psnr"))
    with pytest.raises(HarnessError, match="'psnr' is no protocol of 'ssim'"):
        Workspace(workspace.root).table("two")


def test_the_revision_of_results_is_the_commit_that_made_them_what_they_are(tmp_path: Path) -> None:
    """That of each file, also after a merge; files of metrics inside the folder have the same names."""

    def git(*arguments: str) -> str:
        who = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")
        done = subprocess.run(["git", *who, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def commit(*names: str) -> str:
        for name in names:
            path = tmp_path / "results" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{path.read_text() if path.exists() else ''}.")
        git("add", "-A")
        git("commit", "-qm", "some")
        return git("rev-parse", "--short=10", "HEAD")

    git("init", "-q")
    first = commit("a.json", "b é.json", "metrics/b é.json")
    git("checkout", "-qb", "side")
    commit("c.json")
    git("checkout", "-q", "main")
    second = commit("a.json", "metrics/b é.json")
    git("merge", "-q", "--no-ff", "-m", "both", "side")
    merged = git("rev-parse", "--short=10", "HEAD")
    folder = tmp_path / "results"
    (folder / "new.json").write_text("")
    names = ("a.json", "b é.json", "c.json", "new.json")
    assert [Revisions(folder).of(folder / name) for name in names] == [second, first, merged, UNCOMMITTED]
    (folder / "a.json").write_text("edited")
    assert Revisions(folder).of(folder / "a.json") == UNCOMMITTED
    assert Revisions(tmp_path / "absent").of(tmp_path / "absent/a.json") == UNCOMMITTED
