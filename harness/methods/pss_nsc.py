"""PSS-NSC with the authors' weights of the GoPro set (their model `default`), and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Gao et al., CVPR 2019"
URL = "https://github.com/firenxygao/deblur"
FILE = "default.index"


def _network(task: str, level: int) -> Any:
    from harness.networks.pss_nsc import PSSNSC

    return PSSNSC()


def _state(arrays: dict[str, Any], where: str) -> Any:
    from harness.networks.pss_nsc import pss_nsc_state

    return pss_nsc_state(arrays, where)


# The authors' program saves (255 * output).astype(uint8), so its images are truncated.
released_method(
    "pss-nsc",
    _network,
    tasks=["deblur"],
    weights="pss-nsc",
    file=FILE,
    translate=_state,
    title="PSS-NSC",
    paper=PAPER,
    url=URL,
    checked="the variables of the released checkpoint, the authors' program and TensorFlow's rules",
    saving="truncate",
)
trained_method("pss-nsc-trained", _network, {"deblur": "pss-nsc-deblur"}, title="PSS-NSC", paper=PAPER, url=URL)
