"""DANet's denoiser with the authors' weights: as trained first (DANet), and on generated noise besides (DANet+)."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Yue et al., ECCV 2020"
URL = "https://github.com/zsyOAOA/DANet"


def _network(task: str, level: int) -> Any:
    from harness.networks.danet import DANet

    return DANet()


def _released(name: str, title: str, file: str) -> None:
    """Register the network with one of the released files."""

    @method(
        name,
        tasks=["denoise-real"],
        title=title,
        paper=PAPER,
        url=URL,
        origin="released",
        weights=["danet"],
        file=lambda task, level: f"danet/{file}",
        network=_network,
        checked="the authors' outputs on generated weights",
    )
    def build(task: str, level: int) -> Any:
        from harness.assets.weights.loading import released_network

        return released_network("danet", file, lambda: _network(task, level))


_released("danet", "DANet", "danet.pt")
_released("danet-plus", "DANet+", "danet-plus.pt")
# Trained on SIDD, PolyU and RENOIR together, for DND.
_released("gdanet", "GDANet", "gdanet.pt")
_released("gdanet-plus", "GDANet+", "gdanet-plus.pt")
trained_method("danet-trained", _network, {"denoise-real": "danet-denoise-real"}, title="DANet", paper=PAPER, url=URL)
