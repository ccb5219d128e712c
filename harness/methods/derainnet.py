"""DerainNet with the weights of its first author's program, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Fu et al., IEEE TIP 2017"
URL = "https://xueyangfu.github.io/projects/tip2017.html"


def _network(task: str, level: int) -> Any:
    from harness.networks.derainnet import DerainNet

    return DerainNet()


def _state(arrays: dict[str, Any], where: str) -> Any:
    from harness.networks.derainnet import from_checkpoint

    return from_checkpoint(arrays, where)


# The program saves np.uint8(255 * output), so its images are truncated.
released_method(
    "derainnet",
    _network,
    tasks=["derain"],
    weights="derainnet",
    file="model.index",
    translate=_state,
    title="DerainNet",
    paper=PAPER,
    url=URL,
    checked="the paper, the first author's program and its weights",
    saving="truncate",
)
trained_method("derainnet-trained", _network, {"derain": "derainnet-derain"}, title="DerainNet", paper=PAPER, url=URL)
