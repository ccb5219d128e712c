"""DAGL with the authors' weights for real noise, in tiles and self-ensembled as their program does."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Mou et al., ICCV 2021"
URL = "https://github.com/jianzhangcs/DAGL"
# test.py of DN_Real: tiles of fewer than 10,000 pixels, each averaged over its eight flips and transposes.
CHOP = {"denoise-real": "dagl-real"}


def _network(task: str, level: int) -> Any:
    from harness.networks.dagl import DAGL

    return DAGL()


released_method(
    "dagl",
    _network,
    tasks=["denoise-real"],
    weights="dagl",
    file="real.pt",
    title="DAGL",
    paper=PAPER,
    url=URL,
    policy="chop+x8",
    chop=CHOP,
    checked="the authors' outputs on generated weights",
)


trained_method(
    "dagl-trained",
    _network,
    {"denoise-real": "dagl-denoise-real"},
    title="DAGL",
    paper=PAPER,
    url=URL,
    policy="chop",
    chop=CHOP,
)
