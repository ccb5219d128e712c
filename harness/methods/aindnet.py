"""AINDNet with the authors' weights, trained on synthetic noise and adapted to SIDD, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Kim et al., CVPR 2020"
URL = "https://github.com/terryoo/AINDNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.aindnet import AINDNet

    return AINDNet()


def _state(arrays: dict[str, Any], where: str) -> Any:
    from harness.networks.aindnet import from_tensorflow

    return from_tensorflow(arrays, where)


released_method(
    "aindnet",
    _network,
    tasks=["denoise-real"],
    weights="aindnet",
    file="sidd-transfer.index",
    translate=_state,
    title="AINDNet",
    paper=PAPER,
    url=URL,
    checked="the paper's structure and number of parameters, and the released program",
)
trained_method(
    "aindnet-trained", _network, {"denoise-real": "aindnet-denoise-real"}, title="AINDNet", paper=PAPER, url=URL
)
