"""The badge and the summary say what the results say."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from small_workspace import MARKUP

from harness.cli import harness
from harness.report.badge import badge_svg, badge_text
from harness.tables.collected import collect
from harness.tables.counting import count_tables
from harness.tables.workspace import Workspace


def test_the_line_counts_printed_numbers(report_workspace: Workspace) -> None:
    found = collect(report_workspace, ["report-mine"])
    counts = count_tables(found)
    text = badge_text("report-mine", found)
    assert text.startswith(f"report-mine: {counts.distinct['match']} of {counts.numbers} numbers reproduced")
    for verdict in ("close", "off", "incomparable", "not run"):
        assert f"{counts.distinct[verdict]} {verdict}" in text  # type: ignore[index]


def test_the_picture_says_the_line(report_workspace: Workspace) -> None:
    found = collect(report_workspace, ["report-mine"])
    picture = badge_svg(MARKUP, found)
    root = ElementTree.fromstring(picture)
    assert root.attrib["aria-label"] == badge_text(MARKUP, found)
    assert "<script>" not in picture and "<img" not in picture
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", picture)


@pytest.fixture
def run(report_workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(report_workspace.root)
    return lambda *arguments: CliRunner().invoke(harness, list(arguments))


def test_commands(run: Any, tmp_path: Path) -> None:
    badge = run("report", "badge", "report-mine", "--svg", str(tmp_path / "badge.svg"))
    assert badge.exit_code == 0 and "2 of 12 numbers reproduced" in badge.output
    assert ElementTree.parse(tmp_path / "badge.svg").getroot().tag.endswith("svg")
    summary = run("report", "--summary", "--table", "report-mine")
    assert summary.exit_code == 0
    line = next(text for text in summary.output.splitlines() if text.startswith("report-mine"))
    assert line.split()[2:] == ["2", "·", "·", "2", "3", "2", "·", "3", "12"]
    made = run("report", "--table", "report-mine", "--out", str(tmp_path / "site"), "--megabytes", "0.5")
    assert made.exit_code == 0 and (tmp_path / "site" / "index.html").is_file()
    assert os.fspath(tmp_path / "site" / "index.html") in made.output
    assert run("report", "--table", "report-min").exit_code != 0
    assert run("report", "--megabytes", "-1").exit_code != 0
