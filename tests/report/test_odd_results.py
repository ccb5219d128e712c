"""Results that are no usual numbers, or no results at all: what is infinite is told, what is damaged stops nothing."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from computing import compute
from msgspec.structs import replace

from harness.assets.datasets import fetch
from harness.cli import harness
from harness.errors import HarnessError
from harness.records.cells import Group
from harness.records.rows import read_rows, write_rows
from harness.report.changes import compare_runs
from harness.report.render import render
from harness.tables.measurements import Measurement, Measurements
from harness.tables.workspace import Workspace

PLUGIN = """
import numpy as np
from harness.methods import method


@method("report-copies", tasks=["denoise-rgb"], title="Copies", on="images")
def build(task, level):
    from harness.assets.datasets import open_dataset

    def restored(dataset, image):
        pixels = open_dataset(dataset, "data").read(image)
        return pixels if image == "coffee" else 255 - pixels

    return restored
"""
GROUPS = tuple(Group("denoise-rgb", "embedded", "awgn-8bit", name, "whole") for name in ("report-copies", "noisy"))


def table(name: str, method: str) -> dict[str, Any]:
    columns = [{"metric": "psnr", "dataset": "embedded", "level": 30}]
    row = {"name": method, "method": method, "values": ["20.00"]}
    part = {"task": "denoise-rgb", "degradation": "awgn-8bit", "columns": columns, "rows": [row]}
    return {"name": name, "paper": "", "title": name, "source": "a test", "parts": [part]}


def refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def strict(text: str) -> Any:
    """Parse JSON as the standard has it: Python's own reader takes ``Infinity``."""
    return json.loads(text, parse_constant=refuse)


@pytest.fixture(scope="module")
def computed_once(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Two tables, in one of which an image equals its ground truth."""
    root = tmp_path_factory.mktemp("odd")
    for folder in ("methods", "tables"):
        (root / folder).mkdir()
    (root / "params.yaml").write_text("methods: [methods]\ntables: [tables]\n")
    (root / "methods" / "report_copies.py").write_text(PLUGIN)
    for name, method in (("odd", "report-copies"), ("usual", "noisy")):
        (root / f"tables/{name}.yaml").write_text(json.dumps(table(name, method)))
    workspace = Workspace(root)
    assert fetch("embedded", workspace.data).complete
    with pytest.MonkeyPatch.context() as patched:
        patched.chdir(root)
        for group in GROUPS:
            compute(workspace, group, (30, 50))
    return workspace


@pytest.fixture
def computed(computed_once: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A copy to damage."""
    shutil.copytree(computed_once.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return Workspace(tmp_path)


def run(*arguments: str) -> Result:
    done = CliRunner().invoke(harness, arguments)
    assert done.exception is None, done.output
    return done


REPORTS = (
    ("report", "--table", "odd", "--table", "usual"),
    ("report", "badge", "odd"),
    ("report", "badge", "usual"),
    ("report", "--summary", "--table", "odd", "--table", "usual"),
)


def test_an_infinite_psnr_is_valid_json_and_told(computed: Workspace) -> None:
    render(computed, computed.table("odd"))
    (cell,) = strict((computed.results / "odd.json").read_text())
    assert cell["measured"] == "inf" and cell["delta"] == "inf" and cell["verdict"] != "match"
    told = "infinite, because the restored coffee equals the ground truth"
    assert told in cell["reason"] and told in (computed.results / "odd.md").read_text()
    assert ",inf,inf," in (computed.results / "odd.csv").read_text()
    for command in REPORTS:
        run(*command)
    pages = {path.name: path.read_text() for path in (computed.results / "site").rglob("*.html")}
    assert sum(told in page for page in pages.values()) >= 1
    for page in pages.values():
        for data in page.split('<script type="application/json"')[1:]:
            strict(data.split(">", 1)[1].split("</script>")[0])
    values = strict(run("export", "rows", "--format", "json", "--method", "report-copies").stdout)
    assert [row["value"] for row in values if row["image"] == "coffee" and row["protocol"] == "psnr"] == ["inf", "inf"]
    # A fresh clone has the results alone.
    (computed.work / "rows").rename(computed.root / "elsewhere")
    for command in REPORTS:
        run(*command)
    (computed.root / "elsewhere").rename(computed.work / "rows")
    changes = compare_runs(computed, str(computed.root), str(computed.root))
    assert not changes.changes and changes.unchanged


@pytest.mark.parametrize("content", [b'[{"measured": Infinity}]', b"\xff\xfe", b"", b"[" * 100_000])
def test_a_damaged_results_file_stops_no_other_page(computed: Workspace, content: bytes) -> None:
    for name in ("odd", "usual"):
        render(computed, computed.table(name))
    (computed.results / "odd.json").write_bytes(content)
    for command in REPORTS:
        said = run(*command).stderr
        assert ("odd.json: not a table's results" in said) == (command != ("report", "badge", "usual")), said
    assert (computed.results / "site" / "index.html").is_file()


def test_damaged_rows_stop_no_other_page_but_their_own_table(computed: Workspace) -> None:
    for name in ("odd", "usual"):
        render(computed, computed.table(name))
    rows = computed.work / "rows" / GROUPS[0].place.with_name(GROUPS[0].place.name + ".csv")
    text = rows.read_text()
    rows.write_text(text.replace("chelsea", "Chelsea"))
    for command in REPORTS:
        assert ("rows" in (said := run(*command).stderr) and "damaged" in said) == (
            command != ("report", "badge", "usual")
        ), said
    with pytest.raises(HarnessError, match=r"report-copies--whole\.csv: damaged \(its checksum is not the recorded"):
        render(computed, computed.table("odd"))
    rows.write_text(text)
    rows.with_suffix(".json").write_text("{")
    for command in REPORTS:
        assert ("not valid JSON" in (said := run(*command).stderr)) == (command != ("report", "badge", "usual")), said


def test_an_infinite_further_draw_leaves_the_spread_unknown(computed: Workspace) -> None:
    path = computed.work / "rows" / GROUPS[1].place.with_name(GROUPS[1].place.name + ".csv")
    record, rows = read_rows(path)
    write_rows(path, record, sorted([*rows, *(replace(row, draw=1, value=math.inf) for row in rows)]))
    found = Measurements(computed.work).value(GROUPS[1], 30, "psnr")
    assert isinstance(found, Measurement) and math.isfinite(found.value) and found.spread is None
