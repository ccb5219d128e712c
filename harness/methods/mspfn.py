"""MSPFN with the authors' checkpoint, which the user supplies, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Jiang et al., CVPR 2020"
URL = "https://github.com/kuijiang94/MSPFN"


def _network(task: str, level: int) -> Any:
    from harness.networks.mspfn import MSPFN

    return MSPFN()


def _large_network(task: str, level: int) -> Any:
    from harness.networks.mspfn import MSPFN

    return MSPFN(blocks=3)


def _state(arrays: dict[str, Any], where: str) -> Any:
    """Name the released network's state, which has one block a module."""
    from harness.networks.mspfn import from_checkpoint

    return from_checkpoint(arrays, where)


# The program saves np.uint8 of its output, so its images are truncated.
released_method(
    "mspfn",
    _network,
    tasks=["derain"],
    weights="mspfn",
    file="epoch50.index",
    translate=_state,
    title="MSPFN",
    paper=PAPER,
    url=URL,
    checked="the authors' program; no weights were at hand",
    saving="truncate",
)
trained_method("mspfn-trained", _large_network, {"derain": "mspfn-derain"}, title="MSPFN", paper=PAPER, url=URL)
