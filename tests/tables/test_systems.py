"""Systems: one entry each over all tables, numbers counted once, and a page that is what the registries say."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.cli import harness
from harness.tables.collected import collect
from harness.tables.counting import count_tables
from harness.tables.published import published_tables
from harness.tables.systems import System, markdown, systems
from harness.tables.workspace import Workspace

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "systems.md"
# Nobody has published a program of these.
NO_CODE = {"SPAIR", "SAPHN", "SA-DCT"}


@pytest.fixture(scope="module")
def found() -> dict[str, System]:
    workspace = Workspace(ROOT)
    items = collect(workspace, published_tables(), here=False)
    return {system.name: system for system in systems(items, workspace.methods())}


def test_every_system_has_a_method(found: dict[str, System]) -> None:
    assert {name for name, system in found.items() if not system.methods} == NO_CODE
    for name in NO_CODE:
        assert {reason.partition(":")[0] for reason in found[name].reasons} == {"code"}


def test_every_row_has_a_method() -> None:
    """Also one of a system that other tables have a method for, as DnCNN's of real noise."""
    known = Workspace(ROOT).methods()
    rows = [row for table in published_tables().values() for part in table.parts for row in part.rows]
    without = {row.name for row in rows if row.not_run or not row.method}
    assert without == NO_CODE
    # A column's variant makes the name, as in KiT Table 4.
    assert all(any(name.startswith(row.method) for name in known) for row in rows if row.method)


def test_every_network_was_held_to_something(found: dict[str, System]) -> None:
    workspace = Workspace(ROOT)
    methods = workspace.methods()
    for system in found.values():
        for name in system.methods:
            assert methods[name].network is None or methods[name].checked or methods[name].origin == "trained", name


def test_numbers_are_those_of_the_tables(found: dict[str, System]) -> None:
    """Two systems may share a number (a ratio of two names for one method), so the sum may be larger, never smaller."""
    workspace = Workspace(ROOT)
    names = [name for name, table in published_tables().items() if table.kind != "ablation"]
    counts = count_tables(collect(workspace, names, here=False))
    measured = counts.numbers - counts.distinct["not run"]
    assert sum(system.measured for system in found.values()) >= measured > 0
    assert sum(system.numbers for system in found.values()) >= counts.numbers


def test_the_page_is_what_is_said(found: dict[str, System]) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert text.endswith(markdown(found.values())), (
        "docs/systems.md is out of date: put the output of `harness tables --systems --format md` under its first part"
    )


def test_the_command_lists_them_as_json(monkeypatch: pytest.MonkeyPatch, found: dict[str, System]) -> None:
    monkeypatch.chdir(ROOT)
    records = json.loads(CliRunner().invoke(harness, ["tables", "--systems", "--format", "json"]).output)
    assert [record["name"] for record in records] == list(found)
    rdn = next(record for record in records if record["name"] == "RDN")
    assert rdn["measured"] + sum(rdn["open"].values()) == found["RDN"].numbers


def test_what_was_never_released_is_said_by_the_registry(found: dict[str, System]) -> None:
    """Recorded reasons are as old as the results: one named a file of another model for TNRD at sigma 10."""
    assert found["TNRD"].reasons == tuple(f"weights: no model of TNRD was released for sigma {s}" for s in (10, 30, 70))
