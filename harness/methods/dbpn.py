"""DBPN (dense, seven stages) with the weights of the authors' PyTorch program, on whole images as it is by default."""

from __future__ import annotations

from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Haris et al., CVPR 2018"
URL = "https://github.com/alterzero/DBPN-Pytorch"


def _network(task: str, level: int) -> Any:
    from harness.networks.dbpn import DBPN

    return DBPN(level)


@method(
    "dbpn",
    tasks=["sr"],
    title="DBPN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["dbpn"],
    file=lambda task, level: f"dbpn/x{level}.pth",
    network=_network,
    checked="the authors' outputs on generated weights",
)
def build(task: str, level: int) -> Any:
    """Build the network of a scale."""
    from harness.assets.weights.loading import released_network

    if level not in (2, 4):
        raise NotAvailableError(f"DBPN was released for x2, x4 and x8, not for x{level}; the harness has x2 and x4")
    return released_network("dbpn", f"x{level}.pth", lambda: _network(task, level))


trained_method("dbpn-trained", _network, {"sr": "dbpn-sr"}, title="DBPN", paper=PAPER, url=URL)
