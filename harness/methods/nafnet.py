"""NAFNet with the authors' weights for real noise and motion blur, where the user supplies them; through spandrel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.methods import method

FILES = {"denoise-real": "sidd-width64.pth", "deblur": "gopro-width64.pth"}


@method(
    "nafnet",
    tasks=list(FILES),
    title="NAFNet",
    paper="Chen et al., ECCV 2022",
    url="https://github.com/megvii-research/NAFNet",
    origin="released",
    weights=["nafnet"],
    file=lambda task, level: f"nafnet/{FILES[task]}",
    rgb_range=1,
    extra="spandrel",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a task."""
    from harness.methods.checkpoint import released_checkpoint

    return released_checkpoint("nafnet", FILES[task], "NAFNet", task, level)
