"""DerainNet, with weights that the user supplies."""

from __future__ import annotations

from typing import Any

from harness.methods import method


def _network(task: str, level: int) -> Any:
    from harness.networks.derainnet import DerainNet

    return DerainNet()


@method(
    "derainnet",
    tasks=["derain"],
    title="DerainNet",
    paper="Fu et al., IEEE TIP 2017",
    url="https://xueyangfu.github.io/projects/tip2017.html",
    origin="released",
    weights=["derainnet"],
    file=lambda task, level: "derainnet/derainnet.pth",
    network=_network,
)
def build(task: str, level: int) -> Any:
    """Build the network."""
    from harness.assets.weights.loading import released_network

    return released_network("derainnet", "derainnet.pth", lambda: _network(task, level))
