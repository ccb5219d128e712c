"""Definitions of tasks and the like from files of a project: known in it, and in no other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import harness
from harness.assets.datasets import fetch
from harness.cli.plugins import write_definition
from harness.errors import HarnessError
from harness.methods.definitions import broken_definitions
from harness.records.tasks import TASKS, Task
from harness.tables.workspace import Workspace

TASK = """from harness.records.tasks import TASKS, Task
TASKS.define(Task("{name}", "{title}", "scale", (8,), "bicubic-replicate", ("psnr-y-crop",), 3), 1)
"""
METHOD = """import harness
@harness.method("{name}", tasks=["{task}"], on="array")
def build(task, level):
    return lambda image: image
"""


def project(folder: Path, **files: str) -> Workspace:
    for kind in ("methods", "plugins"):
        (folder / kind).mkdir(parents=True)
    (folder / "params.yaml").write_text("methods: [methods]\nplugins: [plugins]\n")
    for name, text in files.items():
        kind, _, stem = name.partition("_")
        (folder / kind / f"{stem}.py").write_text(text)
    return Workspace(folder)


def test_a_method_does_a_task_of_its_project(tmp_path: Path) -> None:
    first = project(
        tmp_path / "one",
        plugins_a=TASK.format(name="sr-wide", title="one"),
        methods_m=METHOD.format(name="wide-one", task="sr-wide"),
    )
    second = project(tmp_path / "two", plugins_a=TASK.format(name="sr-wide", title="two"))
    assert first.method("wide-one").tasks == ("sr-wide",)
    assert TASKS["sr-wide"].title == "one"
    assert TASKS.source("sr-wide") == tmp_path / "one" / "plugins" / "a.py"
    second.define()
    assert TASKS["sr-wide"].title == "two"
    Workspace(tmp_path).define()
    assert "sr-wide" not in TASKS
    first.define()
    assert TASKS["sr-wide"].title == "one"
    Workspace(tmp_path).define()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("raise ValueError('odd')\n", "ValueError: odd"),
        ("import os\nos._exit(3)\n", "ended the process"),
        (TASK.format(name="sr", title="mine"), "task 'sr' is one of the package"),
        (TASK.format(name="../sr", title="mine"), "use lower-case letters"),
    ],
)
def test_a_plugin_that_fails_leaves_the_others(tmp_path: Path, text: str, reason: str) -> None:
    folder = project(tmp_path, plugins_a=text, plugins_b=TASK.format(name="sr-wide", title="b"))
    folder.define()
    assert "sr-wide" in TASKS and TASKS["sr"].title == "super-resolution"
    assert any(reason in text for text in broken_definitions().values())
    Workspace(tmp_path / "plugins").define()


def test_two_files_do_not_share_a_name(tmp_path: Path) -> None:
    text = TASK.format(name="sr-wide", title="same")
    project(tmp_path, plugins_a=text, plugins_b=text).define()
    assert "is defined in" in next(iter(broken_definitions().values()))
    Workspace(tmp_path / "plugins").define()


def test_what_was_typed_in_may_be_typed_in_again() -> None:
    made = Task("sr-typed", "typed", "scale", (8,), "bicubic-replicate", ("psnr",), 3)
    try:
        assert TASKS.define(made, 1) is TASKS.define(made, 1)
        with pytest.raises(HarnessError, match="one of the package"):
            TASKS.define(TASKS["sr"], 1)
    finally:
        TASKS.pop("sr-typed")
        TASKS.files.pop("sr-typed")


@pytest.mark.parametrize("kind", ["task", "degradation", "metric", "dataset"])
def test_a_new_file_runs_as_it_is(tmp_path: Path, kind: str) -> None:
    folder = project(tmp_path / "mine")
    path = write_definition(folder, kind, "3-of-mine")
    assert path == tmp_path / "mine" / "plugins" / "3_of_mine.py"
    Workspace(folder.root).define()
    assert not broken_definitions()
    image = np.arange(0, 240, 10, dtype=np.uint8).reshape(4, 6)
    if kind == "task":
        assert TASKS["3-of-mine"].levels == (25,)
    elif kind == "degradation":
        made = harness.degrade(image, "3-of-mine", 5).astype(float)
        assert 0 < np.abs(made - image).max() <= 5
    elif kind == "dataset":
        assert fetch("3-of-mine", tmp_path / "data").images == 3
    else:
        assert harness.measure(image, image + np.uint8(3), "3-of-mine") == 3
    with pytest.raises(HarnessError, match=f"a {kind} '3-of-mine' is there already"):
        write_definition(folder, kind, "3-of-mine")
    Workspace(tmp_path).define()


@pytest.mark.parametrize(
    ("kind", "name"), [("metric", "psnr"), ("metric", "seconds"), ("task", "sr"), ("task", "A B"), ("dataset", "set5")]
)
def test_a_new_file_is_not_left_where_the_name_cannot_be(tmp_path: Path, kind: str, name: str) -> None:
    folder = project(tmp_path)
    with pytest.raises(HarnessError):
        write_definition(folder, kind, name)
    assert not list((tmp_path / "plugins").glob("*.py"))
    Workspace(tmp_path / "plugins").define()
