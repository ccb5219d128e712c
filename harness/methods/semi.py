"""SEMI with the authors' weights, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Wei et al., CVPR 2019"
URL = "https://github.com/wwzjer/Semi-supervised-IRR"


def _network(task: str, level: int) -> Any:
    from harness.networks.semi import SEMI

    return SEMI()


def _state(arrays: dict[str, Any], where: str) -> Any:
    from harness.networks.semi import from_checkpoint

    return from_checkpoint(arrays, where)


# The authors' program saves by matplotlib and measures np.uint8(255 * output): both truncate.
released_method(
    "semi",
    _network,
    tasks=["derain"],
    weights="semi",
    file="model.index",
    translate=_state,
    title="SEMI",
    paper=PAPER,
    url=URL,
    checked="the authors' program and weights",
    saving="truncate",
)
trained_method("semi-trained", _network, {"derain": "semi-derain"}, title="SEMI", paper=PAPER, url=URL)
