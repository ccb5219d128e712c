"""SAN, in tiles as the authors' commands do it (`--chop`)."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Dai et al., CVPR 2019"
URL = "https://github.com/daitao/SAN"
CHOP = {"sr": "san"}


def _network(task: str, level: int) -> Any:
    from harness.networks.san import SAN

    return SAN(level)


released_method(
    "san",
    _network,
    tasks=["sr"],
    weights="san",
    file=lambda task, level: f"x{level}.pt",
    title="SAN",
    paper=PAPER,
    url=URL,
    policy="chop",
    chop=CHOP,
    checked="the authors' outputs on generated weights",
)


trained_method("san-trained", _network, {"sr": "san-sr"}, title="SAN", paper=PAPER, url=URL, policy="chop", chop=CHOP)
