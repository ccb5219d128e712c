"""LapSRN with the authors' weights, applied as their program does: luma by the network, chroma by bicubic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method


@method(
    "lapsrn",
    tasks=["sr"],
    title="LapSRN",
    paper="Lai et al., CVPR 2017",
    url="https://github.com/phoenix104104/LapSRN",
    origin="released",
    weights=["lapsrn"],
    file=lambda task, level: f"lapsrn/x{4 if level == 3 else level}.mat",
    rgb_range=1,
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of x2 or x4; x3 is x4 shrunk by bicubic, as the authors made it."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.checkpoints import load_released
    from harness.networks.lapsrn import LapSRN, enlarge_colour, from_dagnn

    if level not in (2, 3, 4):
        raise NotAvailableError(f"LapSRN was released for x2 and x4 (which also makes x3), not for x{level}")
    scale = 4 if level == 3 else level
    levels = scale // 2
    where = f"weights lapsrn/x{scale}.mat"
    network = LapSRN(levels)
    load_released(network, from_dagnn(load_weights("lapsrn", f"x{scale}.mat"), levels, where), where)
    apply = ready(network)
    return lambda batch: enlarge_colour(apply, batch, level)
