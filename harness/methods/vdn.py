"""VDN with the authors' weights for real noise."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
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


released_method(
    "vdn",
    _network,
    tasks=["denoise-real"],
    weights="vdn",
    file="sidd.pth",
    title="VDN",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
)


trained_method("vdn-trained", _denoiser, {"denoise-real": "vdn-denoise-real"}, title="VDN", paper=PAPER, url=URL)
