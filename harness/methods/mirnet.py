"""MIRNet with the authors' weights for real noise, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method


def _network(task: str, level: int) -> Any:
    from harness.networks.mirnet import MIRNet

    return MIRNet()


released_method(
    "mirnet",
    _network,
    tasks=["denoise-real"],
    weights="mirnet",
    file="denoising.pth",
    title="MIRNet",
    paper="Zamir et al., ECCV 2020",
    url="https://github.com/swz30/MIRNet",
    checked="the keys of the authors' program",
)
