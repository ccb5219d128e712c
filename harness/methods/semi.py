"""SEMI with the authors' weights, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Wei et al., CVPR 2019"
URL = "https://github.com/wwzjer/Semi-supervised-IRR"


def _network(task: str, level: int) -> Any:
    from harness.networks.semi import SEMI

    return SEMI()


# The authors' program saves by matplotlib and measures np.uint8(255 * output): both truncate.
@method(
    "semi",
    tasks=["derain"],
    title="SEMI",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["semi"],
    file=lambda task, level: "semi/model.index",
    network=_network,
    checked="the authors' program and weights",
    saving="truncate",
)
def build(task: str, level: int) -> Any:
    """Build the network."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released
    from harness.networks.semi import from_checkpoint

    where = "weights semi/model.index"
    weights = from_checkpoint(load_weights("semi", "model.index"), where)
    return load_released(_network(task, level), weights, where)


trained_method("semi-trained", _network, {"derain": "semi-derain"}, title="SEMI", paper=PAPER, url=URL)
