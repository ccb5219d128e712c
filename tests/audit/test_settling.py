"""Claims about rows: what is supported, what cannot be tested, and how seldom equal methods are told apart."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import harness.methods as registry
from harness.audit import settling
from harness.audit.claims_page import DATA, PAGE, Evidence, render_page
from harness.audit.outcomes import OverlapFinding
from harness.audit.overlap import Overlap
from harness.audit.settling import exit_status, read_claim, settle, settle_marks
from harness.cli import harness
from harness.errors import HarnessError
from harness.files import write_json
from harness.methods import Method
from harness.records.cells import Group
from harness.records.loading import load_json
from harness.records.restored import LevelRecord
from harness.records.rows import ImageRow, MeasuredRecord, write_rows
from harness.tables.collected import collect
from harness.tables.comparison import PairedValues
from harness.tables.measurements import Measurements
from harness.tables.published import published_number, published_tables
from harness.tables.workspace import Workspace

VERSIONS = {"psnr": "psnr.1", "psnr-y": "psnr.1-y.1"}
PRINTED = {
    "Ours": ("**30.00**", "**31.00**"),
    "Base": ("29.50", "30.00"),
    "Alike": ("29.51", "30.01"),
    "Twisted": ("29.80", "30.20"),
    "Lucky": ("29.70", "30.10"),
    "Lost": ("_29.90_", "_30.90_"),
}
HARD = np.random.default_rng(99).normal(29, 3, 24)


def write(workspace: Workspace, method: str, dataset: str, gain: Any, gain_y: Any = None) -> None:
    count = 24 if dataset == "kodak24" else 5
    names = [f"kodim{i + 1:02}" if dataset == "kodak24" else f"image{i}" for i in range(count)]
    group = Group("denoise-rgb", dataset, "awgn-float", method, "whole", "round")
    gains = {"psnr": gain, "psnr-y": gain if gain_y is None else gain_y}
    rows = [
        ImageRow(50, 0, name, VERSIONS[protocol], float(HARD[i] + gains[protocol][i]))
        for protocol in VERSIONS
        for i, name in enumerate(names)
    ]
    record = MeasuredRecord(group, "none", 1, VERSIONS, "c", "", {50: LevelRecord("", {})}, count)
    write_rows(workspace.work / "rows" / group.place.with_name(group.place.name + ".csv"), record, sorted(rows))


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    registry.methods()
    known = dict(registry._registry)
    for name in PRINTED:
        known[name.lower()] = Method(name.lower(), ("denoise-rgb",), lambda task, level: None)  # type: ignore[arg-type,return-value]
    monkeypatch.setattr(registry, "_registry", known)
    rows = [{"name": name, "method": name.lower(), "values": list(values)} for name, values in PRINTED.items()]
    columns = [{"dataset": name, "level": 50, "metric": "psnr"} for name in ("kodak24", "set5")]
    part = {"task": "denoise-rgb", "degradation": "awgn-float", "protocol": {"psnr": "psnr"}}
    table = {
        "name": "mine",
        "paper": "",
        "title": "T",
        "source": "here",
        "parts": [part | {"columns": columns, "rows": rows}],
    }
    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables/mine.yaml").write_text(yaml.safe_dump(table))
    made = Workspace(tmp_path)
    draw = np.random.default_rng(1)
    noise = {name: draw.normal(0, 0.05, 24) for name in PRINTED}
    only_one = np.where(np.arange(24) < 8, 0.2, 0.0)
    for dataset in ("kodak24", "set5"):
        write(made, "ours", dataset, 0.5 + noise["Ours"])
        write(made, "base", dataset, noise["Base"])
        write(made, "alike", dataset, noise["Alike"])
        write(made, "twisted", dataset, 0.2 + noise["Twisted"], -0.2 + noise["Twisted"])
        write(made, "lucky", dataset, only_one + noise["Base"] + noise["Lucky"] / 20)
    monkeypatch.chdir(tmp_path)
    return made


def verdict(workspace: Workspace, text: str) -> settling.Settled:
    [one] = settle(read_claim(text), collect(workspace, ["mine"]), Measurements(workspace.work), workspace.root)
    return one


def test_every_verdict(workspace: Workspace) -> None:
    one = verdict(workspace, "Ours > Base on Kodak24 sigma 50")
    assert (one.verdict, one.signature, one.images) == ("supported", "psnr.1|b0|all-channels|unrounded", 24)
    assert one.low is not None and one.high is not None and 0 < one.low < 0.5 < one.high + 0.1 < 1
    assert one.printed == "30.00 and 29.50: as claimed"
    assert "not known here" in one.why
    assert verdict(workspace, "Ours > Base on kodak24 by 0.3 dB").verdict == "supported"
    one = verdict(workspace, "Ours > Base on kodak24 by 0.9 dB")
    assert (one.verdict, one.printed) == ("reversed", "30.00 and 29.50: 0.5 and not 0.9")
    assert one.why.endswith("the lead is smaller than claimed")
    assert verdict(workspace, "Alike > Base on kodak24").verdict == "not separable"
    assert verdict(workspace, "base > OURS on kodak24").verdict == "reversed"
    assert "the print says the reverse" in verdict(workspace, "Base > Ours on kodak24").printed
    one = verdict(workspace, "Twisted > Base on kodak24")
    assert one.verdict == "reversed under one protocol" and "psnr-y: -0.191" in one.why
    one = verdict(workspace, "Ours > Base on Set5")
    assert one.verdict == "not separable" and "cannot give a p below 0.0625" in one.why
    assert one.low is not None and one.low > 0, "Student's interval would call them different"
    one = verdict(workspace, "Lost > Base on Set5")
    assert one.verdict == "untestable"
    assert one.why.startswith("Lost: no measured number for Set5: not computed here yet")
    assert one.difference is None and one.missing == ("run",)


def test_a_lead_that_rests_on_training_images_is_told(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def shared(count: int, listed: int) -> None:
        examples = tuple(Overlap("a", f"kodim{i + 1:02}", "same", 1.0) for i in range(listed))
        overlap = OverlapFinding("bsd400", "kodak24", count, count, 400, 24, {"same": count}, examples)
        rest: dict[str, Any] = {"audits": [], "controls": [], "held_out": [], "not_audited": {}, "same": {}, "sets": {}}
        write_json(workspace.root / "docs" / "findings.json", rest | {"overlaps": [overlap]})

    assert verdict(workspace, "Lucky > Base on kodak24").verdict == "supported"
    shared(8, 8)
    one = verdict(workspace, "Lucky > Base on kodak24")
    assert one.verdict == "depends on training images" and "without kodim01, kodim02" in one.why
    one = verdict(workspace, "Ours > Base on kodak24")
    assert one.verdict == "supported" and "also without kodim01" in one.why
    shared(20, 8)
    one = verdict(workspace, "Lucky > Base on kodak24")
    assert one.verdict == "supported" and "20 of its images" in one.why, "not all are known, and that is said"


def test_bold_marks_a_file_and_the_exit_status(workspace: Workspace) -> None:
    found = settle_marks(collect(workspace, ["mine"])[0], Measurements(workspace.work), workspace.root)
    assert [(one.claim, one.dataset, one.verdict) for one in found] == [
        ("Ours > Lost", "kodak24", "untestable"),
        ("Ours > Lost", "set5", "untestable"),
    ]
    run = CliRunner().invoke
    done = run(harness, ["claim", "Ours > Base on kodak24", "--format", "json"])
    assert done.exit_code == 0 and json.loads(done.stdout)[0]["verdict"] == "supported"
    assert run(harness, ["claim", "Base > Ours on kodak24", "Ours > Lost on set5"]).exit_code == 1
    Path("paper.yaml").write_text("claims: ['Ours > Base on kodak24']\nmarks: [mine]\n")
    done = run(harness, ["claim", "paper.yaml"])
    assert done.exit_code == 2 and "1 supported, 2 untestable" in done.stdout
    Path("paper.yaml").write_text("claim: ['Ours > Base on kodak24']\n")
    with pytest.raises(HarnessError, match=r"paper\.yaml"):
        run(harness, ["claim", "paper.yaml"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Ours better than Base", "is no claim"),
        ("Ours >", "is no claim"),
        ("> Base", "is no claim"),
        ("A > B > C", "is no claim"),
        ("Ours > Bsae", "did you mean"),
        ("Ours > Base on kodak24 sigma 30", "they share kodak24 50 psnr, set5 50 psnr"),
        ("Ours > Base on set14", "no column"),
    ],
)
def test_what_is_no_claim_is_refused(workspace: Workspace, text: str, said: str) -> None:
    with pytest.raises(HarnessError, match=said):
        verdict(workspace, text)


@pytest.mark.parametrize(
    ("images", "tails"),
    [(5, "normal"), (6, "normal"), (8, "normal"), (12, "normal"), (29, "normal"), (12, "student")],
)
def test_equal_methods_are_called_different_in_at_most_five_of_a_hundred(
    monkeypatch: pytest.MonkeyPatch, workspace: Workspace, images: int, tails: str
) -> None:
    rng = np.random.default_rng(0)
    draw = (lambda: rng.normal(0, 0.3, images)) if tails == "normal" else lambda: 0.3 * rng.standard_t(3, images)

    def equal(*_: Any) -> PairedValues:
        hard = rng.normal(30, 4, images)
        return PairedValues(tuple(map(str, range(images))), hard + draw(), hard + draw(), 1)

    monkeypatch.setattr(settling, "paired_values", equal)
    cells = collect(workspace, ["mine"])[0].results
    tests = [settling._test(cells[0], cells[1], "psnr", 0.0, Measurements(workspace.work)) for _ in range(1000)]
    different = sum(not isinstance(test, str) and test.outcome != "not separable" for test in tests)
    assert different <= 50
    assert images == 5 or different > 5, "a test that never tells anything apart would pass as well"


def test_the_page_is_what_its_evidence_says() -> None:
    found = load_json(DATA, Evidence)
    assert PAGE.read_text(encoding="utf-8") == render_page(found)
    printed = {
        (table.name, row.name, number.text)
        for table in published_tables().values()
        for part in table.parts
        for row in part.rows
        for value in row.values
        if (number := published_number(value)) is not None
    }
    bold = sum(
        number.mark == "best" and bool(column.dataset) and column.metric in ("psnr", "ssim")
        for table in published_tables().values()
        for part in table.parts
        for row in part.rows
        for column, value in zip(part.columns, row.values, strict=False)
        if (number := published_number(value)) is not None
    )
    assert len(found.marks) == bold
    for one in (*found.marks, *found.orders):
        numbers = one.printed.partition(":")[0].split(" and ")
        for table in one.tables:
            assert all((table, row, text) in printed for row, text in zip(one.claim.split(" > "), numbers, strict=True))
    assert exit_status(found.orders) in (0, 1)
