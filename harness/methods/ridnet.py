"""RIDNet with the authors' weights, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Anwar and Barnes, ICCV 2019"
URL = "https://github.com/saeed-anwar/RIDNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.ridnet import RIDNet

    return RIDNet()


@method(
    "ridnet",
    tasks=["denoise-real"],
    title="RIDNet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["ridnet"],
    file=lambda task, level: "ridnet/ridnet.pt",
    network=_network,
    checked="the authors' outputs on generated weights",
)
def build(task: str, level: int) -> Any:
    """Build the network."""
    from harness.assets.weights.loading import released_network

    return released_network("ridnet", "ridnet.pt", lambda: _network(task, level))


trained_method(
    "ridnet-trained", _network, {"denoise-real": "ridnet-denoise-real"}, title="RIDNet", paper=PAPER, url=URL
)
