"""OISR-RK3, the largest of the paper's models and the one in other papers' tables, in tiles as in its `demo.sh`."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "He et al., CVPR 2019"
URL = "https://github.com/HolmesShuan/OISR-PyTorch"
CHOP = {"sr": "oisr"}


def _network(task: str, level: int) -> Any:
    from harness.networks.oisr import oisr

    return oisr("rk3", level)


@method(
    "oisr",
    tasks=["sr"],
    title="OISR-RK3",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["oisr"],
    file=lambda task, level: f"oisr/rk3-x{level}.pt",
    network=_network,
    policy="chop",
    chop=CHOP,
    checked="the authors' outputs on generated weights",
)
def build(task: str, level: int) -> Any:
    """Build the network of a scale."""
    from harness.assets.weights.loading import released_network

    return released_network("oisr", f"rk3-x{level}.pt", lambda: _network(task, level))


trained_method(
    "oisr-trained", _network, {"sr": "oisr-sr"}, title="OISR-RK3", paper=PAPER, url=URL, policy="chop", chop=CHOP
)
