"""RESCAN, with weights that the user supplies, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Li et al., ECCV 2018"
URL = "https://github.com/XiaLiPKU/RESCAN"


def _network(task: str, level: int) -> Any:
    from harness.networks.rescan import RESCAN

    return RESCAN()


@method(
    "rescan",
    tasks=["derain"],
    title="RESCAN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["rescan"],
    file=lambda task, level: "rescan/rescan.pth",
    network=_network,
    checked="the authors' outputs on generated weights",
)
def build(task: str, level: int) -> Any:
    """Build the network."""
    from harness.assets.weights.loading import released_network

    return released_network("rescan", "rescan.pth", lambda: _network(task, level))


trained_method("rescan-trained", _network, {"derain": "rescan-derain"}, title="RESCAN", paper=PAPER, url=URL)
