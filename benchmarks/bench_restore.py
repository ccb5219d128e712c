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

from harness.cells import Group, InputId, Noise
from harness.datasets.reading import open_dataset
from harness.degradations import matlab_awgn
from harness.images import write_png
from harness.methods import get_method
from harness.methods.dncnn import build
from harness.stages.inputs import record_inputs
from harness.stages.restore import restore

DATA = Path("data")
LEVEL = 50


def plain_loop(names: list[str], target: Path) -> None:
    network = build("denoise-rgb", LEVEL)
    dataset = open_dataset("cbsd68", DATA)
    with torch.no_grad():
        for name in names:
            noisy = matlab_awgn(dataset.read(name), LEVEL)
            output = network(torch.from_numpy(noisy).permute(2, 0, 1)[None])
            pixels = np.floor(output[0].permute(1, 2, 0).double().numpy() * 255 + 0.5).clip(0, 255).astype(np.uint8)
            write_png(target / f"{name}.png", pixels)


def through_the_harness(names: list[str], target: Path) -> None:
    group = Group("denoise-rgb", "cbsd68", "awgn-seed0-float", "dncnn", "whole")
    restore(
        group,
        get_method("dncnn"),
        (LEVEL,),
        record_inputs(DATA, group.dataset, group.degradation, (LEVEL,), Noise()),
        data=DATA,
        partial=target / "partial",
        target=target / "result",
        noise=Noise(),
        code="benchmark",
        only=[InputId(LEVEL, 0, name) for name in names],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4, help="Parts of the set; in each both sides run in turn.")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    names = open_dataset("cbsd68", DATA).image_ids
    seconds = {plain_loop: 0.0, through_the_harness: 0.0}
    same = 0
    with tempfile.TemporaryDirectory() as folder:
        plain_loop(names[:2], Path(folder))  # warm: libraries loaded, weights read
        for first in range(options.rounds):
            part = names[first :: options.rounds]
            for run in seconds:
                start = time.perf_counter()
                run(part, Path(folder))
                seconds[run] += time.perf_counter() - start
            restored = Path(folder, "result").rglob("*.png")
            same += sum(Path(folder, file.name).read_bytes() == file.read_bytes() for file in restored)
    loop, harness = seconds.values()
    print(f"DnCNN colour, {len(names)} images: loop {loop:.1f} s, harness {harness:.1f} s ({loop / harness:.2f}x);")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{same} of {len(names)} files equal; peak memory of the process {peak} MiB")


if __name__ == "__main__":
    main()
