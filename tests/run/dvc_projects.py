"""Small DVC projects with shell commands for stages: what the engine does shows without any image."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from harness.run.execution import RunSettings, run_stages
from harness.run.graph import Node, needed, stage_graph
from harness.run.project import Project
from harness.run.worker import StageOutcome

Files = dict[str, dict[str, dict[str, Any]]]


def run(*command: str, cwd: Path, code: int | None = 0) -> subprocess.CompletedProcess[str]:
    scripts = str(Path(sys.executable).parent)
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert code is None or done.returncode == code, f"{command}\n{done.stdout}\n{done.stderr}"
    return done


class Recorder:
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.ended: list[str] = []

    def started(self, address: str, progress: Path) -> None:
        self.begun.append(address)

    def finished(self, address: str, outcome: StageOutcome) -> None:
        self.ended.append(address)


class DvcProject:
    """A DVC project in git."""

    def __init__(self, root: Path, files: Files) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        run("git", "init", "-q", cwd=root)
        run("git", "config", "user.email", "someone@example.org", cwd=root)
        run("git", "config", "user.name", "Someone", cwd=root)
        run("dvc", "init", "-q", cwd=root)
        run("dvc", "config", "core.analytics", "false", cwd=root)
        self.write(files)

    def write(self, files: Files) -> None:
        self.files = files
        for path, stages in files.items():
            (self.root / path).parent.mkdir(parents=True, exist_ok=True)
            (self.root / path).write_text(yaml.safe_dump({"stages": stages}, sort_keys=False))

    def nodes(self, *targets: str) -> dict[str, Node]:
        graph = stage_graph({PurePosixPath(path): stages for path, stages in self.files.items()})
        return needed(graph, targets or list(graph))

    def changed(self) -> set[str]:
        return Project(self.root).changed(self.nodes().values())

    def make(self, *targets: str, watcher: Recorder | None = None, **settings: Any) -> dict[str, StageOutcome]:
        return run_stages(self.root, self.nodes(*targets), RunSettings(**settings), watcher or Recorder())

    def contents(self) -> dict[str, Any]:
        """Outputs by their bytes, and lock entries: these stand in a file in the order in which stages end."""
        kept = ("work", ".dvc", ".git", ".gitignore")
        paths = [p for p in self.root.rglob("*") if p.is_file() and p.relative_to(self.root).parts[0] not in kept]
        return {p.relative_to(self.root).as_posix(): _content(p) for p in sorted(paths)}


def _content(path: Path) -> Any:
    return yaml.safe_load(path.read_text()) if path.suffix == ".lock" else path.read_bytes()


def diamond(count: int = 3) -> Files:
    """A first stage, `count` beside each other in two files, and one that joins them."""
    middle = {
        f"m{i}": {"cmd": f"(cat a; echo {i}) > m{i}; echo made m{i} >&2", "deps": ["a"], "outs": [f"m{i}"]}
        for i in range(count)
    }
    deeper = {name: {**stage, "wdir": ".."} for name, stage in list(middle.items())[1:]}
    first = dict(list(middle.items())[:1])
    join = {"cmd": "cat m* > all", "deps": list(middle), "outs": [{"all": {"cache": False}}]}
    return {
        "dvc.yaml": {"a": {"cmd": "echo first > a", "outs": ["a"]}, **first},
        "sub/dvc.yaml": deeper,
        "end/dvc.yaml": {"all": {**join, "wdir": ".."}},
    }
