"""Uformer-B with the authors' weights for real noise and motion blur, where the user supplies them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.methods import method

FILES = {"denoise-real": "sidd-b.pth", "deblur": "gopro-b.pth"}


@method(
    "uformer",
    tasks=list(FILES),
    title="Uformer",
    paper="Wang et al., CVPR 2022",
    url="https://github.com/ZhendongWang6/Uformer",
    origin="released",
    weights=["uformer"],
    file=lambda task, level: f"uformer/{FILES[task]}",
    rgb_range=1,
    extra="spandrel",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a task."""
    from harness.methods.checkpoint import released_checkpoint

    return released_checkpoint("uformer", FILES[task], "Uformer", task, level)
