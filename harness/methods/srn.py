"""SRN with the authors' weights of the paper's network (the model `lstm` of their release), and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Tao et al., CVPR 2018"
URL = "https://github.com/jiangsutx/SRN-Deblur"
FILE = "lstm.index"


def _network(task: str, level: int) -> Any:
    from harness.networks.srn import SRN

    return SRN()


# The authors' program saves (255 * output).astype(uint8), so its images are truncated.
@method(
    "srn",
    tasks=["deblur"],
    title="SRN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["srn"],
    file=lambda task, level: f"srn/{FILE}",
    network=_network,
    checked="the variables of the released checkpoint, the authors' program and TensorFlow's rules",
    saving="truncate",
)
def build(task: str, level: int) -> Any:
    """Build the network and fill it with the variables of the checkpoint."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released
    from harness.networks.srn import srn_state

    where = f"weights srn/{FILE}"
    state = srn_state(load_weights("srn", FILE), where)
    return load_released(_network(task, level), state, where)


trained_method("srn-trained", _network, {"deblur": "srn-deblur"}, title="SRN", paper=PAPER, url=URL)
