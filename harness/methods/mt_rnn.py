"""MT-RNN with the authors' weights, applied as often as their test program does, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Park et al., ECCV 2020"
URL = "https://github.com/Dong1P/MTRNN"
FILE = "model_best.pt"


def _network(task: str, level: int) -> Any:
    from harness.networks.mtrnn import MTRNN

    return MTRNN()


@method(
    "mt-rnn",
    tasks=["deblur"],
    title="MT-RNN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["mt-rnn"],
    file=lambda task, level: f"mt-rnn/{FILE}",
    network=_network,
    checked="the authors' outputs on generated weights",
)
def build(task: str, level: int) -> Any:
    """Build the network."""
    from harness.assets.weights.loading import released_network

    return released_network("mt-rnn", FILE, lambda: _network(task, level))


trained_method("mt-rnn-trained", _network, {"deblur": "mt-rnn-deblur"}, title="MT-RNN", paper=PAPER, url=URL)
