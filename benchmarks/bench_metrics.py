"""SSIM and PSNR of a 768x512 luma: this package, scikit-image and pyiqa, one thread each, in one run.

``python benchmarks/bench_metrics.py`` prints a table of ratios; under ``pytest`` it gives the statistics of
pytest-benchmark. Nothing is asserted about time.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import coffee
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from harness.degradations import awgn_8bit, imresize, noise_generator
from harness.metrics import luma, psnr, ssim
from harness.networks.recognition import _declare_operators

ROUNDS = 30

Measure = Callable[[], float]


def luma_pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Make a photograph of 768x512 and its noisy version."""
    reference = luma(imresize(coffee(), size=(512, 768)), "uint8")
    return reference, awgn_8bit(reference, 25, noise_generator("benchmark", "coffee", 25, 0))


def pyiqa_metrics(x: NDArray[np.uint8], y: NDArray[np.uint8]) -> dict[str, Measure]:
    """Build pyiqa's two metrics on tensors that are ready; empty where it is not installed."""
    if importlib.util.find_spec("pyiqa") is None:
        return {}
    import torch

    torch.set_num_threads(1)
    _declare_operators()  # pyiqa imports torchvision, whose compiled operators are missing beside a CPU-only torch
    from pyiqa.archs.psnr_arch import PSNR
    from pyiqa.archs.ssim_arch import SSIM

    one, other = (torch.from_numpy(image[None, None].astype(np.float32) / 255) for image in (x, y))
    structure, peak = SSIM(test_y_channel=False), PSNR()

    def call(metric: Any) -> Measure:
        def measure() -> float:
            with torch.no_grad():
                return float(metric(other, one))

        return measure

    return {"ssim": call(structure), "psnr": call(peak)}


def contestants() -> dict[str, dict[str, Measure]]:
    """List, for each metric, who computes it."""
    x, y = luma_pair()
    gauss = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    other = pyiqa_metrics(x, y)
    lists: dict[str, dict[str, Measure]] = {
        "ssim-gauss": {
            "harness": lambda: ssim(x, y),
            "scikit-image": lambda: float(structural_similarity(x, y, **gauss)),
        },
        "ssim-skimage": {
            "harness": lambda: ssim(x, y, "skimage"),
            "scikit-image": lambda: float(structural_similarity(x, y)),
        },
        "psnr": {
            "harness": lambda: psnr(x, y),
            "scikit-image": lambda: float(peak_signal_noise_ratio(x, y, data_range=255)),
        },
    }
    if other:
        lists["ssim-gauss"]["pyiqa"] = other["ssim"]
        lists["psnr"]["pyiqa"] = other["psnr"]
    return lists


def print_ratios() -> None:
    """Time all contestants in turn, so that a busy machine disturbs them alike, and print the table."""
    print(f"768x512 luma, one thread, median of {ROUNDS} rounds taken in turn")
    print(f"{'metric':14}{'who':14}{'value':>18}{'ms':>10}{'times harness':>16}")
    for metric, members in contestants().items():
        times: dict[str, list[float]] = {who: [] for who in members}
        values = {who: measure() for who, measure in members.items()}
        for _ in range(ROUNDS):
            for who, measure in members.items():
                start = time.perf_counter()
                measure()
                times[who].append(time.perf_counter() - start)
        ours = statistics.median(times["harness"])
        for who, value in values.items():
            spent = statistics.median(times[who])
            print(f"{metric:14}{who:14}{value:18.12f}{1000 * spent:10.2f}{spent / ours:16.1f}")


CONTESTS = contestants() if __name__ != "__main__" else {}


@pytest.mark.parametrize(("metric", "who"), [(metric, who) for metric, members in CONTESTS.items() for who in members])
def test_metric(benchmark: Any, metric: str, who: str) -> None:
    benchmark.group = metric
    benchmark(CONTESTS[metric][who])


if __name__ == "__main__":
    print_ratios()
