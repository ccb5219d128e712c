"""Revalidation: what stands between trying a group and telling DVC that it stands."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness.records.cells import Group
from harness.records.restored import RECORD
from harness.run import revalidation
from harness.run.revalidation import RevalidatedGroup, revalidate

GROUPS = [Group("jpeg", "embedded-gray", "jpeg-y8", name, "whole") for name in ("jpeg", "arcnn")]


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_replaced_after_the_trial(
    replaced: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DVC would record it as what made the images: that group is left, the others are kept."""
    first, second = targets = [f"dvc.yaml:restore@{group.name}" for group in GROUPS]
    told = {t: {f"work/code/method-{g.method}.json"} for t, g in zip(targets, GROUPS, strict=True)}
    later = {**told, second: told[second] | ({"weights.pth"} if replaced else set())}
    answers, commands = [told, later], []
    for group in GROUPS:
        (tmp_path / "work/restored" / group.place).mkdir(parents=True)
        (tmp_path / "work/restored" / group.place / RECORD).touch()
    plans = [SimpleNamespace(group=group) for group in GROUPS]
    monkeypatch.setattr(revalidation, "pipeline_stages", lambda workspace: {})
    monkeypatch.setattr(
        revalidation, "stages_of", lambda graph, verb, groups: [f"dvc.yaml:{verb}@{group.name}" for group in groups]
    )
    monkeypatch.setattr(revalidation, "plans", lambda tables, methods: plans)
    monkeypatch.setattr(revalidation, "_outdated", lambda workspace, targets: answers.pop(0))
    monkeypatch.setattr(
        revalidation, "_try", lambda workspace, plan, *rest: RevalidatedGroup(plan.group, "kept", "equal")
    )
    monkeypatch.setattr(revalidation, "run_dvc", lambda workspace, command: commands.append(command))
    methods = dict.fromkeys(group.method for group in GROUPS)
    workspace: Any = SimpleNamespace(work=tmp_path / "work", methods=lambda: methods)
    outcomes = revalidate(workspace, [], images=1)
    assert [outcome.verdict for outcome in outcomes] == ["kept", "left" if replaced else "kept"]
    assert commands[-1] == ["commit", "--force", first, *([] if replaced else [second])]
    if replaced:
        assert outcomes[1].detail == "not only code has changed: weights.pth"
