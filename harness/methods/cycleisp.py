"""CycleISP's sRGB denoiser with the authors' weights for SIDD and for DND, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Zamir et al., CVPR 2020"
URL = "https://github.com/swz30/CycleISP"


def _network(task: str, level: int) -> Any:
    from harness.networks.cycleisp import CycleISP

    return CycleISP()


def _released(name: str, title: str, file: str) -> None:
    """Register the network with one of the released files."""

    @method(
        name,
        tasks=["denoise-real"],
        title=title,
        paper=PAPER,
        url=URL,
        origin="released",
        weights=["cycleisp"],
        file=lambda task, level: f"cycleisp/{file}",
        network=_network,
        checked="the authors' outputs on generated weights",
    )
    def build(task: str, level: int) -> Any:
        from harness.assets.weights.loading import released_network

        return released_network("cycleisp", file, lambda: _network(task, level))


_released("cycleisp", "CycleISP", "sidd-rgb.pth")
_released("cycleisp-dnd", "CycleISP (DND)", "dnd-rgb.pth")
trained_method(
    "cycleisp-trained", _network, {"denoise-real": "cycleisp-denoise-real"}, title="CycleISP", paper=PAPER, url=URL
)
