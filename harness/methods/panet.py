"""PANet and PANet-S: pyramid attention in a plain residual network, applied in tiles as the paper's command does."""

from __future__ import annotations

from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

PAPER = "Mei et al., 2020"
URL = "https://github.com/SHI-Labs/Pyramid-Attention-Networks"
CHOP = {"denoise-rgb": "panet-denoise", "demosaic": "panet-demosaic", "jpeg": "panet-jpeg"}


def weights_file(task: str, level: int) -> str:
    """Name the released file of a task and level, as in the weights registry."""
    return {
        "denoise-rgb": f"denoise-rgb-sigma{level}.pt",
        "denoise-gray": f"denoise-gray-sigma{level}.pt",
        "demosaic": "demosaic.pt",
        "jpeg": f"jpeg-q{level}.pt",
        "sr": f"sr-x{level}.pt",
    }[task]


def _network(task: str, level: int) -> Any:
    from harness.networks.panet import PANet

    return PANet(n_resblocks=80, n_colors=1 if task == "jpeg" else 3)


def _small(task: str, level: int) -> Any:
    from harness.networks.panet import PANet

    return PANet(n_resblocks=8, n_colors=1 if task == "jpeg" else 3)


@method(
    "panet",
    tasks=list(CHOP),
    title="PANet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["panet"],
    network=_network,
    policy="chop",
    chop=CHOP,
)
def panet(task: str, level: int) -> Any:
    """Build PANet (80 residual blocks) with the authors' weights."""
    from harness.weights.loading import released_network

    return released_network("panet", weights_file(task, level), lambda: _network(task, level))


@method(
    "panet-s", tasks=["denoise-rgb"], title="PANet-S", paper=PAPER, url=URL, network=_small, policy="chop", chop=CHOP
)
def panet_s(task: str, level: int) -> Any:
    """PANet-S (8 residual blocks): its weights were not released."""
    raise NotAvailableError("the weights of PANet-S were not released; it has to be trained")
