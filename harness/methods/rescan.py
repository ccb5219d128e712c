"""RESCAN, with weights that the user supplies, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Li et al., ECCV 2018"
URL = "https://github.com/XiaLiPKU/RESCAN"


def _network(task: str, level: int) -> Any:
    from harness.networks.rescan import RESCAN

    return RESCAN()


released_method(
    "rescan",
    _network,
    tasks=["derain"],
    weights="rescan",
    file="rescan.pth",
    title="RESCAN",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
)


trained_method("rescan-trained", _network, {"derain": "rescan-derain"}, title="RESCAN", paper=PAPER, url=URL)
