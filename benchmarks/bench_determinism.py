"""What the number of threads changes: the same work in processes with 1, 2 and 4 threads, bit by bit.

Each process makes inputs under every degradation, applies networks and methods on arrays, measures under many
protocols, and keeps what it got. The first runs twice, to tell threads from chance. Images are the embedded ones and,
where they are here, one of Set5 and of Rain100L; a method whose weights are not here is left out and named.

    python benchmarks/bench_determinism.py [--threads 1 2 4] [--methods dncnn nlm]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets import fetch
from harness.assets.datasets.reading import open_dataset
from harness.errors import HarnessError, NotAvailableError
from harness.records.cells import Group, InputId, NoiseDraws

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "HARNESS_CORES")

# method, policy, task, level, dataset, image
RESTORED = (
    ("dncnn", "whole", "denoise-rgb", 50, "embedded", "chelsea"),
    ("dncnn", "x8", "denoise-rgb", 50, "embedded", "chelsea"),
    ("dncnn", "whole", "denoise-gray", 50, "embedded-gray", "camera"),
    ("dncnn", "whole", "jpeg", 10, "embedded-gray", "camera"),
    ("ffdnet", "whole", "denoise-rgb", 50, "embedded", "chelsea"),
    ("ircnn", "whole", "denoise-rgb", 50, "embedded", "chelsea"),
    ("resnet-half", "whole", "denoise-rgb", 50, "embedded", "chelsea"),
    ("arcnn", "whole", "jpeg", 10, "embedded-gray", "camera"),
    ("tnrd", "whole", "jpeg", 10, "embedded-gray", "camera"),
    ("lapsrn", "whole", "sr", 2, "set5", "butterfly_GT"),
    ("prenet", "whole", "derain", 0, "rain100l", "1"),
    ("bicubic", "whole", "sr", 3, "set5", "butterfly_GT"),
    ("nlm", "whole", "denoise-rgb", 50, "embedded", "chelsea"),
    ("nlm", "whole", "denoise-gray", 50, "embedded-gray", "camera"),
    ("bilinear", "whole", "demosaic", 0, "embedded", "chelsea"),
    ("malvar", "whole", "demosaic", 0, "embedded", "chelsea"),
    ("menon", "whole", "demosaic", 0, "embedded", "chelsea"),
    ("bm3d", "whole", "denoise-gray", 50, "embedded-gray", "camera"),
)
# Networks whose weights only their authors have, with weights that are generated: name, task, level, policy, size.
GENERATED = (
    ("panet-s", "denoise-rgb", 50, "whole", (48, 60)),
    ("panet-s", "denoise-rgb", 50, "chop", (48, 60)),
    ("rnan", "denoise-gray", 50, "whole", (48, 60)),
    ("csnln", "sr", 2, "whole", (20, 24)),
    ("kit-s", "deblur", 0, "whole", (64, 64)),
)
PROTOCOLS = ("psnr", "psnr-y", "psnr-y8", "ssim-gauss", "ssim-8x8", "ssim-gauss-y", "ssim-gauss-y8-crop", "ssim-volume")


class _Results:
    """What one process made, in files below a folder: arrays by name, and what was left out."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def keep(self, kind: str, name: str, array: NDArray[Any]) -> None:
        np.save(self.folder / f"{kind}--{name}.npy", array, allow_pickle=False)

    def names(self) -> list[str]:
        return sorted(path.stem for path in self.folder.glob("*.npy"))

    def read(self, name: str) -> NDArray[Any]:
        array: NDArray[Any] = np.load(self.folder / f"{name}.npy", allow_pickle=False)
        return array


def make_all(results: _Results, data: Path, chosen: set[str]) -> None:
    """Do the work once, in this process, with the threads that its environment gives it."""
    for dataset in ("embedded", "embedded-gray"):
        fetch(dataset, data)
    for name, array in _inputs(data):
        results.keep("degradation", name, array)
    for case in RESTORED:
        if not chosen or case[0] in chosen:
            _restored(results, data, *case)
    for generated in GENERATED:
        if not chosen or generated[0] in chosen:
            _generated(results, *generated)
    results.keep("metrics", "all", _measured(data))


def _inputs(data: Path) -> Iterator[tuple[str, NDArray[Any]]]:
    from harness.assets.inputs import make_input
    from harness.degradations.registry import DEGRADATIONS

    for made in DEGRADATIONS.values():
        level = {"Noise": 50, "Jpeg": 10, "Bicubic": 3}.get(type(made).__name__, 0)
        if made.name == "pairs":
            continue
        fetched = open_dataset("embedded", data)
        which = InputId(level, 0, "chelsea")
        yield made.name, make_input(fetched, made, which, fetched.read("chelsea"))[1]


