"""CSNLN: super-resolution by cross-scale non-local attention, applied in tiles as the paper's command does."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.panet import weights_file
from harness.methods.trained import trained_method

PAPER = "Mei et al., CVPR 2020"
URL = "https://github.com/SHI-Labs/Cross-Scale-Non-Local-Attention"
CHOP = {"sr": "csnln"}


def _network(task: str, level: int) -> Any:
    from harness.networks.csnln import CSNLN

    return CSNLN(level)


@method(
    "csnln",
    tasks=["sr"],
    title="CSNLN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["csnln"],
    file=lambda task, level: f"csnln/{weights_file(task, level)}",
    network=_network,
    checked="the authors' outputs on generated weights",
    policy="chop",
    chop=CHOP,
)
def csnln(task: str, level: int) -> Any:
    """Build CSNLN with the authors' weights."""
    from harness.assets.weights.loading import released_network

    return released_network("csnln", weights_file(task, level), lambda: _network(task, level))


trained_method(
    "csnln-trained", _network, {"sr": "csnln-sr"}, title="CSNLN", paper=PAPER, url=URL, policy="chop", chop=CHOP
)
