"""Restormer with the authors' weights, where the user supplies them and spandrel_extra_arches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

FILES = {"denoise-real": "real-denoising.pth", "deblur": "motion-deblurring.pth", "derain": "deraining.pth"}
SIGMAS = (50,)  # of the authors' 15, 25 and 50 the one that the tables print


@method(
    "restormer",
    tasks=[*FILES, "denoise-rgb"],
    title="Restormer",
    paper="Zamir et al., CVPR 2022",
    url="https://github.com/swz30/Restormer",
    origin="released",
    weights=["restormer"],
    file=lambda task, level: f"restormer/{FILES.get(task, f'gaussian-colour-sigma{level}.pth')}",
    rgb_range=1,
    extra="spandrel",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a task."""
    from harness.methods.checkpoint import released_checkpoint

    if task == "denoise-rgb" and level not in SIGMAS:
        raise NotAvailableError(
            f"Restormer's released networks for known noise are for sigma 15, 25 and 50, not {level}"
        )
    file = FILES.get(task, f"gaussian-colour-sigma{level}.pth")
    return released_checkpoint("restormer", file, "Restormer", task, level)
