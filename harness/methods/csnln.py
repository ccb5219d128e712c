"""CSNLN: super-resolution by cross-scale non-local attention, applied in tiles as the paper's command does."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.panet import weights_file


def _network(task: str, level: int) -> Any:
    from harness.networks.csnln import CSNLN

    return CSNLN(level)


@method(
    "csnln",
    tasks=["sr"],
    title="CSNLN",
    paper="Mei et al., CVPR 2020",
    url="https://github.com/SHI-Labs/Cross-Scale-Non-Local-Attention",
    origin="released",
    weights=["csnln"],
    network=_network,
    policy="chop",
    chop={"sr": "csnln"},
)
def csnln(task: str, level: int) -> Any:
    """Build CSNLN with the authors' weights."""
    from harness.weights.loading import released_network

    return released_network("csnln", weights_file(task, level), lambda: _network(task, level))
