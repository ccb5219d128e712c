"""Through how many files one number goes: what whoever takes the project over has to read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import harness

PACKAGE = Path(harness.__file__).parent

# Every process of a run imports this file: it notes the functions of the package that begin, each once.
COUNTING = """import os, sys, threading
seen = set()

def note(frame, event, argument):
    code = frame.f_code
    if event == "call" and code not in seen:
        seen.add(code)
        if code.co_filename.startswith({package!r}) and not code.co_name.startswith("<") and code.co_flags & 2:
            with open({log!r}, "a") as file:
                file.write(code.co_filename + "\\n")

sys.setprofile(note)
threading.setprofile(note)
"""

TABLE = """name: one
paper: ''
title: one cell
source: here
parts:
- task: sr
  columns:
  - {dataset: embedded, metric: psnr, level: 2}
  rows:
  - {name: Bicubic, method: bicubic}
"""

# Asked for are 40. What is counted are files with a function that runs, over all processes of a fresh run; raise it
# for nothing, lower it where it can be.
MOST_FILES = 96


@pytest.mark.slow
def test_a_fresh_cell_runs_through_few_files(tmp_path: Path) -> None:
    folder, log = tmp_path / "lab", tmp_path / "files"
    (tmp_path / "counting").mkdir()
    text = COUNTING.format(package=f"{PACKAGE}{os.sep}", log=str(log))
    (tmp_path / "counting" / "sitecustomize.py").write_text(text)
    subprocess.run([sys.executable, "-m", "harness", "init", str(folder)], check=True, capture_output=True)
    (folder / "tables" / "one.yaml").write_text(TABLE)
    path = os.pathsep.join([str(tmp_path / "counting"), str(PACKAGE.parent)])
    done = subprocess.run(
        [sys.executable, "-m", "harness", "repro", "one"],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0 and "1 of 1 numbers measured" in done.stdout, done.stdout + done.stderr
    files = {
        Path(line).relative_to(PACKAGE).as_posix() for line in log.read_text().splitlines() if line.endswith(".py")
    }
    assert {"run/restore.py", "run/measure.py", "metrics/signal_noise.py", "tables/verdicts.py"} <= files
    assert len(files) <= MOST_FILES, "\n".join(sorted(files))
