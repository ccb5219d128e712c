"""The same bits again: in processes that differ in threads, in the order of hashes, in time zone and language.

Networks are not here; `tests/inference/test_lanes.py` holds that they do not depend on cores, and
`benchmarks/bench_determinism.py` measures them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What the two processes do. Hashes of sets and dicts, threads of libraries, and formats of numbers may differ there.
WORK = """
import json, sys, tempfile
from pathlib import Path
import numpy as np
sys.path.insert(0, sys.argv[1])
from conftest import synthetic_image
from harness.degradations.registry import DEGRADATIONS
from harness.degradations import noise_generator
from harness.images import pixels_sha256
from harness.methods import get_method, build_method
from harness.run.apply import array_restorer
from harness.tables.workspace import Workspace

made = {}
colour, gray = synthetic_image(), synthetic_image(channels=1)

for name, found in DEGRADATIONS.items():
    if name == "pairs":
        continue
    level = {"Noise": 50, "Jpeg": 10, "Bicubic": 3}.get(type(found).__name__, 0)
    reference = found.reference(colour, level)
    rng = noise_generator("synthetic", "image", level, 0) if found.random else None
    made[f"degradation {name}"] = pixels_sha256(found.degrade(reference, level, rng))

ARRAYS = [("nlm", "denoise-rgb", 50), ("nlm", "denoise-gray", 50), ("bicubic", "sr", 3), ("bicubic-luma", "sr", 2)]
ARRAYS += [(name, "demosaic", 0) for name in ("bilinear", "malvar", "menon")]
ARRAYS += [("bm3d", "denoise-gray", 50), ("cbm3d", "denoise-rgb", 50)]
for name, task, level in ARRAYS:
    method = get_method(name)
    try:
        function = build_method(method, task, level)
    except Exception as missing:
        made[f"method {name} {task}"] = f"left out: {missing}"
        continue
    image = gray if task == "denoise-gray" else colour
    made[f"method {name} {task}"] = pixels_sha256(array_restorer(function, method.policy)(image.astype(float)))

from harness.protocols import measure_many, protocol_grid
other = np.clip(colour.astype(int) + np.arange(colour.size).reshape(colour.shape) % 23 - 11, 0, 255).astype(np.uint8)
for protocol, value in measure_many([p.name for p in protocol_grid()], colour, other, 2).items():
    made[f"metric {protocol}"] = repr(value)

from harness.report.render import csv_text, json_text, latex, markdown
from harness.tables.collected import results_of
workspace = Workspace(Path(sys.argv[1]).parent)
for name in ("embedded", "panet-table3", "rnan-table7", "kit-table3"):
    table = workspace.table(name)
    results = results_of(workspace, table)
    for form in (csv_text, json_text):
        made[f"table {name} {form.__name__}"] = form(results)
    for form in (markdown, latex):
        made[f"table {name} {form.__name__}"] = form(table, results)

from harness.methods.fingerprints import code_hashes, stage_code
from harness.run.pipeline import stage_files
for path, text in stage_files(workspace).items():
    made[f"pipeline {path}"] = text
for name, files in stage_code(workspace.methods()).items():
    made[f"code {name}"] = json.dumps(code_hashes(files))
print(json.dumps(made))
"""


def made_in_a_process(**environment: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", WORK, str(ROOT / "tests")],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in json.loads(done.stdout).items()}


def with_threads(number: int) -> dict[str, str]:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "HARNESS_CORES")
    return dict.fromkeys(names, str(number))


def test_inputs_methods_numbers_and_tables_do_not_depend_on_the_process() -> None:
    one = made_in_a_process(PYTHONHASHSEED="1", TZ="UTC", LC_ALL="C.UTF-8", **with_threads(1))
    other = made_in_a_process(PYTHONHASHSEED="4321", TZ="Asia/Tokyo", LC_ALL="tr_TR.UTF-8", **with_threads(4))
    assert list(one) == list(other)
    kinds = {name.split()[0] for name in one}
    assert kinds == {"degradation", "method", "metric", "table", "pipeline", "code"}
    assert [name for name in one if one[name] != other[name]] == []
