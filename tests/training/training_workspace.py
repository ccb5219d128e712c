"""A small workspace: a network of a few thousand parameters, a short recipe, the images that come with scikit-image."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from forked import harness

from harness.assets.datasets import fetch
from harness.images import write_png
from harness.tables.workspace import Workspace

METHOD = """
from harness.methods.trained import trained_method


def _network(task, level):
    from torch import nn

    return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))


trained_method("tiny-net", _network, {"denoise-rgb": RECIPE}, title="Tiny", paper="a test")
"""

RECIPE = """
name: tiny
title: A test's
paper: doe
source: a test
task: denoise-rgb
data: embedded
degradation: awgn-8bit
patch: 16
batch: 4
loss: {l1: 1.0}
optimizer: {name: adam, rate: 1.0e-3}
schedule: {kind: halve, every: 30}
iterations: 400
length_of: paper
budgets: {smoke: 20, short: 40}
validation: {datasets: [embedded], images: 2, side: 32, every: 10}
"""


class Place:
    """A workspace for one test."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "methods").mkdir()
        (root / "params.yaml").write_text("methods: [methods]\nnoise: {further_draws: 0, images: 0}\n")
        (root / "tiny.yaml").write_text(RECIPE)
        text = METHOD.replace("RECIPE", repr(str(root / "tiny.yaml")))
        # Method names are known to the whole process: every test's plugin is its own file with its own name.
        self.method = "tiny-" + root.name.lower().replace("_", "-")
        (root / "methods" / "tiny_net.py").write_text(text.replace("tiny-net", self.method))
        self.workspace = Workspace(root)
        fetch("embedded", root / "data")

    def add_white(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Add a set of two images, all white, which no patch of the other set is."""
        record = {
            "name": "white", "title": "White", "kind": "images", "count": 2, "supply": "user", "description": "Two.",
            "licence": "none", "licence_note": "None.", "homepage": "https://example.org", "citation": "none",
            "layouts": [{"target": "{id}.*"}],
        }  # fmt: skip
        (self.root / "datasets").mkdir()
        (self.root / "datasets/white.json").write_text(json.dumps(record))
        for name in ("a", "b"):
            write_png(self.root / "own" / f"{name}.png", np.full((40, 48, 3), 255, np.uint8))
        monkeypatch.chdir(self.root)
        assert fetch("white", self.root / "data", folder=self.root / "own").complete

    def start(self, *arguments: str, **options: object) -> subprocess.Popen[str]:
        """Start `harness train` on the tiny network in a process of its own, at sigma 50 unless a level is named."""
        command = [sys.executable, "-m", "harness", *self._train(*arguments)]
        return subprocess.Popen(
            command,
            cwd=self.root,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stderr=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )

    def train(self, *arguments: str) -> tuple[int, str]:
        """Run `harness train` to its end; its exit status and what it said."""
        one = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = harness(*self._train(*arguments), cwd=self.root, env=one)
        return done.returncode, done.stderr

    def _train(self, *arguments: str) -> tuple[str, ...]:
        level = () if "--level" in arguments else ("--level", "50")
        return ("train", self.method, *level, *arguments)

    def kill_until_done(self, *arguments: str, minutes: str, times: int, pause: float) -> int:
        """Start a training again and again and kill it -9 at random moments; how often it was killed."""
        rng, kills = random.Random(0), 0
        for _ in range(times):
            process = self.start(*arguments, "--set", f"checkpoint_minutes={minutes}")
            deadline = time.monotonic() + 60
            # Start-up takes most of such a process's life: wait until it has written something, then a little longer.
            while process.poll() is None and time.monotonic() < deadline and not self.checkpoints():
                time.sleep(0.01)
            time.sleep(rng.uniform(0, pause))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                kills += 1
            process.communicate()
            if process.returncode == 0:
                break
        return kills

    def checkpoints(self) -> list[Path]:
        """Checkpoints of its runs."""
        return list(self.root.glob("work/training/runs/**/checkpoint.safetensors"))

    @property
    def trained(self) -> Path:
        """Folder of the result."""
        return self.root / "work" / "trained" / "denoise-rgb" / self.method / "50"

    def weights(self) -> bytes:
        """Bytes of the trained weights."""
        return (self.trained / "weights.safetensors").read_bytes()
