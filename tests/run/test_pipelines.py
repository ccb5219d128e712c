"""The generated pipelines: DVC makes of them what the harness meant, and a person can read them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
from dvc.repo import Repo

from harness.errors import HarnessError
from harness.methods.fingerprints import PACKAGE
from harness.records.cells import Group
from harness.run import pipeline
from harness.run.graph import Step, stage_graph, stage_of
from harness.tables.requests import Plan
from harness.tables.workspace import Workspace

ROOT = PACKAGE.parent


def _paths(stage: dict[str, object], kind: str) -> set[str]:
    found = stage.get(kind, [])
    assert isinstance(found, list)
    return {next(iter(item)) if isinstance(item, dict) else item for item in found}


def test_dvc_reads_what_the_harness_makes() -> None:
    """Templates are filled in twice, by DVC and for the graph of stages: to the same stages, in every field."""
    read = {(os.path.relpath(stage.path, ROOT), stage.name): stage for stage in Repo(str(ROOT)).index.stages}
    made = {
        (str(path), name): stage
        for path, stages in pipeline.pipeline_stages(Workspace(ROOT)).items()
        for name, stage in stages.items()
    }
    assert len(made) > 300 and read.keys() == made.keys()
    for address, stage in made.items():
        found = read[address]
        assert found.cmd == stage["cmd"].command
        for kind in ("deps", "outs"):
            paths = {Path(item.fs_path).relative_to(ROOT).as_posix() for item in getattr(found, kind)}
            wanted = _paths(stage, kind) | (_paths(stage, "metrics") if kind == "outs" else set())
            assert wanted <= paths and paths - wanted <= {"params.yaml", "training.yaml"}, address
        assert found.always_changed == bool(stage.get("always_changed"))


def test_a_person_can_read_every_pipeline() -> None:
    files = [ROOT / "dvc.yaml", *ROOT.glob("pipelines/**/dvc.yaml")]
    assert len(files) > 50
    for file in files:
        text = file.read_text()
        assert len(text.splitlines()) < 80, file
        assert str(ROOT) not in text and ": /" not in text and "- /" not in text


def test_an_item_that_is_no_word_of_a_command_is_refused() -> None:
    family = pipeline.Family({"cmd": "harness cost ${item}"}, {"a": "$(touch x)"}, {"a": Step("", "cost")})
    with pytest.raises(HarnessError, match="cannot stand in a command"):
        dict(family.stages("cost"))


def test_a_stage_is_found_by_what_it_does() -> None:
    graph = stage_graph(pipeline.pipeline_stages(Workspace(ROOT)))
    group = Group("jpeg", "classic5", "jpeg-y8", "jpeg", "whole")
    assert stage_of(graph, "measure", group) == "pipelines/jpeg/classic5/dvc.yaml:measure@jpeg--whole"
    assert stage_of(graph, "render", "panet-table3") == "pipelines/tables/panet-table3/dvc.yaml:panet-table3"
    assert stage_of(graph, "render", "embedded") == "embedded"
    with pytest.raises(HarnessError, match="no stage does 'cost' for nobody"):
        stage_of(graph, "cost", "nobody")


def test_a_dependency_named_like_a_parameter_and_a_dataset_named_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC puts no text into a variable that looks like one; and the pipelines of training are where datasets' are."""
    workspace = Workspace(ROOT)
    group = Group("denoise-rgb", "training", "awgn-seed0-8bit", "noisy", "whole")
    odd = replace(workspace.methods()["noisy"], depends=(ROOT / "methods/${x}.pth",))
    monkeypatch.setattr(workspace, "methods", lambda: {"noisy": odd})
    monkeypatch.setattr(workspace, "tables", dict)
    monkeypatch.setattr(pipeline, "plans", lambda tables, methods: [Plan(group, (50,), ("psnr",))])
    items = {"a": {"run": "a", "data": "bsd400"}}
    trained = pipeline.Family({"cmd": "harness stage train ${item.run}"}, items, {"a": Step("")})
    monkeypatch.setattr(pipeline._Writer, "training_stages", lambda writer: {"denoise-rgb": {"train": trained}})
    stages = pipeline.pipeline_stages(workspace)[PurePosixPath("pipelines/denoise-rgb/training/dvc.yaml")]
    assert len(stages) == 4 and {"inputs@awgn-seed0-8bit", "train@a"} <= set(stages)
    (restore,) = (stage for name, stage in stages.items() if name.startswith("restore-"))
    assert r"methods/\${x}.pth" in restore["deps"]
    assert stage_of(stage_graph({PurePosixPath("x/dvc.yaml"): stages}), "measure", group)


def test_many_methods_are_spread_over_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """DVC writes a file's whole lock after every stage."""
    whole = pipeline.pipeline_stages(Workspace(ROOT))
    monkeypatch.setattr(pipeline, "MOST_GROUPS", 2)
    parts = pipeline.pipeline_stages(Workspace(ROOT))
    assert any(path.parent.name == "part2" for path in parts)
    assert all(sum(name.startswith("restore") for name in stages) <= 2 for stages in parts.values())

    def everything(files: dict[object, dict[str, dict[str, object]]]) -> dict[str, set[str]]:
        return {str(stage["cmd"]): _paths(stage, "deps") for stages in files.values() for stage in stages.values()}

    assert everything(whole) == everything(parts)  # type: ignore[arg-type]
