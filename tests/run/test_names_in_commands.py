"""Names that would become commands or paths: refused where they enter, quoted where they leave.

Each is put into the real file or command; nothing it names may be run or written.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from dvc_projects import DvcProject

from harness.assets.datasets.registry import read_record
from harness.assets.manifest import DatasetManifest
from harness.cli import harness
from harness.errors import HarnessError
from harness.methods import method
from harness.methods.fingerprints import PACKAGE
from harness.records.cells import Group
from harness.records.loading import load_json
from harness.records.restored import RECORD, read_restored
from harness.records.training_runs import PLANS, TrainingPlan, TrainingRun, parse_run, read_training_plans
from harness.run import pipeline as stages
from harness.tables.published import read_table
from harness.tables.workspace import Workspace
from harness.training.recipe import read_recipe, recipe_file

NAMES = (
    "bsd400; touch HARM #",
    "../../..",
    "$(touch HARM)",
    "`touch HARM`",
    "a b",
    "-x",
    "a\nb",
    "${item.run}",
    "x" * 300,
)
RUN = "panet-s--denoise-rgb-50"


def training(where: Path, name: str) -> Any:
    (where / PLANS).write_text(yaml.safe_dump({"runs": {RUN: {"budget": "smoke", "data": name}}}))
    return read_training_plans(where)


def training_run(where: Path, name: str) -> Any:
    (where / PLANS).write_text(yaml.safe_dump({"runs": {f"{name}--denoise-rgb-50": {"budget": "smoke"}}}))
    return read_training_plans(where)


def recipe_data(where: Path, name: str) -> Any:
    plain = yaml.safe_load(recipe_file("panet-jpeg").read_text())
    (where / "panet-jpeg.yaml").write_text(yaml.safe_dump(plain | {"data": name}))
    return read_recipe(where / "panet-jpeg.yaml")


def recipe_validation(where: Path, name: str) -> Any:
    plain = yaml.safe_load(recipe_file("panet-jpeg").read_text())
    plain["validation"]["datasets"] = [name]
    (where / "panet-jpeg.yaml").write_text(yaml.safe_dump(plain))
    return read_recipe(where / "panet-jpeg.yaml")


def table_of(key: str) -> Callable[[Path, str], Any]:
    def put(where: Path, name: str) -> Any:
        column = {"dataset": "live1", "level": 10, "metric": "psnr"}
        row = {"name": "R", "method": "jpeg"}
        part: dict[str, Any] = {"task": "jpeg", "columns": [column], "rows": [row]}
        plain = {"name": "t", "paper": "", "title": "t", "source": "s", "parts": [part]}
        holder = {"name": plain, "task": part, "degradation": part, "dataset": column, "variant": column}.get(key, row)
        holder[key] = {"psnr": name} if key == "protocol" else name
        (where / "t.yaml").write_text(yaml.safe_dump(plain))
        return read_table(where / "t.yaml")

    return put


GROUP = {"task": "jpeg", "dataset": "live1", "degradation": "jpeg-y8", "method": "jpeg", "policy": "whole"}
RESTORED = {"origin": "none", "degradation_version": 1, "code": "", "reason": "", "levels": {}, "images": {}}


def group_of(key: str) -> Callable[[Path, str], Any]:
    def put(where: Path, name: str) -> Any:
        (where / RECORD).write_text(json.dumps(RESTORED | {"group": GROUP | {key: name}}))
        return read_restored(where)

    return put


def trained_record(where: Path, name: str) -> Any:
    (where / "run.json").write_text(json.dumps({"task": "jpeg", "method": name, "level": 10}))
    return load_json(where / "run.json", TrainingRun)


def registry(key: str) -> Callable[[Path, str], Any]:
    def put(where: Path, name: str) -> Any:
        plain = json.loads((PACKAGE / "assets/datasets/registry/set5.json").read_text())
        (where / "set5.json").write_text(json.dumps(plain | {key: [name] if key == "aliases" else name}))
        return read_record(where / "set5.json")

    return put


def released(where: Path, name: str) -> Any:
    return method("names-in-commands", ["jpeg"], on="images", released=[name])


def weights(where: Path, name: str) -> Any:
    return method("names-in-commands", ["jpeg"], origin="released", weights=[name])


def option(*words: str) -> Callable[[Path, str], Any]:
    def put(where: Path, name: str) -> Any:
        (where / "params.yaml").write_text("{}\n")
        done = CliRunner().invoke(harness, [word.replace("NAME", name) for word in words])
        assert done.exception is not None
        raise done.exception

    return put


SET = ("--task", "jpeg", "--dataset", "live1", "--degradation", "jpeg-y8")
POLICY = ("--policy", "whole", "--protocols", "psnr")
ENTRIES = {
    "data of training.yaml": training,
    "run of training.yaml": training_run,
    "data of a recipe": recipe_data,
    "validation of a recipe": recipe_validation,
    "trained record": trained_record,
    "released of a method": released,
    "weights of a method": weights,
    **{f"{key} of a table": table_of(key) for key in ("name", "task", "degradation", "dataset", "variant", "method")},
    **{f"{key} of a table": table_of(key) for key in ("policy", "saving", "protocol")},
    **{f"{key} of restored.json": group_of(key) for key in (*GROUP, "saving")},
    "alias of a dataset": registry("aliases"),
    "name of a dataset": registry("name"),
    "base of a dataset": registry("base"),
    "inputs --task": option("stage", "inputs", "--task=NAME", *SET[2:], "--levels", "10"),
    "inputs --dataset": option("stage", "inputs", *SET[:2], "--dataset=NAME", *SET[4:], "--levels", "10"),
    "inputs --degradation": option("stage", "inputs", *SET[:4], "--degradation=NAME", "--levels", "10"),
    "restore --method": option("stage", "restore", *SET, "--method=NAME", "--policy", "whole", "--levels", "10"),
    "restore --policy": option("stage", "restore", *SET, "--method", "jpeg", "--policy=NAME", "--levels", "10"),
    "measure --method": option("stage", "measure", *SET, "--method=NAME", *POLICY),
    "measure --dataset": option("stage", "measure", *SET[:2], "--dataset=NAME", *SET[4:], "--method", "jpeg", *POLICY),
    "train --data": option(
        "train", "panet-s", "--task", "denoise-rgb", "--level", "50", "--budget", "smoke", "--data=NAME"
    ),
    "stage train": option("stage", "train", "--", "NAME"),
    "new method": option("new", "method", "--", "NAME"),
    "stage render": option("stage", "render", "--", "NAME"),
}


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
@pytest.mark.parametrize("entry", ENTRIES)
def test_a_name_that_is_none_is_refused_where_it_enters(
    entry: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = tmp_path / "a" / "b" / "c" / "d"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    with pytest.raises((HarnessError, SystemExit)) as refused:
        ENTRIES[entry](inner, name)
    if isinstance(refused.value, HarnessError):
        assert "\n" not in str(refused.value).replace(name, "") and len(str(refused.value)) < 900
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert all(file.startswith("a/b/c/d/") and "HARM" not in file for file in written), written


def test_what_training_yaml_plans_does_not_reach_a_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past the check at its entrance, too: the pipeline takes names from the registry, and quotes them."""
    workspace = Workspace(PACKAGE.parent)
    for name in NAMES[:2]:
        monkeypatch.setattr(
            stages, "read_training_plans", lambda root, name=name: {parse_run(RUN): TrainingPlan("smoke", data=name)}
        )
        with pytest.raises(HarnessError, match="unknown dataset"):
            stages.stage_files(workspace)


