"""Restoring a set through the harness, against the loop that a user of the same weights would write.

DnCNN in colour, sigma 50, over CBSD68: both read the images, add the same noise, run the same network and write 8-bit
PNGs. The loop keeps what it needs in one function; the harness's stage also checks every input against its recorded
hash, can be interrupted, and records where each image came from. Needs the dataset and the weights.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from harness.cells import Group, Noise
from harness.datasets.reading import open_dataset
from harness.degradations import matlab_awgn
from harness.images import write_png
from harness.methods import get_method
from harness.methods.dncnn import build
from harness.stages.inputs import record_inputs
from harness.stages.restore import restore

DATA = Path("data")
LEVEL = 50


def plain_loop(target: Path, count: int) -> None:
    network = build("denoise-rgb", LEVEL)
    dataset = open_dataset("cbsd68", DATA)
    with torch.no_grad():
        for name in dataset.image_ids[:count]:
            noisy = matlab_awgn(dataset.read(name), LEVEL)
            output = network(torch.from_numpy(noisy).permute(2, 0, 1)[None])
            pixels = output[0].permute(1, 2, 0).clamp(0, 1).mul(255).round().byte().numpy()
            write_png(target / f"{name}.png", np.ascontiguousarray(pixels))


def through_the_harness(target: Path) -> None:
    group = Group("denoise-rgb", "cbsd68", "awgn-seed0-float", "dncnn", "whole")
    inputs = record_inputs(DATA, group.dataset, group.degradation, (LEVEL,), Noise())
    method = get_method("dncnn")
    partial, result = target / "partial", target / "result"
    restore(group, method, (LEVEL,), inputs, data=DATA, partial=partial, target=result, noise=Noise(), code="benchmark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    count = len(open_dataset("cbsd68", DATA).image_ids)
    with tempfile.TemporaryDirectory() as folder:
        plain_loop(Path(folder), 2)  # warm: libraries loaded, weights read
        times = []
        for run in (lambda: plain_loop(Path(folder), count), lambda: through_the_harness(Path(folder))):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"{times[-1]:.1f} s, peak memory of the process {peak} MiB", flush=True)
        same = sum(
            (Path(folder) / file.name).read_bytes() == file.read_bytes()
            for file in (Path(folder) / "result").rglob("*.png")
        )
        loop, harness = times
        print(f"DnCNN colour, {count} images: loop {loop:.1f} s, harness {harness:.1f} s ({loop / harness:.2f}x)")
        print(f"{same} of {count} files equal")


if __name__ == "__main__":
    main()
