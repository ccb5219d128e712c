"""SRN with the authors' weights of the paper's network (the model `lstm` of their release), and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Tao et al., CVPR 2018"
URL = "https://github.com/jiangsutx/SRN-Deblur"
FILE = "lstm.index"


def _network(task: str, level: int) -> Any:
    from harness.networks.srn import SRN

    return SRN()


def _state(arrays: dict[str, Any], where: str) -> Any:
    from harness.networks.srn import srn_state

    return srn_state(arrays, where)


# The authors' program saves (255 * output).astype(uint8), so its images are truncated.
released_method(
    "srn",
    _network,
    tasks=["deblur"],
    weights="srn",
    file=FILE,
    translate=_state,
    title="SRN",
    paper=PAPER,
    url=URL,
    checked="the variables of the released checkpoint, the authors' program and TensorFlow's rules",
    saving="truncate",
)
trained_method("srn-trained", _network, {"deblur": "srn-deblur"}, title="SRN", paper=PAPER, url=URL)
