"""An audit of one row against one plain measurement of the same row, in one run.

``python benchmarks/bench_audit.py --dataset live1`` prints the seconds of both and their ratio. The row is the degraded
input of JPEG at one quality: no network, so the time is that of the variants. Nothing is asserted about time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from harness.assets.datasets import fetch
from harness.assets.datasets.reading import open_dataset
from harness.audit.images import Bench
from harness.audit.rows import audit_row
from harness.audit.settings import AuditSettings
from harness.degradations import degradation
from harness.protocols import measure_many, protocol
from harness.tables.published import read_table
from harness.tables.workspace import Workspace

TABLE = """
name: bench
paper: ""
title: One row
source: a benchmark
parts:
  - task: jpeg
    columns:
      - {{metric: psnr, dataset: {dataset}, level: 10}}
      - {{metric: ssim, dataset: {dataset}, level: 10}}
    rows:
      - {{name: JPEG, method: jpeg, values: ["{psnr:.2f}", "{ssim:.4f}"]}}
"""
PROTOCOLS = ("psnr", "ssim-8x8")


def measure_once(workspace: Workspace, dataset: str) -> tuple[dict[str, float], float]:
    """Make and measure the row under one protocol; with the seconds it took."""
    fetched = open_dataset(dataset, workspace.data)
    made = degradation("jpeg-y8")
    start = time.perf_counter()
    values: dict[str, list[float]] = {name: [] for name in PROTOCOLS}
    for image in fetched.image_ids:
        reference = made.reference(fetched.read(image), 10)
        for name, value in measure_many(PROTOCOLS, reference, made.degrade(reference, 10)).items():
            values[name].append(value)
    seconds = time.perf_counter() - start
    return {name: protocol(name).aggregate(found) for name, found in values.items()}, seconds


def main() -> None:
    """Measure, audit, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", default="embedded")
    dataset = parser.parse_args().dataset
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "params.yaml").write_text("tables: []\n")
        workspace = Workspace(root)
        if not fetch(dataset, workspace.data).complete:
            raise SystemExit(f"{dataset} is not here; set HARNESS_MIRROR")
        found, once = measure_once(workspace, dataset)
        path = root / "bench.yaml"
        path.write_text(TABLE.format(dataset=dataset, psnr=found["psnr"], ssim=found["ssim-8x8"]))
        start, cpu = time.perf_counter(), time.process_time()
        audit = audit_row(Bench(workspace), read_table(path), 0, "JPEG", AuditSettings())
        seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
        assert audit.best is not None and audit.chance is not None
        counts = f"{audit.chance.tried} variants ({audit.chance.distinct} distinct)"
        print(f"{dataset}: {audit.cells[0].images} images, {counts}")
        print(f"one protocol, one thread: {once:.1f} s")
        print(f"audit, two threads: {seconds:.1f} s ({cpu:.1f} s of processor), {seconds / once:.1f} times as long")
        print(f"best: {audit.best.protocols}, {audit.best.digits} of {audit.digits} digits")


if __name__ == "__main__":
    main()
