"""FFDNet with the authors' weights; ``ffdnet-clip`` has those for noise clipped to 0..255."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.methods import method

PAPER = "Zhang et al., IEEE TIP 2018"
URL = "https://github.com/cszn/FFDNet"
_SHAPES = {"denoise-rgb": ("color", 3, 12, 96), "denoise-gray": ("gray", 1, 15, 64)}


def _network(task: str, level: int) -> Any:
    from harness.networks.ffdnet import FFDNet

    return FFDNet(*_SHAPES[task][1:])


@method(
    "ffdnet",
    tasks=list(_SHAPES),
    title="FFDNet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["ffdnet"],
    file=lambda task, level: f"ffdnet/{_SHAPES[task][0]}.mat",
    network=_network,
    checked="the released weights and the numbers printed for them",
)
def ffdnet(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network told the noise level; for unclipped noise."""
    return _build(task, level, "")


@method(
    "ffdnet-clip",
    tasks=list(_SHAPES),
    title="FFDNet (clip)",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["ffdnet"],
    file=lambda task, level: f"ffdnet/{_SHAPES[task][0]}-clip.mat",
    rgb_range=1,
)
def ffdnet_clip(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network told the noise level, trained on noise that was rounded and clipped.

    Its programs feed it what MATLAB's ``imnoise`` gives, which is clipped to [0, 1] (``Demo_AWGN_Gray_Clip.m``,
    ``Demo_AWGN_Color_Clip.m``). Beyond that range the gray network amplifies what it is fed.
    """
    apply = _build(task, level, "-clip")
    return lambda batch: apply(batch.clamp(0, 1))


def _build(task: str, level: int, variant: str) -> Callable[[Any], Any]:
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.checkpoints import load_released
    from harness.networks.ffdnet import from_matconvnet

    colour, channels, *_ = _SHAPES[task]
    file = f"{colour}{variant}.mat"
    network = _network(task, level)
    where = f"weights ffdnet/{file}"
    load_released(network, from_matconvnet(load_weights("ffdnet", file), channels, where), where)
    apply = ready(network)
    return lambda batch: apply(batch, level / 255)
