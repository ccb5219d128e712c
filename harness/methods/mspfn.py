"""MSPFN with the authors' checkpoint, which the user supplies, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Jiang et al., CVPR 2020"
URL = "https://github.com/kuijiang94/MSPFN"


def _network(task: str, level: int) -> Any:
    from harness.networks.mspfn import MSPFN

    return MSPFN()


def _large_network(task: str, level: int) -> Any:
    from harness.networks.mspfn import MSPFN

    return MSPFN(blocks=3)


# The program saves np.uint8 of its output, so its images are truncated.
@method(
    "mspfn",
    tasks=["derain"],
    title="MSPFN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["mspfn"],
    file=lambda task, level: "mspfn/epoch50.index",
    network=_network,
    checked="the authors' program; no weights were at hand",
    saving="truncate",
)
def build(task: str, level: int) -> Any:
    """Build the network of the released weights, which has one block a module."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released
    from harness.networks.mspfn import from_checkpoint

    where = "weights mspfn/epoch50.index"
    weights = from_checkpoint(load_weights("mspfn", "epoch50.index"), where)
    return load_released(_network(task, level), weights, where)


trained_method("mspfn-trained", _large_network, {"derain": "mspfn-derain"}, title="MSPFN", paper=PAPER, url=URL)
