"""RDN with the authors' weights, where the user supplies them, in tiles as their program does; `rdn-images` are images.

The models are Torch7's; no copy in a public repository is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Zhang et al., CVPR 2018"
URL = "https://github.com/yulunzhang/RDN"
CHOP = {"sr": "rdn"}


def _network(task: str, level: int) -> Any:
    from harness.networks.rdn import RDN

    return RDN(level)


@method(
    "rdn",
    tasks=["sr"],
    title="RDN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["rdn"],
    file=lambda task, level: f"rdn/x{level}.t7",
    network=_network,
    checked="the outputs of SRFBN's copy of it on generated weights, and the authors' RDN.lua",
    policy="chop",
    chop=CHOP,
)
def rdn(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a scale."""
    from harness.assets.weights.loading import load_weights
    from harness.networks.checkpoints import load_released
    from harness.networks.rdn import from_torch7

    if level not in (2, 3, 4):
        raise NotAvailableError(f"RDN was released for x2, x3 and x4, not for x{level}")
    where = f"weights rdn/x{level}.t7"
    return load_released(_network(task, level), from_torch7(load_weights("rdn", f"x{level}.t7"), level, where), where)


_ABOUT: dict[str, Any] = {"paper": PAPER, "url": URL, "policy": "chop", "chop": CHOP}

trained_method("rdn-trained", _network, {"sr": "rdn-sr"}, title="RDN", **_ABOUT)
