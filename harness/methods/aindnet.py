"""AINDNet with the authors' weights, trained on synthetic noise and adapted to SIDD, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Kim et al., CVPR 2020"
URL = "https://github.com/terryoo/AINDNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.aindnet import AINDNet

    return AINDNet()


@method(
    "aindnet",
    tasks=["denoise-real"],
    title="AINDNet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["aindnet"],
    file=lambda task, level: "aindnet/sidd-transfer.index",
    network=_network,
    checked="the paper's structure and number of parameters, and the released program",
)
def build(task: str, level: int) -> Any:
    """Build the network."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.aindnet import from_tensorflow
    from harness.networks.checkpoints import load_released

    where = "weights aindnet/sidd-transfer.index"
    return load_released(
        _network(task, level), from_tensorflow(load_weights("aindnet", "sidd-transfer.index"), where), where
    )


trained_method(
    "aindnet-trained", _network, {"denoise-real": "aindnet-denoise-real"}, title="AINDNet", paper=PAPER, url=URL
)
