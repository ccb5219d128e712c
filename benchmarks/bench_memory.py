"""The largest memory that each method holds for a result of one megapixel, each in a process of its own.

    python benchmarks/bench_memory.py [METHOD ...] [--side 1024] [--most 1.0] [--seconds 600]

What is printed is how far the resident set rises above what it was before the image, on a CPU: input, result, and
freed memory that is kept for the next image are part of it. A network has seeded weights, which play no part; a
method that makes its network from its weights is given the released ones. A tiled policy holds one tile after
another, so one tile is measured. What would take more multiply-adds than ``--most`` (10^12) is named and not run.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.inference.chop import chop_rule, tile_shape
from harness.inference.policies import policy
from harness.methods import Method, get_method, methods
from harness.networks.checkpoints import mark_ready
from harness.networks.measure import accepted_side, conditioned, multiply_adds, peak_memory
from harness.records.tasks import task as task_of
from harness.run.apply import array_restorer, tensor_restorer
from harness.run.built import first_built


def bounded(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """Keep what seeded weights make of noise from being refused as no image."""
    return lambda batch: function(batch).nan_to_num_().clamp_(0, 1)


def prepared(method: Method, side: int, most: float) -> tuple[Callable[[NDArray[Any]], Any], tuple[int, ...], str]:
    """Return what restores an array, the array's shape, and words for both.

    Raises HarnessError: It would take too long, or something that the method needs is not here.
    """
    task = task_of(method.tasks[0])
    level = task.levels[0]
    network = method.network(task.name, level) if method.network else None
    size = (accepted_side(network, side // task.scale(level)),) * 2
    what = ""
    if policy(method.policy).tiled:
        _, *size = tile_shape(chop_rule(method.chop[task.name]), *size, task.scale(level))
        what = ", a tile"
    if network is None:
        function, level = first_built(method, task)
    else:
        macs = multiply_adds(network, (1, task.channels, *size)) / 1e12
        if macs > most:
            raise HarnessError(f"not run: {macs:.1f} x 10^12 multiply-adds")
        function = conditioned(mark_ready(network.eval(), "released", "seed 0"), 0.1)
    shape = tuple(size) if task.channels == 1 else (*size, task.channels)
    what = f"{task.name}, level {level}, {size[1]}x{size[0]}{what}"
    if method.on == "array":
        return array_restorer(function, method.policy), shape, what
    return tensor_restorer(bounded(function), "whole", "", task.scale(level)), shape, what


def one(name: str, side: int, most: float) -> str:
    restore, shape, what = prepared(get_method(name), side, most)
    image = np.random.default_rng(0).random(shape) * 255
    # Not `ru_maxrss`: where building the network took more, it would hide what the image takes.
    peak = peak_memory(lambda: restore(image))
    return f"{'?' if peak is None else f'{peak / 2**20:,.0f}'} MiB | {what}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=1024, help="height and width of the result")
    parser.add_argument("--most", type=float, default=1.0, help="10^12 multiply-adds that are not too many")
    parser.add_argument("--seconds", type=int, default=600, help="how long a method may take")
    parser.add_argument("--one", action="store_true", help="measure one method in this process")
    parser.add_argument("names", nargs="*", help="methods; all that are not trained here by default")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.one:
        try:
            with torch.inference_mode():
                print(one(options.names[0], options.side, options.most))
        except HarnessError as error:
            print(f"| {error}")
        return
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, {os.cpu_count()} cores, {platform.machine()}\n"
    )
    print("| method | memory | what |\n|---|---|---|")
    names = [m.name for m in methods().values() if m.origin != "trained" and m.on != "images"]
    for name in options.names or names:
        how = ["--one", "--side", str(options.side), "--most", str(options.most), name]
        try:
            run = subprocess.run(
                [sys.executable, __file__, *how], capture_output=True, text=True, timeout=options.seconds
            )
            said = run.stdout.strip() or f"| {run.stderr.strip().splitlines()[-1]}"
        except subprocess.TimeoutExpired:
            said = f"| not finished in {options.seconds} s"
        print(f"| {name} | {said} |", flush=True)


if __name__ == "__main__":
    main()
