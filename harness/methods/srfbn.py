"""SRFBN with the authors' weights, in tiles as their options say; `srfbn-images` are the images they released."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Li et al., CVPR 2019"
URL = "https://github.com/Paper99/SRFBN_CVPR19"
CHOP = {"sr": "srfbn"}


def _network(task: str, level: int) -> Any:
    from harness.networks.srfbn import SRFBN

    return SRFBN(level)


released_method(
    "srfbn",
    _network,
    tasks=["sr"],
    weights="srfbn",
    file=lambda task, level: f"x{level}.pth",
    title="SRFBN",
    paper=PAPER,
    url=URL,
    licence="MIT",
    checked="the authors' outputs on generated weights, and Set5 with their small release",
    policy="chop",
    chop=CHOP,
)


trained_method(
    "srfbn-trained", _network, {"sr": "srfbn-sr"}, title="SRFBN", paper=PAPER, url=URL, policy="chop", chop=CHOP
)
