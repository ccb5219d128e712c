"""SRFBN with the authors' weights, in tiles as their options say; `srfbn-images` are the images they released."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Li et al., CVPR 2019"
URL = "https://github.com/Paper99/SRFBN_CVPR19"
CHOP = {"sr": "srfbn"}


def _network(task: str, level: int) -> Any:
    from harness.networks.srfbn import SRFBN

    return SRFBN(level)


@method(
    "srfbn",
    tasks=["sr"],
    title="SRFBN",
    paper=PAPER,
    url=URL,
    licence="MIT",
    origin="released",
    weights=["srfbn"],
    file=lambda task, level: f"srfbn/x{level}.pth",
    network=_network,
    checked="the authors' outputs on generated weights, and Set5 with their small release",
    policy="chop",
    chop=CHOP,
)
def srfbn(task: str, level: int) -> Any:
    """Build the network of a scale."""
    from harness.assets.weights.loading import released_network

    return released_network("srfbn", f"x{level}.pth", lambda: _network(task, level))


trained_method(
    "srfbn-trained", _network, {"sr": "srfbn-sr"}, title="SRFBN", paper=PAPER, url=URL, policy="chop", chop=CHOP
)
