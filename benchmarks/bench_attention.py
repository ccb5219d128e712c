"""Streamed attention against its direct form, and tiles in batches against tile by tile.

    python benchmarks/bench_attention.py [attention] [chop] [floor] [whole] [--threads 2] [--repeat 5]

Every comparison alternates its two sides in one process and reports the shortest time of each, so that the ratio
means something on a shared machine. The whole image takes minutes. Where other programs use the same cores, set
OMP_WAIT_POLICY=passive: waiting threads of torch otherwise spin and hold up the working ones.
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.inference import chop, chop_rule
from harness.networks import tiled_attention
from harness.networks.csnln import CrossScaleAttention, InScaleAttention
from harness.networks.measure import peak_memory
from harness.networks.panet import PANet
from harness.networks.patch_attention import patch_attention
from harness.networks.pyramid_attention import PyramidAttention
from harness.networks.rnan import NonLocalBlock

MIB = 2**20


def timed(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(title: str, first: Callable[[], object], second: Callable[[], object], repeat: int) -> None:
    """Print time and extra peak memory of two ways of the same work, and how much the second saves."""
    first(), second()
    seconds = [min(pair) for pair in zip(*((timed(first), timed(second)) for _ in range(repeat)), strict=True)]
    memory = [(peak_memory(run) or 0) / MIB for run in (first, second)]
    print(
        f"| {title} | {seconds[0]:.3f} s | {seconds[1]:.3f} s | {seconds[0] / seconds[1]:.2f}x "
        f"| {memory[0]:.0f} MiB | {memory[1]:.0f} MiB | {memory[0] / max(memory[1], 1e-9):.1f}x |",
        flush=True,
    )


def kernels(module: nn.Module, x: Tensor, backward: bool) -> tuple[Callable[[], object], Callable[[], object]]:
    def run(kernel: str) -> None:
        module.kernel = kernel
        if backward:
            x.requires_grad_()
            module(x).sum().backward()
        else:
            with torch.inference_mode():
                module(x)

    return lambda: run("direct"), lambda: run("streamed")


HEAD = "time {0} | time {1} | ratio | extra peak memory {0} | extra peak memory {1} | ratio |\n" + 7 * "|---" + "|"


def attention(repeat: int) -> None:
    print("\n| attention | " + HEAD.format("direct", "streamed"))
    few = max(1, repeat // 2)
    pyramid, tile = PyramidAttention(), torch.randn(1, 64, 57, 77)
    compare("pyramid attention, 57x77x64", *kernels(pyramid, tile, False), repeat)
    compare("the same with gradients", *kernels(pyramid, tile.clone(), True), few)
    block, features = NonLocalBlock(64), torch.randn(1, 64, 96, 96)
    compare("RNAN non-local block, 96x96x64", *kernels(block, features, False), repeat)
    compare("the same with gradients", *kernels(block, features.clone(), True), few)
    features = torch.randn(1, 128, 48, 48)
    compare("CSNLN in-scale, 48x48x128", *kernels(InScaleAttention(), features, False), repeat)
    compare("CSNLN cross-scale x2, 48x48x128", *kernels(CrossScaleAttention(), features, False), repeat)


def tiles(repeat: int) -> None:
    print("\n| chop | tiles at once | time | ratio | extra peak memory |\n" + 5 * "|---" + "|")
    network, rule = PANet().eval(), chop_rule("panet-denoise")
    image = torch.rand(1, 3, 168, 240)  # 16 tiles of 57x75
    threads = torch.get_num_threads()

    def run(at_once: int, reentrant: bool) -> None:
        with torch.inference_mode():
            chop(network, image, rule, at_once=at_once, reentrant=reentrant)

    ways = {
        "1, on every core (as released)": (1, False),
        "2, a batch": (2, False),
        "16, a batch": (16, False),
        f"{threads}, side by side (used)": (threads, True),
    }
    # Side by side the process is switched to keeping freed memory, for good: what the released programs do comes first.
    runs = {name: functools.partial(run, *how) for name, how in ways.items()}
    seconds = {}
    for name, chopped in runs.items():
        chopped()
        seconds[name] = min(timed(chopped) for _ in range(repeat))
    base = next(iter(seconds.values()))
    for name, chopped in runs.items():
        memory = (peak_memory(chopped) or 0) / MIB
        ratio = base / seconds[name]
        print(f"| PANet, 168x240 | {name} | {seconds[name]:.3f} s | {ratio:.2f}x | {memory:.0f} MiB |", flush=True)


def whole(repeat: int) -> None:
    attention, features = PyramidAttention(), torch.randn(1, 64, 481, 321)

    def run() -> None:
        with torch.inference_mode():
            attention(features)

    start = time.perf_counter()
    memory = (peak_memory(run) or 0) / MIB
    seconds = time.perf_counter() - start
    print(f"\nwhole-image pyramid attention, 481x321x64, once: {seconds:.0f} s, {memory:.0f} MiB extra peak memory")


def floor(repeat: int) -> None:
    """Hold the streamed form against nothing but the matrix products of its scores and of its response."""
    height, width, channels = 57, 77, 64
    query, key, value = (torch.randn(1, c, height, width) for c in (channels // 2, channels // 2, channels))
    sizes = [(int(height * s), int(width * s)) for s in PyramidAttention().scales]
    keys, values = ([functional.interpolate(x, size) for size in sizes] for x in (key, value))
    rows, flat = query[0].flatten(1).t().contiguous(), torch.cat([k.flatten(2) for k in keys], dim=2)[0]
    flat_values = torch.cat([v.flatten(2) for v in values], dim=2)[0].t().contiguous()
    step, buffer, out = 4096, torch.empty(512, 4096), torch.zeros(height * width, channels)
    spent: Counter[str] = Counter()

    def products() -> None:
        for part, sums in zip(rows.split(512), out.split(512), strict=True):
            for first in range(0, flat.shape[1], step):
                right = flat[:, first : first + step]
                scores = torch.mm(part, right, out=buffer.flatten()[: len(part) * right.shape[1]].view(len(part), -1))
                sums.addmm_(scores, flat_values[first : first + step])

    def clocked(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def run(*given: Any) -> Any:
            start = time.process_time()
            try:
                return function(*given)
            finally:
                spent[name] += time.process_time() - start

        return run

    streamed = clocked("streamed", lambda: patch_attention(query, keys, values))
    plain = clocked("products", products)
    patched = {"gather": "sums before the softmax", "spread": "sums behind it", "attention": "scores"}
    with ExitStack() as stack, torch.inference_mode():
        for name, what in patched.items():
            own = getattr(tiled_attention._Tiles, name)
            stack.enter_context(patch.object(tiled_attention._Tiles, name, clocked(what, own)))
        softmax = tiled_attention.softmax_rows_
        stack.enter_context(patch.object(tiled_attention, "softmax_rows_", clocked("softmax", softmax)))
        own = tiled_attention._Tiles.products
        stack.enter_context(patch.object(tiled_attention._Tiles, "products", clocked("products of the tiles", own)))
        for _ in range(repeat):
            streamed()
            plain()
    one = spent["products"]
    weighting = spent["scores"] - sum(spent[n] for n in ("products of the tiles", patched["gather"], "softmax"))
    response = spent["streamed"] - spent["scores"] - spent[patched["spread"]]
    print("\npyramid attention, 57x77x64, CPU time in units of the bare products of the same sizes")
    print("| all | products of scores | of the response | softmax | weighting | sums before the softmax | behind it |")
    print(7 * "|---" + "|")
    cells = spent["streamed"], spent["products of the tiles"], response, spent["softmax"], weighting
    print(
        "|".join(["", *(f" {c / one:.2f} " for c in (*cells, *(spent[patched[n]] for n in ("gather", "spread")))), ""])
    )


PARTS = {"attention": attention, "chop": tiles, "floor": floor, "whole": whole}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("parts", nargs="*", help="what to measure; everything by default")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    print(
        f"torch {torch.__version__}, {options.threads} threads, {os.cpu_count()} cores, {platform.machine()}, "
        f"load {os.getloadavg()[0]:.1f}, OMP_WAIT_POLICY={os.environ.get('OMP_WAIT_POLICY', 'unset')}"
    )
    for part in options.parts or PARTS:
        if part not in PARTS:
            parser.error(f"unknown part '{part}'; known: {', '.join(PARTS)}")
        PARTS[part](options.repeat)


if __name__ == "__main__":
    main()
