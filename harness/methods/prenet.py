"""PReNet with the authors' weights trained on Rain100L (light rain) and on Rain100H (heavy rain)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.methods import method

PAPER = "Ren et al., CVPR 2019"
URL = "https://github.com/csdwren/PReNet"


# The authors' program saves np.uint8(255 * output), so its images are truncated.
@method(
    "prenet",
    tasks=["derain"],
    title="PReNet (Rain100L)",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["prenet"],
    saving="truncate",
)
def rain100l(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network trained on Rain100L."""
    return _build("rain100l.pth")


@method(
    "prenet-heavy",
    tasks=["derain"],
    title="PReNet (Rain100H)",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["prenet"],
    saving="truncate",
)
def rain100h(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network trained on Rain100H."""
    return _build("rain100h.pth")


def _build(file: str) -> Callable[[Any], Any]:
    from harness.networks.checkpoints import load_released
    from harness.networks.prenet import PReNet, from_state_dict
    from harness.weights.loading import load_weights, ready

    where = f"weights prenet/{file}"
    network = PReNet()
    load_released(network, from_state_dict(load_weights("prenet", file), where), where)
    apply = ready(network)
    return lambda batch: apply(batch).clamp(0, 1)
