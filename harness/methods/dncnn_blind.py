"""CDnCNN-B, DnCNN's blind network for colour, with the authors' weights: what SIDD's benchmark calls DnCNN."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method


def _network(task: str, level: int) -> Any:
    from harness.networks.dncnn import DnCNN

    return DnCNN(3, 20)


released_method(
    "dncnn-blind",
    _network,
    tasks=["denoise-real"],
    weights="dncnn-blind",
    file="color.mat",
    title="CDnCNN-B",
    paper="Zhang et al., IEEE TIP 2017",
    url="https://github.com/cszn/DnCNN",
    checked="the released weights, within 0.02 dB of those for sigma 50 alone",
)
