"""ARCNN with the authors' weights, one file a JPEG quality."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

QUALITIES = (10, 20, 30, 40)


@method(
    "arcnn",
    tasks=["jpeg"],
    title="ARCNN",
    paper="Dong et al., ICCV 2015",
    url="http://mmlab.ie.cuhk.edu.hk/projects/ARCNN.html",
    origin="released",
    weights=["arcnn"],
    file=lambda task, level: f"arcnn/q{level}.mat",
    rgb_range=1,
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a JPEG quality."""
    from harness.assets.weights.loading import load_weights, ready, rename
    from harness.networks.arcnn import ARCNN, RELEASED_LAYERS
    from harness.networks.checkpoints import load_released

    if level not in QUALITIES:
        raise NotAvailableError(f"ARCNN was released for the JPEG qualities 10, 20, 30 and 40, not for {level}")
    where = f"weights arcnn/q{level}.mat"
    network = ARCNN()
    load_released(network, rename(load_weights("arcnn", f"q{level}.mat"), RELEASED_LAYERS, where), where)
    return ready(network)
