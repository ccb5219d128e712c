"""CBDNet with the authors' weights, for uncompressed images and for JPEG, and the PyTorch port that is used most."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Guo et al., CVPR 2019"
URL = "https://github.com/GuoShi28/CBDNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.cbdnet import CBDNet

    return CBDNet()


def _port(task: str, level: int) -> Any:
    from harness.networks.cbdnet import CBDNetPort

    return CBDNetPort()


@method(
    "cbdnet",
    tasks=["denoise-real"],
    title="CBDNet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["cbdnet"],
    file=lambda task, level: "cbdnet/cbdnet.mat",
    network=_network,
    checked="the layers of the released file",
)
def build(task: str, level: int) -> Any:
    """Build the network for images that were not compressed, such as those of SIDD and DND."""
    from harness.assets.weights.loading import released_network

    return released_network("cbdnet", "cbdnet.mat", lambda: _network(task, level))


@method(
    "cbdnet-jpeg",
    tasks=["denoise-real"],
    title="CBDNet (JPEG)",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["cbdnet"],
    file=lambda task, level: "cbdnet/jpeg.mat",
    network=_network,
    checked="the layers of the released file",
)
def jpeg(task: str, level: int) -> Any:
    """Build the network for noisy images that were saved as JPEG."""
    from harness.assets.weights.loading import released_network

    return released_network("cbdnet", "jpeg.mat", lambda: _network(task, level))


@method(
    "cbdnet-port",
    tasks=["denoise-real"],
    title="CBDNet (PyTorch port)",
    paper=PAPER,
    url="https://github.com/IDKiro/CBDNet-pytorch",
    origin="released",
    weights=["cbdnet"],
    file=lambda task, level: "cbdnet/port.pth",
    network=_port,
    checked="the port's outputs on generated weights",
)
def port(task: str, level: int) -> Any:
    """Build the port, another network that others trained on other images."""
    from harness.assets.weights.loading import released_network

    return released_network("cbdnet", "port.pth", lambda: _port(task, level))


trained_method(
    "cbdnet-trained", _network, {"denoise-real": "cbdnet-denoise-real"}, title="CBDNet", paper=PAPER, url=URL
)
