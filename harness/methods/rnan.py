"""RNAN, with 10 and with 2 attention blocks, applied in tiles as the paper's command does."""

from __future__ import annotations

from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method
from harness.methods.panet import weights_file

PAPER = "Zhang et al., ICLR 2019"
URL = "https://github.com/yulunzhang/RNAN"
CHOP = {
    "denoise-rgb": "rnan-denoise",
    "denoise-gray": "rnan-denoise",
    "demosaic": "rnan-demosaic",
    "jpeg": "rnan-jpeg",
    "sr": "rnan-sr",
}
GRAY = ("denoise-gray", "jpeg")


def _network(task: str, level: int) -> Any:
    from harness.networks.rnan import RNAN, RNANSR

    return RNANSR(level) if task == "sr" else RNAN(n_colors=1 if task in GRAY else 3)


def _two_blocks(task: str, level: int) -> Any:
    from harness.networks.rnan import RNAN

    # The paper speaks of one local and one non-local block; the released two-block network has two non-local ones.
    return RNAN(n_resgroups=2)


@method(
    "rnan",
    tasks=list(CHOP),
    title="RNAN",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["rnan"],
    network=_network,
    policy="chop",
    chop=CHOP,
)
def rnan(task: str, level: int) -> Any:
    """Build RNAN (8 local and 2 non-local blocks) with the authors' weights."""
    from harness.weights.loading import released_network

    return released_network("rnan", weights_file(task, level), lambda: _network(task, level))


@method(
    "rnan-2blocks",
    tasks=["denoise-rgb"],
    title="RNAN (1LB+1NLB)",
    paper=PAPER,
    url=URL,
    network=_two_blocks,
    policy="chop",
    chop=CHOP,
)
def rnan_two_blocks(task: str, level: int) -> Any:
    """RNAN with one local and one non-local block: its weights were not released."""
    raise NotAvailableError("the weights of RNAN with 2 blocks were not released; it has to be trained")
