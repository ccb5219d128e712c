"""A training step of PANet-S at batch 16, 48x48: against the attention as written, and against a naive loader.

Ratios within one run; `python -m pytest benchmarks/bench_training.py -s` prints them (under a minute on two cores).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from harness.assets.datasets import fetch, open_dataset
from harness.assets.inputs import InputId, make_input
from harness.degradations.registry import degradation
from harness.methods import get_method
from harness.training.losses import weighted
from harness.training.recipe import recipe
from harness.training.samples import Samples
from harness.training.stores import Store, make_store

CUDA = torch.cuda.is_available()
DEVICE = torch.device("cuda" if CUDA else "cpu")
BATCH = 16
REPEAT = 10 if CUDA else 1


def seconds(run: Callable[[], object], repeat: int = REPEAT) -> float:
    """Shortest time of some repetitions after one that warms up."""
    times = []
    for _ in range(repeat + 1):
        start = time.perf_counter()
        run()
        if CUDA:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times[1:])


def step(kernel: str, x: torch.Tensor, y: torch.Tensor) -> Callable[[], object]:
    """A step of PANet-S with one attention kernel."""
    torch.manual_seed(0)
    method = get_method("panet-s")
    assert method.network is not None
    network = method.network("denoise-rgb", 50).to(DEVICE)
    for module in network.modules():
        if hasattr(module, "kernel"):
            module.kernel = kernel
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
    criterion = weighted(recipe("panet-denoise-rgb").loss)

    def run() -> None:
        optimizer.zero_grad(set_to_none=True)
        criterion(network(x), y).backward()
        optimizer.step()

    return run


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Samples:
    data: Path = tmp_path_factory.mktemp("data")
    fetch("embedded", data)
    made = degradation("awgn-8bit")
    store = Store(make_store(open_dataset("embedded", data), made, 50, data / "stores"))
    return Samples(store, recipe("panet-denoise-rgb"), made, 50, 1)


def test_a_step_against_the_direct_form(samples: Samples) -> None:
    x, y = (tensor.to(DEVICE) for tensor in samples.batch(0, range(BATCH)))
    fast, direct = seconds(step("streamed", x, y)), seconds(step("direct", x, y))
    print(f"\nPANet-S, batch {BATCH}, {DEVICE}: {fast:.3f} s a step; direct form {direct / fast:.2f} times as long")
    assert direct > fast


def test_the_loader_against_a_naive_one(samples: Samples, tmp_path: Path) -> None:
    fetch("embedded", tmp_path)
    fetched = open_dataset("embedded", tmp_path)

    def naive() -> None:
        # Decode and degrade the image, then cut the patch: what the first scripts of the field did.
        for place in range(BATCH):
            image = fetched.image_ids[place % len(fetched.image_ids)]
            make_input(fetched, samples.degradation, InputId(50, 0, image), fetched.read(image))

    own, other = seconds(lambda: samples.batch(0, range(BATCH))), seconds(naive)
    x, y = (tensor.to(DEVICE) for tensor in samples.batch(0, range(BATCH)))
    work = seconds(step("streamed", x, y))
    print(
        f"\na batch of {BATCH}: {1000 * own:.1f} ms, naive {other / own:.0f} times as long, {own / work:.1%} of a step"
    )
    assert own < other
    assert CUDA or own < work / 10
