"""EDSR and PA-EDSR: super-resolution by residual blocks, without and with pyramid attention."""

from __future__ import annotations

from typing import Any

from harness.methods.panet import PAPER, URL, weights_file
from harness.methods.released import released_method
from harness.methods.trained import trained_method


def _edsr(task: str, level: int) -> Any:
    from harness.networks.edsr import EDSR

    return EDSR(level, rgb_range=255)


def _pa_edsr(task: str, level: int) -> Any:
    from harness.networks.edsr import PAEDSR

    return PAEDSR(level)


EDSR_PAPER = "Lim et al., CVPR Workshops 2017"
EDSR_URL = "https://github.com/sanghyun-son/EDSR-PyTorch"


# The authors' commands restore whole images.
released_method(
    "edsr",
    _edsr,
    tasks=["sr"],
    weights="edsr",
    file=lambda task, level: f"x{level}.pt",
    title="EDSR",
    paper=EDSR_PAPER,
    url=EDSR_URL,
    checked="the outputs of PA-EDSR's authors on generated weights, without the attention",
)


released_method(
    "pa-edsr",
    _pa_edsr,
    tasks=["sr"],
    weights="pa-edsr",
    file=weights_file,
    title="PA-EDSR",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
    policy="chop",
    chop={"sr": "paedsr"},
)


trained_method(
    "pa-edsr-trained",
    _pa_edsr,
    {"sr": "panet-sr"},
    title="PA-EDSR",
    paper=PAPER,
    url=URL,
    policy="chop",
    chop={"sr": "paedsr"},
)
trained_method("edsr-trained", _edsr, {"sr": "edsr-sr"}, title="EDSR", paper=EDSR_PAPER, url=EDSR_URL)
