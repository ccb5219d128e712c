"""Training logs as curves."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.files import write_json
from harness.report.site import build_site
from harness.report.training_curves import read_curves, read_training_runs
from harness.tables.workspace import Workspace

LOG = "iteration,loss,psnr,note\n100,0.5,,a\n200,0.25,28.5,b\n300,0.2,29.0,c\n40"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    (tmp_path / "params.yaml").write_text("methods: []\n")
    folder = tmp_path / "work" / "trained" / "denoise-rgb" / "small" / "50"
    folder.mkdir(parents=True)
    (folder / "log.csv").write_text(LOG)
    write_json(folder / "training.json", {"budget": "smoke", "iterations": 300})
    return Workspace(tmp_path)


def test_curves_are_the_columns_of_a_log(workspace: Workspace) -> None:
    run = read_training_runs(workspace)[0]
    assert run.name == "trained/denoise-rgb/small/50"
    assert dict(run.facts) == {"budget": "smoke", "iterations": "300"}
    assert {curve.name: curve.points for curve in run.curves} == {
        "loss": ((100, 0.5), (200, 0.25), (300, 0.2)),
        "psnr": ((200, 28.5), (300, 29.0)),
    }


def test_a_long_log_is_thinned_and_keeps_its_ends(tmp_path: Path) -> None:
    lines = "".join(f"{i},{1 / (i + 1)}\n" for i in range(10_000))
    (tmp_path / "log.csv").write_text("iteration,loss\n" + lines)
    points = read_curves(tmp_path / "log.csv")[0].points
    assert len(points) < 500 and points[0][0] == 0 and points[-1][0] == 9999


def test_the_site_has_a_page_of_them(workspace: Workspace, tmp_path: Path) -> None:
    made = build_site(workspace, tmp_path / "site", names=["embedded"], budget=0)
    page = (made.folder / "training.html").read_text()
    assert "trained/denoise-rgb/small/50" in page and "smoke" in page and page.count("<polyline") == 2
