"""CSNLN: super-resolution by cross-scale non-local attention, applied in tiles as the paper's command does."""

from __future__ import annotations

from typing import Any

from harness.methods.panet import weights_file
from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Mei et al., CVPR 2020"
URL = "https://github.com/SHI-Labs/Cross-Scale-Non-Local-Attention"
CHOP = {"sr": "csnln"}


def _network(task: str, level: int) -> Any:
    from harness.networks.csnln import CSNLN

    return CSNLN(level)


released_method(
    "csnln",
    _network,
    tasks=["sr"],
    weights="csnln",
    file=weights_file,
    title="CSNLN",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
    policy="chop",
    chop=CHOP,
)


trained_method(
    "csnln-trained", _network, {"sr": "csnln-sr"}, title="CSNLN", paper=PAPER, url=URL, policy="chop", chop=CHOP
)
