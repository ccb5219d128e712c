"""PReNet with the authors' weights: the model that they trained for the set, or that of Rain100H on any set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.methods import method

PAPER = "Ren et al., CVPR 2019"
URL = "https://github.com/csdwren/PReNet"
# Test2800 and Rain1400's test part are taken from the same 14,000 pairs: see docs/weights.md for what overlaps.
MODELS = {"rain100l": "rain100l.pth", "rain100h": "rain100h.pth", "test2800": "rain1400.pth"}


# The authors' program saves np.uint8(255 * output), so its images are truncated.
@method(
    "prenet",
    tasks=["derain"],
    title="PReNet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["prenet"],
    weights_for=MODELS,
    rgb_range=1,
    saving="truncate",
)
def by_set(task: str, level: int, dataset: str) -> Callable[[Any], Any]:
    """Build the network that was trained for a dataset."""
    return _build(MODELS[dataset])


@method(
    "prenet-heavy",
    tasks=["derain"],
    title="PReNet (Rain100H)",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["prenet"],
    file=lambda task, level: "prenet/rain100h.pth",
    rgb_range=1,
    saving="truncate",
)
def rain100h(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network trained on Rain100H, whatever the dataset."""
    return _build("rain100h.pth")


def _build(file: str) -> Callable[[Any], Any]:
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.checkpoints import load_released
    from harness.networks.prenet import PReNet, from_state_dict

    where = f"weights prenet/{file}"
    network = PReNet()
    load_released(network, from_state_dict(load_weights("prenet", file), where), where)
    apply = ready(network)
    return lambda batch: apply(batch).clamp(0, 1)
