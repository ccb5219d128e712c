"""Small networks of this project that work at half resolution: to be trained on a CPU in minutes."""

from __future__ import annotations

from typing import Any

from harness.methods.trained import trained_method

PAPER = "this project"
RECIPES = {"denoise-rgb": "half-denoise-rgb"}


def _resnet(task: str, level: int) -> Any:
    from harness.networks.half_resolution import HalfResolution
    from harness.networks.panet import PANet

    # As many parameters as DnCNN; PANet's plain residual network, without attention.
    return HalfResolution(PANet(n_resblocks=6, n_feats=64, n_colors=12, positions=()))


def _panet(task: str, level: int) -> Any:
    from harness.networks.half_resolution import HalfResolution
    from harness.networks.panet import PANet

    return HalfResolution(PANet(n_resblocks=4, n_feats=32, n_colors=12))


trained_method("resnet-half", _resnet, RECIPES, title="6 residual blocks at half resolution", paper=PAPER)
# In PANet's tiles: over a whole photograph its attention would take an hour for what is to be tried in minutes.
trained_method(
    "panet-half",
    _panet,
    RECIPES,
    title="PANet, 4 blocks at half resolution",
    paper=PAPER,
    policy="chop",
    chop={"denoise-rgb": "panet-denoise"},
)
