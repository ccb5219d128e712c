"""SRMDNF with the authors' weights, for the bicubic degradation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Zhang et al., CVPR 2018"
URL = "https://github.com/cszn/SRMD"


def _network(task: str, level: int) -> Any:
    from harness.networks.srmd import SRMD

    return SRMD(level)


@method(
    "srmdnf",
    tasks=["sr"],
    title="SRMDNF",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["srmdnf"],
    file=lambda task, level: f"srmdnf/x{level}.mat",
    network=_network,
    checked="conversions of its weights by others",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a scale, told the delta kernel."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.checkpoints import load_released
    from harness.networks.srmd import from_matconvnet

    if level not in (2, 3, 4):
        raise NotAvailableError(f"SRMDNF was released for x2, x3 and x4, not for x{level}")
    where = f"weights srmdnf/x{level}.mat"
    state = from_matconvnet(load_weights("srmdnf", f"x{level}.mat"), level, where)
    return ready(load_released(_network(task, level), state, where))


trained_method("srmdnf-trained", _network, {"sr": "srmdnf-sr"}, title="SRMDNF", paper=PAPER, url=URL)
