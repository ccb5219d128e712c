"""SRMDNF with the authors' weights, for the bicubic degradation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method


@method(
    "srmdnf",
    tasks=["sr"],
    title="SRMDNF",
    paper="Zhang et al., CVPR 2018",
    url="https://github.com/cszn/SRMD",
    origin="released",
    weights=["srmdnf"],
    file=lambda task, level: f"srmdnf/x{level}.mat",
    rgb_range=1,
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a scale, told the delta kernel."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.checkpoints import load_released
    from harness.networks.srmd import SRMD, from_matconvnet

    if level not in (2, 3, 4):
        raise NotAvailableError(f"SRMDNF was released for x2, x3 and x4, not for x{level}")
    where = f"weights srmdnf/x{level}.mat"
    network = SRMD(level)
    load_released(network, from_matconvnet(load_weights("srmdnf", f"x{level}.mat"), level, where), where)
    return ready(network)
