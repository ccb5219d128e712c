"""Restoring a set through the harness, against the loop that a user of the same weights would write.

``network``: DnCNN in colour, sigma 50, over CBSD68: both read the images, add the same noise, run the same network and
write 8-bit PNGs. The loop keeps what it needs in one function; the harness's stage also checks every input against its
recorded hash, can be interrupted, and records where each image came from. Needs the dataset and the weights.

``behind``: a stub that takes 8 ms an image and no core, as a network on a GPU does: how much of its speed is left with
everything that the host does around it. Needs the dataset.
"""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch

from harness.assets.datasets.reading import open_dataset
from harness.assets.inputs import InputRecord, record_inputs
from harness.degradations import matlab_awgn
from harness.images import write_png
from harness.methods import Method, get_method
from harness.methods.dncnn import build
from harness.records.cells import Group, InputId, NoiseDraws
from harness.run.restore import restore

DATA = Path("data")
LEVEL = 50
# Seconds that a network on a GPU may take for an image of 481x321.
STUB = 0.008


def plain_loop(names: list[str], target: Path) -> None:
    network = build("denoise-rgb", LEVEL)
    dataset = open_dataset("cbsd68", DATA)
    with torch.no_grad():
        for name in names:
            noisy = matlab_awgn(dataset.read(name), LEVEL)
            output = network(torch.from_numpy(noisy).permute(2, 0, 1)[None])
            pixels = np.floor(output[0].permute(1, 2, 0).double().numpy() * 255 + 0.5).clip(0, 255).astype(np.uint8)
            write_png(target / f"{name}.png", pixels)


@functools.cache
def recorded_inputs(dataset: str, degradation: str) -> InputRecord:
    """Made once for the set, as in the pipeline; its time counts where it is first needed."""
    return record_inputs(DATA, dataset, degradation, (LEVEL,), NoiseDraws())


def through_the_harness(names: list[str], target: Path) -> None:
    group = Group("denoise-rgb", "cbsd68", "awgn-seed0-float", "dncnn", "whole")
    restore(
        group,
        get_method("dncnn"),
        (LEVEL,),
        recorded_inputs(group.dataset, group.degradation),
        data=DATA,
        partial=target / "partial",
        target=target / "result",
        noise=NoiseDraws(),
        code="benchmark",
        only=[InputId(LEVEL, 0, name) for name in names],
    )


def timed(run: Callable[[list[str], Path], None], names: list[str], folder: Path, threads: int) -> tuple[float, int]:
    """Run one side; give its seconds and the process's highest memory in MiB so far."""
    torch.set_num_threads(threads)
    start = time.perf_counter()
    run(names, folder)
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def compare_networks(names: list[str], threads: int, rounds: int) -> None:
    # A process for each side: the harness changes how memory is kept for the whole process.
    context = multiprocessing.get_context("spawn")
    sides = {run: ProcessPoolExecutor(1, mp_context=context) for run in (plain_loop, through_the_harness)}
    seconds, peak, same = dict.fromkeys(sides, 0.0), dict.fromkeys(sides, 0), 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for pool in sides.values():
            pool.submit(timed, plain_loop, names[:1], folder, threads).result()  # libraries, weights
        for first in range(rounds):
            part = names[first::rounds]
            for run, pool in sides.items():
                took, peak[run] = pool.submit(timed, run, part, folder, threads).result()
                seconds[run] += took
            restored = (folder / "result").rglob("*.png")
            same += sum((folder / file.name).read_bytes() == file.read_bytes() for file in restored)
    loop, harness = seconds.values()
    print(f"DnCNN colour, {len(names)} images: loop {loop:.1f} s, harness {harness:.1f} s ({loop / harness:.2f}x);")
    print(f"{same} of {len(names)} files equal; peak memory {peak[plain_loop]} and {peak[through_the_harness]} MiB")
    for pool in sides.values():
        pool.shutdown()


def stub(batch: torch.Tensor) -> torch.Tensor:
    time.sleep(STUB)
    return batch


def stub_in_a_loop(names: list[str], target: Path) -> None:
    dataset = open_dataset("cbsd68", DATA)
    for name in names:
        noisy = matlab_awgn(dataset.read(name), LEVEL).astype(np.float32)
        output = stub(torch.from_numpy(noisy).permute(2, 0, 1)[None])
        pixels = np.floor(output[0].permute(1, 2, 0).numpy() * 255 + 0.5).clip(0, 255).astype(np.uint8)
        write_png(target / f"{name}.png", pixels)


def stub_through_the_harness(names: list[str], target: Path) -> None:
    method = Method("stub", ("denoise-rgb",), lambda task, level: stub, on="tensor")
    group = Group("denoise-rgb", "cbsd68", "awgn-seed0-float", "stub", "whole")
    restore(
        *(group, method, (LEVEL,), recorded_inputs(group.dataset, group.degradation)),
        data=DATA,
        partial=target / "partial",
        target=target / "result",
        noise=NoiseDraws(),
        code="benchmark",
        anew=True,
        only=[InputId(LEVEL, 0, name) for name in names],
    )


def keep_up(names: list[str], rounds: int) -> None:
    sides = {"loop": stub_in_a_loop, "harness": stub_through_the_harness}
    seconds: dict[str, list[float]] = {side: [] for side in sides}
    recorded_inputs("cbsd68", "awgn-seed0-float")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        for _ in range(rounds):
            for side, run in sides.items():
                start = time.perf_counter()
                run(names, Path(temporary))
                seconds[side].append((time.perf_counter() - start) / len(names))
    for side, took in seconds.items():
        each = statistics.median(took)
        print(f"{side}: {1000 * each:.1f} ms an image of which the stub takes {1000 * STUB:.0f}: {STUB / each:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("part", choices=("network", "behind"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=4, help="In each both sides run in turn.")
    options = parser.parse_args()
    names = open_dataset("cbsd68", DATA).image_ids
    if options.part == "network":
        compare_networks(names, options.threads, options.rounds)
    else:
        keep_up(names, options.rounds)


if __name__ == "__main__":
    main()
