"""SADNet with the authors' weights for real noise, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Chang et al., ECCV 2020"
URL = "https://github.com/JimmyChame/SADNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.sadnet import SADNet

    return SADNet()


@method(
    "sadnet",
    tasks=["denoise-real"],
    title="SADNet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["sadnet"],
    file=lambda task, level: "sadnet/real.pth",
    network=_network,
    checked="the authors' outputs on generated weights",
)
def build(task: str, level: int) -> Any:
    """Build the network that was trained on SIDD and RENOIR."""
    from harness.assets.weights.loading import released_network

    return released_network("sadnet", "real.pth", lambda: _network(task, level))


trained_method(
    "sadnet-trained", _network, {"denoise-real": "sadnet-denoise-real"}, title="SADNet", paper=PAPER, url=URL
)
