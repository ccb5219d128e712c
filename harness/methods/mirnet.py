"""MIRNet with the authors' weights for real noise, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods import method


def _network(task: str, level: int) -> Any:
    from harness.networks.mirnet import MIRNet

    return MIRNet()


@method(
    "mirnet",
    tasks=["denoise-real"],
    title="MIRNet",
    paper="Zamir et al., ECCV 2020",
    url="https://github.com/swz30/MIRNet",
    origin="released",
    weights=["mirnet"],
    file=lambda task, level: "mirnet/denoising.pth",
    network=_network,
    checked="the keys of the authors' program",
)
def build(task: str, level: int) -> Any:
    """Build the network."""
    from harness.assets.weights.loading import released_network

    return released_network("mirnet", "denoising.pth", lambda: _network(task, level))
