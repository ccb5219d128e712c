"""MPRNet with the authors' weights for real noise, motion blur and rain."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method

# Features, added per level, added in the last stage: the defaults of the authors' three programs.
SIZES = {"denoise-real": (80, 48, 32), "deblur": (96, 48, 32), "derain": (40, 20, 16)}
FILES = {"denoise-real": "denoising.pth", "deblur": "deblurring.pth", "derain": "deraining.pth"}


def _network(task: str, level: int) -> Any:
    from harness.networks.mprnet import MPRNet

    return MPRNet(*SIZES[task])


released_method(
    "mprnet",
    _network,
    tasks=list(SIZES),
    weights="mprnet",
    file=lambda task, level: FILES[task],
    title="MPRNet",
    paper="Zamir et al., CVPR 2021",
    url="https://github.com/swz30/MPRNet",
    checked="the keys of the authors' program",
)
