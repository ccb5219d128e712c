"""benchmarks/gpu_acceptance.py: its logic on a CPU at toy size, and itself where a GPU is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.assets.datasets import fetch

SCRIPT = Path(__file__).resolve().parents[1] / "benchmarks" / "gpu_acceptance.py"


def run(part: str, out: Path, *arguments: str) -> dict[str, dict[str, object]]:
    command = [
        sys.executable,
        str(SCRIPT),
        part,
        "--data",
        str(out / "data"),
        "--dataset",
        "embedded",
        "--out",
        str(out),
    ]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found = json.loads((out / f"{part}.json").read_text())
    return {check["name"]: check for check in found["checks"]}


def test_each_part_at_toy_size(tmp_path: Path) -> None:
    fetch("embedded", tmp_path / "data")
    correct = run("correct", tmp_path, "--device", "cpu", "--toy")
    assert correct["attention 3x3, 5 levels, 9x9"]["ok"] is True
    assert correct["two runs: resnet-half"]["ok"] is True
    assert len(str(correct["samples"]["sha256"])) == 64
    fast = run("fast", tmp_path, "--device", "cpu", "--toy")
    assert float(str(fast["panet-s, float32"]["ms"])) > 0
    learns = run("learn", tmp_path, "--device", "cpu", "--toy")
    assert learns["learns"]["iterations"] == 4


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_is_correct(tmp_path: Path) -> None:
    fetch("embedded", tmp_path / "data")
    run("correct", tmp_path)
