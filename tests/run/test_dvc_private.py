"""What harness.run.dvc_private uses of DVC: the installed version has it, with the same signatures."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from dvc.dvcfile import Lockfile
from dvc.lock import Lock, LockBase, LockError, make_lock
from dvc.repo import Repo, lock_repo
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK, SCHEMA, rwlock
from dvc.stage import Stage, run
from dvc.stage.exceptions import StageCmdFailedError
from dvc.utils import strictyaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]

SIGNATURES = {
    Repo.__init__: "self, root_dir, fs, rev, subrepos, uninitialized, config, url, repo_factory, scm, remote,"
    " remote_config, _wait_for_lock",
    lock_repo: "repo",
    Lock.__init__: "self, lockfile, friendly, wait, kwargs",
    Lock.lock: "self",
    Lock._do_lock: "self",
    make_lock: "lockfile, tmp_dir, friendly, hardlink_lock, wait",
    rwlock: "tmp_dir, fs, cmd, read, write, hardlink",
    Lockfile.__init__: "self, repo, path, verify, kwargs",
    Lockfile.load: "self, kwargs",
    Stage.dump: "self, kwargs",
    Stage.changed_stage: "self",
    run._run: "executable, cmd, kwargs",
    StageCmdFailedError.__init__: "self, cmd, status",
    strictyaml.parse_yaml: "text, path, typ",
}


def test_the_installed_version_lies_in_the_range() -> None:
    """One minor version: what is private may change with the next."""
    named = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (wanted,) = (found for found in map(Requirement, named) if found.name == "dvc")
    assert {part.operator for part in wanted.specifier} == {">=", "<"}
    assert importlib.metadata.version("dvc") in wanted.specifier


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__qualname__)
def test_signatures(function: object) -> None:
    assert ", ".join(inspect.signature(function).parameters) == SIGNATURES[function]  # type: ignore[arg-type,index]


def test_what_is_replaced_is_used_by_dvc() -> None:
    """A name that DVC no longer looks up could be replaced without any effect."""
    assert run.subprocess.Popen is not None
    assert "subprocess.Popen(exec_cmd, **kwargs)" in inspect.getsource(run._run)
    assert "parse_yaml(text, path" in inspect.getsource(strictyaml.load)
    assert "self._do_lock()" in inspect.getsource(Lock.lock)
    assert "_wait_for_lock" in inspect.getsource(Repo.__init__)
    assert issubclass(Lock, LockBase) and issubclass(LockError, Exception)


def test_a_stage_is_recorded_as_dvc_does() -> None:
    """`Stage.reproduce` and `Stage.dump` are what `dvc repro` calls for a stage."""
    from dvc.repo.reproduce import _reproduce_stage

    text = inspect.getsource(_reproduce_stage)
    assert re.search(r"ret = stage\.reproduce\(\*\*kwargs\)\s+if ret .*:\s+stage\.dump\(update_pipeline=False\)", text)
    assert {"force", "pull"} <= set(re.findall(r'kwargs\.get\("(\w+)"', inspect.getsource(Stage.reproduce)))


def test_the_rwlock_file() -> None:
    assert (RWLOCK_FILE, RWLOCK_LOCK) == ("rwlock", "rwlock.lock")
    assert SCHEMA({}) == {"write": {}, "read": {}}


def test_private_names_stand_in_one_module() -> None:
    """Elsewhere only `dvc.api` and the exceptions are imported."""
    found = subprocess.run(
        ["git", "grep", "-nE", r"^\s*(from|import) dvc\b", "--", "harness"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    public = r"(from dvc\.(api|exceptions|scm) import|harness/run/dvc_private\.py)"
    assert [line for line in found if not re.search(public, line)] == []
