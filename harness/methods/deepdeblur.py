"""DeepDeblur with the weights of the authors' PyTorch program, which the user supplies, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Nah et al., CVPR 2017"
URL = "https://github.com/SeungjunNah/DeepDeblur-PyTorch"
FILE = "gopro-l1.pt"


def _network(task: str, level: int) -> Any:
    from harness.networks.deepdeblur import DeepDeblur

    return DeepDeblur()


@method(
    "deepdeblur",
    tasks=["deblur"],
    title="DeepDeblur",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["deepdeblur"],
    file=lambda task, level: f"deepdeblur/{FILE}",
    network=_network,
    checked="the authors' outputs on generated weights",
)
def build(task: str, level: int) -> Any:
    """Build the network; it makes the pyramid of its inputs itself."""
    from harness.assets.weights.loading import released_network

    return released_network("deepdeblur", FILE, lambda: _network(task, level))


trained_method(
    "deepdeblur-trained", _network, {"deblur": "deepdeblur-deblur"}, title="DeepDeblur", paper=PAPER, url=URL
)
