"""PSS-NSC with the authors' weights of the GoPro set (their model `default`), and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Gao et al., CVPR 2019"
URL = "https://github.com/firenxygao/deblur"
FILE = "default.index"


def _network(task: str, level: int) -> Any:
    from harness.networks.pss_nsc import PSSNSC

    return PSSNSC()


# The authors' program saves (255 * output).astype(uint8), so its images are truncated.
@method(
    "pss-nsc",
    tasks=["deblur"],
    title="PSS-NSC",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["pss-nsc"],
    file=lambda task, level: f"pss-nsc/{FILE}",
    network=_network,
    checked="the variables of the released checkpoint, the authors' program and TensorFlow's rules",
    saving="truncate",
)
def build(task: str, level: int) -> Any:
    """Build the network and fill it with the variables of the checkpoint."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released
    from harness.networks.pss_nsc import pss_nsc_state

    where = f"weights pss-nsc/{FILE}"
    state = pss_nsc_state(load_weights("pss-nsc", FILE), where)
    return load_released(_network(task, level), state, where)


trained_method("pss-nsc-trained", _network, {"deblur": "pss-nsc-deblur"}, title="PSS-NSC", paper=PAPER, url=URL)
