"""DnCNN with the authors' weights: denoising, and JPEG with the one model DnCNN-3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

# task -> level -> (file, channels, layers). Colour at 30 and 70: the models of the ranges 20 to 30 and 60 to 70.
_DENOISE = (10, 30, 50, 70)
FILES = {
    "denoise-gray": {sigma: (f"gray-sigma{sigma}.mat", 1, 17) for sigma in _DENOISE},
    "denoise-rgb": {
        10: ("color-sigma10.mat", 3, 20),
        30: ("color-sigma20to30.mat", 3, 20),
        50: ("color-sigma50.mat", 3, 20),
        70: ("color-sigma60to70.mat", 3, 20),
    },
    "jpeg": {quality: ("dncnn3.mat", 1, 20) for quality in (10, 20, 30, 40)},
}


def _network(task: str, level: int) -> Any:
    from harness.networks.dncnn import DnCNN

    _, channels, depth = FILES[task][level]
    return DnCNN(channels, depth)


@method(
    "dncnn",
    tasks=["denoise-rgb", "denoise-gray", "jpeg"],
    title="DnCNN",
    paper="Zhang et al., IEEE TIP 2017",
    url="https://github.com/cszn/DnCNN",
    origin="released",
    weights=["dncnn"],
    file=lambda task, level: f"dncnn/{FILES[task][level][0]}" if level in FILES[task] else "",
    network=_network,
    checked="the released weights and the numbers printed for them",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a noise level, or DnCNN-3 for any JPEG quality."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.checkpoints import load_released

    if level not in FILES[task]:
        raise NotAvailableError(f"DnCNN was released for {task} at the levels {sorted(FILES[task])}, not at {level}")
    file = FILES[task][level][0]
    weights = load_weights("dncnn", file)
    return ready(load_released(_network(task, level), weights, f"weights dncnn/{file}"))
