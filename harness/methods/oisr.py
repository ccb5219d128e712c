"""OISR-RK3, the largest of the paper's models and the one in other papers' tables, in tiles as in its `demo.sh`."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "He et al., CVPR 2019"
URL = "https://github.com/HolmesShuan/OISR-PyTorch"
CHOP = {"sr": "oisr"}


def _network(task: str, level: int) -> Any:
    from harness.networks.oisr import oisr

    return oisr("rk3", level)


released_method(
    "oisr",
    _network,
    tasks=["sr"],
    weights="oisr",
    file=lambda task, level: f"rk3-x{level}.pt",
    title="OISR-RK3",
    paper=PAPER,
    url=URL,
    policy="chop",
    chop=CHOP,
    checked="the authors' outputs on generated weights",
)


trained_method(
    "oisr-trained", _network, {"sr": "oisr-sr"}, title="OISR-RK3", paper=PAPER, url=URL, policy="chop", chop=CHOP
)
