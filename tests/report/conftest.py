"""Fixtures of the report: a computed workspace, its site, a browser."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from computing import compute
from small_workspace import GROUPS, LEVELS, MARKUP, PLUGIN, ROWS_ONLY, TABLES, write_tables

from harness.assets.datasets import fetch
from harness.records.restored import LevelRecord
from harness.records.rows import ImageRow, MeasuredRecord, write_rows
from harness.report.site import SiteSummary, build_site
from harness.tables.workspace import Workspace


@pytest.fixture(scope="session")
def report_workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("report")
    (root / "methods").mkdir()
    (root / "tables").mkdir()
    (root / "methods" / "report_plugin.py").write_text(PLUGIN)
    (root / "params.yaml").write_text("methods: [methods]\ntables: [tables]\n")
    workspace = Workspace(root)
    assert fetch("embedded", workspace.data).complete
    for group in GROUPS:
        compute(workspace, group, LEVELS[group.task])
    nasty = MeasuredRecord(ROWS_ONLY, "none", 1, {"psnr": "psnr.1"}, "c0de", "", {50: LevelRecord("", {})}, 2)
    rows = [ImageRow(50, 0, f"{number}{MARKUP}", "psnr.1", 20.0 + number) for number in range(2)]
    write_rows(workspace.work / "rows" / ROWS_ONLY.place.with_name(ROWS_ONLY.place.name + ".csv"), nasty, rows)
    write_tables(workspace)
    return Workspace(root)


@pytest.fixture(scope="session")
def site(report_workspace: Workspace) -> SiteSummary:
    return build_site(report_workspace, report_workspace.results / "site", names=TABLES)


def find_browser() -> str | None:
    """Path of a Chromium: the one that HARNESS_CHROMIUM names, or an installed one."""
    named = os.environ.get("HARNESS_CHROMIUM")
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    return named or next(filter(None, map(shutil.which, names)), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    path = find_browser()
    if path is None:
        pytest.skip("no Chromium was found; install chromium, or name one in HARNESS_CHROMIUM")
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox, because tests often run as root in a container; pages are the site's own files.
        made = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield made
        made.close()
