"""Networks of convolutions by onnxruntime and by torch, in turn in one process: CPU time, and how far apart they are.

    python benchmarks/bench_engine.py [--threads 1] [--repeat 5]

Seeded weights on an image of 481x321 (a low-resolution one of 240x160 for super-resolution); needs the extra `onnx`.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time

import onnxruntime
import torch
from torch import Tensor, nn

from harness.inference import restore
from harness.inference.allocator import keep_freed_memory
from harness.networks.checkpoints import mark_ready
from harness.networks.dncnn import DnCNN
from harness.networks.edsr import EDSR
from harness.networks.ffdnet import FFDNet


class Told(nn.Module):
    """FFDNet at one noise level."""

    def __init__(self) -> None:
        super().__init__()
        self.network = FFDNet(3, 12, 96)

    def forward(self, image: Tensor) -> Tensor:
        return self.network(image, 50 / 255)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    keep_freed_memory()  # as a run does
    print(
        f"torch {torch.__version__}, onnxruntime {onnxruntime.__version__}, {options.threads} threads, "
        f"{os.cpu_count()} cores, {platform.machine()}, load {os.getloadavg()[0]:.1f}\n"
    )
    print("| network | torch | onnxruntime | ratio | largest difference in levels of 255 |\n" + 5 * "|---" + "|")
    cells = {
        "DnCNN in colour": (DnCNN(3, 20), (321, 481)),
        "FFDNet in colour": (Told(), (321, 481)),
        "EDSR-baseline x2": (EDSR(n_resblocks=16, n_feats=64, scale=2, res_scale=1.0), (160, 240)),
    }
    for name, (made, size) in cells.items():
        network, image = mark_ready(made.eval(), "trained", "seed 0"), torch.rand(1, 3, *size)
        first, second = (restore(network, image, policy) for policy in ("whole", "whole+onnx1"))
        seconds: dict[str, list[float]] = {}
        for _ in range(options.repeat):
            for policy in ("whole", "whole+onnx1"):
                start = time.process_time()
                restore(network, image, policy)
                seconds.setdefault(policy, []).append(time.process_time() - start)
        torchs, onnx = (statistics.median(each) for each in seconds.values())
        worst = 255 * float((first - second).abs().max())
        print(f"| {name} | {torchs:.2f} s | {onnx:.2f} s | {onnx / torchs:.2f} | {worst:.1e} |", flush=True)


if __name__ == "__main__":
    main()
