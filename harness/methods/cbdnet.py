"""CBDNet with the authors' weights, for uncompressed images and for JPEG, and the PyTorch port that is used most."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Guo et al., CVPR 2019"
URL = "https://github.com/GuoShi28/CBDNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.cbdnet import CBDNet

    return CBDNet()


def _port(task: str, level: int) -> Any:
    from harness.networks.cbdnet import CBDNetPort

    return CBDNetPort()


# For images that were not compressed, such as those of SIDD and DND.
released_method(
    "cbdnet",
    _network,
    tasks=["denoise-real"],
    weights="cbdnet",
    file="cbdnet.mat",
    title="CBDNet",
    paper=PAPER,
    url=URL,
    checked="the layers of the released file",
)


# For noisy images that were saved as JPEG.
released_method(
    "cbdnet-jpeg",
    _network,
    tasks=["denoise-real"],
    weights="cbdnet",
    file="jpeg.mat",
    title="CBDNet (JPEG)",
    paper=PAPER,
    url=URL,
    checked="the layers of the released file",
)


# Another network, that others trained on other images.
released_method(
    "cbdnet-port",
    _port,
    tasks=["denoise-real"],
    weights="cbdnet",
    file="port.pth",
    title="CBDNet (PyTorch port)",
    paper=PAPER,
    url="https://github.com/IDKiro/CBDNet-pytorch",
    checked="the port's outputs on generated weights",
)


trained_method(
    "cbdnet-trained", _network, {"denoise-real": "cbdnet-denoise-real"}, title="CBDNet", paper=PAPER, url=URL
)
