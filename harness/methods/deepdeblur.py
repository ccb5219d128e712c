"""DeepDeblur with the weights of the authors' PyTorch program, which the user supplies, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Nah et al., CVPR 2017"
URL = "https://github.com/SeungjunNah/DeepDeblur-PyTorch"
FILE = "gopro-l1.pt"


def _network(task: str, level: int) -> Any:
    from harness.networks.deepdeblur import DeepDeblur

    return DeepDeblur()


released_method(
    "deepdeblur",
    _network,
    tasks=["deblur"],
    weights="deepdeblur",
    file=FILE,
    title="DeepDeblur",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
)


trained_method(
    "deepdeblur-trained", _network, {"deblur": "deepdeblur-deblur"}, title="DeepDeblur", paper=PAPER, url=URL
)
