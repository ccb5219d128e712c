"""SADNet with the authors' weights for real noise, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Chang et al., ECCV 2020"
URL = "https://github.com/JimmyChame/SADNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.sadnet import SADNet

    return SADNet()


released_method(
    "sadnet",
    _network,
    tasks=["denoise-real"],
    weights="sadnet",
    file="real.pth",
    title="SADNet",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
)


trained_method(
    "sadnet-trained", _network, {"denoise-real": "sadnet-denoise-real"}, title="SADNet", paper=PAPER, url=URL
)
