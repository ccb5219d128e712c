"""NLRN for super-resolution as in the authors' program: luma enlarged by bicubic, then in windows; chroma bicubic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Liu et al., NeurIPS 2018"
URL = "https://github.com/Ding-Liu/NLRN_v0"
FILE = "sr.index"


def _network(task: str, level: int) -> Any:
    from harness.networks.nlrn import NLRN

    return NLRN()


def _enlarged(task: str, level: int) -> Any:
    from harness.networks.channels import EnlargedLuma

    return EnlargedLuma(_network(task, level), level)


# The program measures the luma that it has just made, not the image that it saves: rounding is the protocol's.
@method(
    "nlrn",
    tasks=["sr"],
    title="NLRN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["nlrn"],
    file=lambda task, level: f"nlrn/{FILE}",
    network=_enlarged,
    saving="unrounded",
    checked="the paper's equations, written out, and the authors' program",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network, one for every scale."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.channels import EnlargedLuma
    from harness.networks.checkpoints import load_released
    from harness.networks.nlrn import from_tensorflow

    if level not in (2, 3, 4):
        raise NotAvailableError(f"NLRN was released for x2, x3 and x4, not for x{level}")
    where = f"weights nlrn/{FILE}"
    network = load_released(_network(task, level), from_tensorflow(load_weights("nlrn", FILE), where), where)
    apply = ready(network)
    whole = EnlargedLuma(network, level)
    return lambda batch: whole.enlarged(batch, apply)


trained_method("nlrn-trained", _network, {"denoise-gray": "nlrn-denoise-gray"}, title="NLRN", paper=PAPER, url=URL)
