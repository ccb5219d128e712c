"""DID-MDN with the authors' three networks, where the user supplies them, and the last of them trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Zhang and Patel, CVPR 2018"
URL = "https://github.com/hezhangsprinter/DID-MDN"
PARTS = ("derain", "classifier", "residual")


def _network(task: str, level: int) -> Any:
    from harness.networks.didmdn import DIDMDN

    return DIDMDN()


def _derain_network(task: str, level: int) -> Any:
    from harness.networks.didmdn import DenseRain

    return DenseRain()


# The program saves bytes of 255 * output, so its images are truncated.
@method(
    "didmdn",
    tasks=["derain"],
    title="DID-MDN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["didmdn"],
    file=lambda task, level: "didmdn/derain.pth",
    network=_network,
    checked="the authors' outputs on generated weights; of the classifier names and sizes of the authors' program",
    saving="truncate",
)
def build(task: str, level: int) -> Any:
    """Build the three networks in the order of the released test."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released, mark_ready

    weights = {part: load_weights("didmdn", f"{part}.pth") for part in PARTS}
    network = _network(task, level)
    for part, tensors in weights.items():
        load_released(getattr(network, part), tensors, f"weights didmdn/{part}.pth")
    return mark_ready(network, "released", ", ".join(f"weights didmdn/{part}.pth" for part in PARTS))


trained_method("didmdn-trained", _derain_network, {"derain": "didmdn-derain"}, title="DID-MDN", paper=PAPER, url=URL)
