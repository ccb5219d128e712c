"""EDSR and PA-EDSR: super-resolution by residual blocks, without and with pyramid attention."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.panet import PAPER, URL, weights_file
from harness.methods.trained import trained_method


def _edsr(task: str, level: int) -> Any:
    from harness.networks.edsr import EDSR

    return EDSR(level, rgb_range=255)


def _pa_edsr(task: str, level: int) -> Any:
    from harness.networks.edsr import PAEDSR

    return PAEDSR(level)


EDSR_PAPER = "Lim et al., CVPR Workshops 2017"
EDSR_URL = "https://github.com/sanghyun-son/EDSR-PyTorch"


@method(
    "edsr",
    tasks=["sr"],
    title="EDSR",
    paper=EDSR_PAPER,
    url=EDSR_URL,
    origin="released",
    weights=["edsr"],
    file=lambda task, level: f"edsr/x{level}.pt",
    network=_edsr,
    checked="the outputs of PA-EDSR's authors on generated weights, without the attention",
)
def edsr(task: str, level: int) -> Any:
    """Build EDSR (32 blocks of 256 features) with the authors' weights; their commands restore whole images."""
    from harness.assets.weights.loading import released_network

    return released_network("edsr", f"x{level}.pt", lambda: _edsr(task, level))


@method(
    "pa-edsr",
    tasks=["sr"],
    title="PA-EDSR",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["pa-edsr"],
    file=lambda task, level: f"pa-edsr/{weights_file(task, level)}",
    network=_pa_edsr,
    checked="the authors' outputs on generated weights",
    policy="chop",
    chop={"sr": "paedsr"},
)
def pa_edsr(task: str, level: int) -> Any:
    """Build PA-EDSR with the authors' weights."""
    from harness.assets.weights.loading import released_network

    return released_network("pa-edsr", weights_file(task, level), lambda: _pa_edsr(task, level))


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
