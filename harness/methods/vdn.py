"""VDN with the authors' weights for real noise."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Yue et al., NeurIPS 2019"
URL = "https://github.com/zsyOAOA/VDNet"


def _network(task: str, level: int) -> Any:
    from harness.networks.vdn import VDN

    return VDN()


def _denoiser(task: str, level: int) -> Any:
    """Make the network for training: S-Net takes no part in restoring and is left as it is."""
    network = _network(task, level)
    network.SNet.requires_grad_(False)
    return network


@method(
    "vdn",
    tasks=["denoise-real"],
    title="VDN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["vdn"],
    file=lambda task, level: "vdn/sidd.pth",
    network=_network,
    checked="the authors' outputs on generated weights",
)
def build(task: str, level: int) -> Any:
    """Build the network that was trained on SIDD."""
    from harness.assets.weights.loading import released_network

    return released_network("vdn", "sidd.pth", lambda: _network(task, level))


trained_method("vdn-trained", _denoiser, {"denoise-real": "vdn-denoise-real"}, title="VDN", paper=PAPER, url=URL)
