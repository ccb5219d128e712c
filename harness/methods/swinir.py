"""SwinIR with the authors' weights, where the user supplies them; through spandrel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

# Levels the authors released a network for and the tables print.
LEVELS = {"denoise-rgb": (50,), "denoise-gray": (50,), "jpeg": (10, 20, 30, 40), "sr": (2, 3, 4)}
FILES = {
    "denoise-rgb": "colour-sigma{level}.pth",
    "denoise-gray": "gray-sigma{level}.pth",
    "jpeg": "gray-jpeg{level}.pth",
    "sr": "sr-x{level}.pth",
}


@method(
    "swinir",
    tasks=list(FILES),
    title="SwinIR",
    paper="Liang et al., ICCVW 2021",
    url="https://github.com/JingyunLiang/SwinIR",
    origin="released",
    weights=["swinir"],
    file=lambda task, level: f"swinir/{FILES[task].format(level=level)}",
    rgb_range=1,
    extra="spandrel",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a task and level."""
    from harness.methods.checkpoint import released_checkpoint

    if level not in LEVELS[task]:
        known = ", ".join(str(value) for value in LEVELS[task])
        raise NotAvailableError(f"SwinIR's released networks for {task} are for level {known}, not for {level}")
    return released_checkpoint("swinir", FILES[task].format(level=level), "SwinIR", task, level)
