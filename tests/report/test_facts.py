"""What made a number, in words: from the files that the stages left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.files import write_json
from harness.records.cells import Group
from harness.report.facts import run_facts, telling_facts
from harness.tables.workspace import Workspace

GROUP = Group("denoise-rgb", "embedded", "awgn-8bit", "report-blur", "whole")


def told(root: Path, run: dict[str, Any]) -> dict[str, str]:
    workspace = Workspace(root)
    write_json(workspace.work / "timing" / GROUP.place.with_name(GROUP.place.name + ".json"), run)
    return dict(run_facts(workspace, GROUP, 50))


def test_changed_sources_and_confirmations_are_told_in_words(tmp_path: Path) -> None:
    confirmed = [
        {"code": "1da5" * 16, "images": 4, "of": 20, "revision": "904f" * 10, "dirty": True},
        {"code": "2eb6" * 16, "images": 0, "of": 0, "revision": "904f" * 10, "dirty": False},
    ]
    run = {"revision": "abc123", "dirty": True, "confirmed": confirmed}
    facts = told(tmp_path, run)
    assert facts == {
        "revision": "abc123, with changed sources",
        "also made by code 1da51da51da5": "4 of 20 images restored again, equal",
    }
    assert told(tmp_path, run | {"dirty": False})["revision"] == "abc123, no changed sources"
    assert told(tmp_path, run | {"dirty": None})["revision"] == "abc123"
    # Without a revision nobody knows what the sources differ from.
    assert told(tmp_path, {"revision": "", "dirty": True}) == {}


def test_what_was_not_recorded_is_not_told_as_zero(tmp_path: Path) -> None:
    run = {"cores": 0, "memory": 0, "gpu_memory": 0, "wall_seconds": 0.0, "device": "cpu", "seconds": {}}
    assert told(tmp_path, run) == {"device": "cpu"}
    assert told(tmp_path, {"cores": 2, "wall_seconds": 0.029265}) == {"wall time of the run": "0.0293 s", "cores": "2"}


def test_telling_facts_are_few_and_keep_their_order(tmp_path: Path) -> None:
    facts = [
        ("weights panet/50.pt", "ab" * 32),
        ("code fingerprint", "c0de"),
        ("time", "2 s an image (24 images)"),
        ("revision", "abc"),
        ("command", "harness restore"),
        ("finished (UTC)", "2026-01-01"),
        ("memory", "1 MiB"),
        ("libraries", "bm3d 4.0.3, numpy 2.4.6, restoration-harness 0.1.0, torchvision 0.28.0, torch 2.13.0+cpu"),
    ]
    found = telling_facts(facts)
    assert [label for label, _ in found] == [
        *("weights panet/50.pt", "code fingerprint", "time", "revision", "finished (UTC)", "versions")
    ]
    assert dict(found)["versions"] == "numpy 2.4.6, restoration-harness 0.1.0, torch 2.13.0+cpu"
