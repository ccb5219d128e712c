"""RED30 with the authors' weights: gray denoising (colour: each channel by itself), over eight orientations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Mao et al., NIPS 2016"
URL = "https://bitbucket.org/chhshen/image-denoising"
SIGMAS = (10, 30, 50, 70)


def _network(task: str, level: int) -> Any:
    from harness.networks.red import RED30

    return RED30()


# The released program averages over eight orientations (ved27/RED-net, ``utils/netforward.m``).
@method(
    "red",
    tasks=["denoise-gray", "denoise-rgb"],
    title="RED30",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["red"],
    file=lambda task, level: f"red/sigma{level}.caffemodel" if level in SIGMAS else "",
    network=_network,
    checked="the released model description, run node by node",
    policy="x8",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a noise level."""
    from harness.assets.weights.loading import ready, released_network

    if level not in SIGMAS:
        raise NotAvailableError(f"RED30 was released for sigma 10, 30, 50 and 70, not for {level}")
    return ready(released_network("red", f"sigma{level}.caffemodel", lambda: _network(task, level)))


trained_method("red-trained", _network, {"denoise-gray": "red-denoise-gray"}, title="RED30", paper=PAPER, url=URL)
