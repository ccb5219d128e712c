"""RIDNet with the authors' weights, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Anwar and Barnes, ICCV 2019"
URL = "https://github.com/saeed-anwar/RIDNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.ridnet import RIDNet

    return RIDNet()


released_method(
    "ridnet",
    _network,
    tasks=["denoise-real"],
    weights="ridnet",
    file="ridnet.pt",
    title="RIDNet",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
)


trained_method(
    "ridnet-trained", _network, {"denoise-real": "ridnet-denoise-real"}, title="RIDNet", paper=PAPER, url=URL
)
