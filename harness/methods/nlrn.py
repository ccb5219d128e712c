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
    rgb_range=255,
    saving="unrounded",
    checked="the paper's equations, written out, and the authors' program",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network, one for every scale."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.checkpoints import load_released
    from harness.networks.lapsrn import enlarge_colour
    from harness.networks.nlrn import from_tensorflow

    if level not in (2, 3, 4):
        raise NotAvailableError(f"NLRN was released for x2, x3 and x4, not for x{level}")
    where = f"weights nlrn/{FILE}"
    network = load_released(_network(task, level), from_tensorflow(load_weights("nlrn", FILE), where), where)
    apply = ready(network)
    return lambda batch: enlarge_colour(lambda luma: apply(_enlarged(luma, level)), batch, level)


def _enlarged(luma: Any, scale: int) -> Any:
    """Enlarge a tensor (B, 1, H, W) by bicubic interpolation, mirrored at the border, as the program's own does."""
    import torch

    from harness.degradations.resize import imresize

    size = (scale * luma.shape[2], scale * luma.shape[3])
    images = [imresize(image, size=size, border="symmetric") for image in luma[:, 0].double().cpu().numpy()]
    return torch.stack([torch.from_numpy(image) for image in images])[:, None].to(luma)


trained_method("nlrn-trained", _network, {"denoise-gray": "nlrn-denoise-gray"}, title="NLRN", paper=PAPER, url=URL)