def _restored(
    results: _Results, data: Path, method: str, policy: str, task: str, level: int, dataset: str, image: str
) -> None:
    """Restore an image through the stage, as DVC runs it, and keep its 8-bit pixels and what it was rounded from."""
    from harness.assets.inputs import make_input, record_inputs
    from harness.degradations import degradation
    from harness.images import read_image
    from harness.methods import build_method, get_method
    from harness.records.tasks import TASKS
    from harness.run.apply import array_restorer, tensor_restorer
    from harness.run.restore import restore

    name = f"{method} {policy} {task}"
    try:
        found = get_method(method)
        made = degradation(TASKS[task].degradation)
        fetched = open_dataset(dataset, data)
        function = build_method(found, task, level, dataset)
    except (NotAvailableError, HarnessError) as missing:
        print(f"left out: {name}: {missing}", file=sys.stderr)
        return
    which = InputId(level, 0, image)
    _, degraded = make_input(fetched, made, which, fetched.read(image))
    scale = level if task == "sr" else 1
    if found.on == "tensor":
        restorer = tensor_restorer(function, policy, found.chop.get(task, ""), scale)
    else:
        restorer = array_restorer(function, policy)
    results.keep("unrounded", name, restorer(degraded.copy()))
    with tempfile.TemporaryDirectory() as folder:
        restore(
            Group(task, dataset, made.name, method, policy),
            found,
            (level,),
            record_inputs(data, dataset, made.name, (level,), NoiseDraws()),
            data=data,
            partial=Path(folder, "partial"),
            target=Path(folder, "restored"),
            noise=NoiseDraws(),
            code="",
            only={which},
        )
        results.keep("pixels", name, read_image(Path(folder, "restored") / which.file))
    results.keep("truth", name, made.reference(fetched.read(image), level))


def _generated(results: _Results, method: str, task: str, level: int, policy: str, size: tuple[int, int]) -> None:
    """Apply a network with seeded weights; they restore nothing, but all its layers run."""
    import torch

    from harness.methods import get_method
    from harness.networks.checkpoints import mark_ready
    from harness.run.apply import tensor_restorer

    found = get_method(method)
    assert found.network is not None
    torch.manual_seed(1)
    network = found.network(task, level)
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.normal_(std=(1.0 / parameter[0].numel()) ** 0.5)
    mark_ready(network, "released", "generated for this benchmark")
    image = np.random.default_rng(0).uniform(0, 255, (*size, 3) if task != "denoise-gray" else size)
    scale = level if task == "sr" else 1
    restorer = tensor_restorer(network, policy, found.chop.get(task, ""), scale)
    results.keep("unrounded", f"{method} {policy} {task} (generated weights)", restorer(image))


def _measured(data: Path) -> NDArray[np.float64]:
    from harness.assets.inputs import make_input
    from harness.degradations import degradation
    from harness.protocols import measure_many

    values = []
    fetched = open_dataset("embedded", data)
    for image in fetched.image_ids:
        made = degradation("awgn-seed0-8bit")
        truth, noisy = make_input(fetched, made, InputId(30, 0, image), fetched.read(image))
        values += list(measure_many(PROTOCOLS, truth, np.asarray(noisy, dtype=np.uint8)).values())
    return np.array(values)


def compare(one: _Results, other: _Results) -> list[tuple[str, str]]:
    """Say of everything that was made how much it differs; empty text where no bit does."""
    found = []
    for name in one.names():
        if name.startswith("truth"):
            continue
        first, second = one.read(name), other.read(name)
        if first.dtype == second.dtype and first.tobytes() == second.tobytes():
            found.append((name, ""))
            continue
        apart = np.abs(first.astype(np.float64) - second.astype(np.float64))
        text = f"{(apart > 0).sum():,} of {apart.size:,} samples, by up to {apart.max():.2g}"
        kind, _, case = name.partition("--")
        if kind == "pixels":
            from harness.metrics import psnr

            truth = one.read(f"truth--{case}")
            text += f"; {abs(psnr(truth, first) - psnr(truth, second)):.1e} dB"
        if kind == "unrounded":
            text += f" gray levels (values reach {np.abs(first).max():.3g})"
        found.append((name, text))
    return found


def main() -> None:
    """Run one process after another and compare each with the first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--methods", nargs="+", default=[], help="only these methods (degradations and metrics always)")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of fetched files")
    parser.add_argument("--into", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.into:
        make_all(_Results(given.into), given.data, set(given.methods))
        return
    with tempfile.TemporaryDirectory() as folder:
        runs = [given.threads[0], *given.threads]
        for number, threads in enumerate(runs):
            command = [sys.executable, __file__, "--into", f"{folder}/{number}", "--data", str(given.data)]
            start = time.perf_counter()
            subprocess.run(
                [*command, "--methods", *given.methods] if given.methods else command,
                env={**os.environ, **dict.fromkeys(VARIABLES, str(threads))},
                stderr=None if number == 0 else subprocess.DEVNULL,
                check=True,
            )
            print(f"{threads} threads: {time.perf_counter() - start:.0f} s", file=sys.stderr)
        first = _Results(Path(folder, "0"))
        for number, threads in enumerate(runs[1:], 1):
            found = compare(first, _Results(Path(folder, str(number))))
            print(f"\n{runs[0]} threads against {threads}: {sum(not text for _, text in found)} of {len(found)} equal")
            for name, text in found:
                if text:
                    print(f"  {name.replace('--', ' ')}: {text}")


if __name__ == "__main__":
    main()
