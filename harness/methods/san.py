"""SAN, in tiles as the authors' commands do it (`--chop`)."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Dai et al., CVPR 2019"
URL = "https://github.com/daitao/SAN"
CHOP = {"sr": "san"}


def _network(task: str, level: int) -> Any:
    from harness.networks.san import SAN

    return SAN(level)


@method(
    "san",
    tasks=["sr"],
    title="SAN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["san"],
    file=lambda task, level: f"san/x{level}.pt",
    network=_network,
    policy="chop",
    chop=CHOP,
    checked="the authors' outputs on generated weights",
)
def build(task: str, level: int) -> Any:
    """Build the network of a scale."""
    from harness.assets.weights.loading import released_network

    return released_network("san", f"x{level}.pt", lambda: _network(task, level))


trained_method("san-trained", _network, {"sr": "san-sr"}, title="SAN", paper=PAPER, url=URL, policy="chop", chop=CHOP)
