"""CycleISP's sRGB denoiser with the authors' weights for SIDD and for DND, where the user supplies them."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Zamir et al., CVPR 2020"
URL = "https://github.com/swz30/CycleISP"


def _network(task: str, level: int) -> Any:
    from harness.networks.cycleisp import CycleISP

    return CycleISP()


for _name, _title, _file in (
    ("cycleisp", "CycleISP", "sidd-rgb.pth"),
    ("cycleisp-dnd", "CycleISP (DND)", "dnd-rgb.pth"),
):
    released_method(
        _name,
        _network,
        tasks=["denoise-real"],
        weights="cycleisp",
        file=_file,
        title=_title,
        paper=PAPER,
        url=URL,
        checked="the authors' outputs on generated weights",
    )
trained_method(
    "cycleisp-trained", _network, {"denoise-real": "cycleisp-denoise-real"}, title="CycleISP", paper=PAPER, url=URL
)
