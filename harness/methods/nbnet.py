"""NBNet with the authors' weights for SIDD, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Cheng et al., CVPR 2021"
URL = "https://github.com/megvii-research/NBNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.nbnet import NBNet

    return NBNet()


@method(
    "nbnet",
    tasks=["denoise-real"],
    title="NBNet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["nbnet"],
    file=lambda task, level: "nbnet/sidd.pkl",
    network=_network,
    checked="the paper's structure and number of parameters, and the released program",
)
def build(task: str, level: int) -> Any:
    """Build the network."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released
    from harness.networks.nbnet import from_megengine

    where = "weights nbnet/sidd.pkl"
    return load_released(_network(task, level), from_megengine(load_weights("nbnet", "sidd.pkl")), where)


trained_method("nbnet-trained", _network, {"denoise-real": "nbnet-denoise-real"}, title="NBNet", paper=PAPER, url=URL)
