"""RCAN with the authors' weights, in tiles as their command does; `rcan-images` are the images they released."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Zhang et al., ECCV 2018"
URL = "https://github.com/yulunzhang/RCAN"
CHOP = {"sr": "rcan"}


def _network(task: str, level: int) -> Any:
    from harness.networks.rcan import RCAN

    return RCAN(level)


released_method(
    "rcan",
    _network,
    tasks=["sr"],
    weights="rcan",
    file=lambda task, level: f"x{level}.pt",
    title="RCAN",
    paper=PAPER,
    url=URL,
    checked="spandrel's network of the same keys on generated weights",
    policy="chop",
    chop=CHOP,
)


trained_method(
    "rcan-trained", _network, {"sr": "rcan-sr"}, title="RCAN", paper=PAPER, url=URL, policy="chop", chop=CHOP
)
