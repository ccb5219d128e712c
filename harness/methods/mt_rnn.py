"""MT-RNN with the authors' weights, applied as often as their test program does, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Park et al., ECCV 2020"
URL = "https://github.com/Dong1P/MTRNN"
FILE = "model_best.pt"


def _network(task: str, level: int) -> Any:
    from harness.networks.mtrnn import MTRNN

    return MTRNN()


released_method(
    "mt-rnn",
    _network,
    tasks=["deblur"],
    weights="mt-rnn",
    file=FILE,
    title="MT-RNN",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
)


trained_method("mt-rnn-trained", _network, {"deblur": "mt-rnn-deblur"}, title="MT-RNN", paper=PAPER, url=URL)
