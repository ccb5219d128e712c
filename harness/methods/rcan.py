"""RCAN with the authors' weights, in tiles as their command does; `rcan-images` are the images they released."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Zhang et al., ECCV 2018"
URL = "https://github.com/yulunzhang/RCAN"
CHOP = {"sr": "rcan"}


def _network(task: str, level: int) -> Any:
    from harness.networks.rcan import RCAN

    return RCAN(level)


@method(
    "rcan",
    tasks=["sr"],
    title="RCAN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["rcan"],
    file=lambda task, level: f"rcan/x{level}.pt",
    network=_network,
    checked="spandrel's network of the same keys on generated weights",
    policy="chop",
    chop=CHOP,
)
def rcan(task: str, level: int) -> Any:
    """Build the network of a scale."""
    from harness.assets.weights.loading import released_network

    return released_network("rcan", f"x{level}.pt", lambda: _network(task, level))


trained_method(
    "rcan-trained", _network, {"sr": "rcan-sr"}, title="RCAN", paper=PAPER, url=URL, policy="chop", chop=CHOP
)
