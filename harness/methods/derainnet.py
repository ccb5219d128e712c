"""DerainNet with the weights of its first author's program, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Fu et al., IEEE TIP 2017"
URL = "https://xueyangfu.github.io/projects/tip2017.html"


def _network(task: str, level: int) -> Any:
    from harness.networks.derainnet import DerainNet

    return DerainNet()


# The program saves np.uint8(255 * output), so its images are truncated.
@method(
    "derainnet",
    tasks=["derain"],
    title="DerainNet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["derainnet"],
    file=lambda task, level: "derainnet/model.index",
    network=_network,
    checked="the paper, the first author's program and its weights",
    saving="truncate",
)
def build(task: str, level: int) -> Any:
    """Build the network."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released
    from harness.networks.derainnet import from_checkpoint

    where = "weights derainnet/model.index"
    weights = from_checkpoint(load_weights("derainnet", "model.index"), where)
    return load_released(_network(task, level), weights, where)


trained_method("derainnet-trained", _network, {"derain": "derainnet-derain"}, title="DerainNet", paper=PAPER, url=URL)
