"""DnCNN with weights trained here, on BSD400."""

from __future__ import annotations

from typing import Any

from harness.methods.trained import trained_method


def _network(task: str, level: int) -> Any:
    from harness.networks.dncnn import DnCNN
    from harness.networks.half_resolution import initialise_he

    # 17 layers for one gray noise level, 20 for colour and for JPEG (DnCNN section IV-B).
    return initialise_he(DnCNN(3, 20) if task == "denoise-rgb" else DnCNN(1, 17 if task == "denoise-gray" else 20))


trained_method(
    "dncnn-trained",
    _network,
    {task: f"dncnn-{task}" for task in ("denoise-rgb", "denoise-gray", "jpeg")},
    title="DnCNN",
    paper="Zhang et al., IEEE TIP 2017",
    url="https://github.com/cszn/DnCNN",
)