@pytest.mark.parametrize("name", NAMES[:-1])
def test_a_stage_command_is_quoted(name: str, tmp_path: Path) -> None:
    command = stages._command("datasets", "fetch", name)
    assert shlex.split(command) == ["harness", "datasets", "fetch", name]
    said = subprocess.run(
        ["sh", "-c", command.replace("harness", "printf %s", 1)], cwd=tmp_path, capture_output=True, check=True
    )
    assert said.stdout.decode() == f"datasetsfetch{name}" and not list(tmp_path.iterdir())


def test_names_of_a_pipeline_are_plain() -> None:
    """Every command of every stage is what a shell reads word by word."""
    workspace = Workspace(PACKAGE.parent)
    for of_file in stages.pipeline_stages(workspace).values():
        for stage in of_file.values():
            command = stage["cmd"].command
            assert shlex.join(shlex.split(command)) == command


def test_a_folder_named_like_a_parameter(tmp_path: Path) -> None:
    """DVC reads ``${name}`` in a path as a parameter; a plugin's folder may have such a name."""
    workspace = Workspace(tmp_path)
    folder = tmp_path / "my${methods}"
    folder.mkdir()
    (folder / "plugin.py").write_text("1\n")
    path = stages._Writer(workspace, {}, checkout=False)._in_text(folder / "plugin.py")
    (tmp_path / "params.yaml").write_text("methods: [elsewhere]\n")
    project = DvcProject(tmp_path, {"dvc.yaml": {"a": {"cmd": "echo made > a", "deps": [path], "outs": ["a"]}}})
    assert {outcome.state for outcome in project.make().values()} == {"computed"}


@pytest.mark.parametrize("name", ["../x.png", "/tmp/x.png", "10/../../x.png"])
def test_images_stay_in_their_folder(name: str, tmp_path: Path) -> None:
    (tmp_path / RECORD).write_text(json.dumps(RESTORED | {"group": GROUP, "images": {name: "0" * 64}}))
    with pytest.raises(HarnessError, match="leaves the folder"):
        read_restored(tmp_path)
    file = {
        "name": "a.png",
        "image": name,
        "role": "target",
        "bytes": 1,
        "sha256": "",
        "pixels_sha256": "",
        "shape": [],
    }
    plain = {"dataset": "x", "status": "complete", "reason": "", "base": "", "images": 1, "files": [file]}
    (tmp_path / "x.json").write_text(json.dumps(plain))
    with pytest.raises(HarnessError, match="leaves the set's folder"):
        DatasetManifest.read(tmp_path / "x.json")


def test_groups_of_every_saving_and_policy_are_names() -> None:
    group = Group("jpeg", "live1", "jpeg-y8", "jpeg", "chop+x8", "unrounded")
    assert msgspec.json.decode(msgspec.json.encode(group), type=Group) == group
