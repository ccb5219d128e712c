"""MIMO-UNet, MIMO-UNet+ and MIMO-UNet++ with the authors' weights, which the user supplies, and trained here."""

from __future__ import annotations

from typing import Any

from harness.methods import method
from harness.methods.released import released_method
from harness.methods.trained import trained_method

PAPER = "Cho et al., ICCV 2021"
URL = "https://github.com/chosj95/MIMO-UNet"
RECIPE = {"deblur": "mimo-unet-deblur"}
_ABOUT: dict[str, Any] = {
    "tasks": ["deblur"],
    "paper": PAPER,
    "url": URL,
    "checked": "the authors' outputs on generated weights",
}


def _network(task: str, level: int) -> Any:
    from harness.networks.mimounet import MIMOUNet

    return MIMOUNet()


def _plus(task: str, level: int) -> Any:
    from harness.networks.mimounet import MIMOUNet

    return MIMOUNet(num_res=20, dropout=0.1)


def _plusplus(task: str, level: int) -> Any:
    from harness.networks.mimounet import RotationEnsemble

    return RotationEnsemble(_plus(task, level))


released_method(
    "mimo-unet",
    _network,
    weights="mimo-unet",
    file="mimo-unet.pkl",
    title="MIMO-UNet",
    **_ABOUT,
)


released_method(
    "mimo-unet-plus",
    _plus,
    weights="mimo-unet",
    file="mimo-unet-plus.pkl",
    title="MIMO-UNet+",
    **_ABOUT,
)


@method(
    "mimo-unet-plusplus",
    title="MIMO-UNet++",
    origin="released",
    weights=["mimo-unet"],
    file=lambda task, level: "mimo-unet/mimo-unet-plus.pkl",
    network=_plusplus,
    **_ABOUT,
)
def mimo_unet_plusplus(task: str, level: int) -> Any:
    """Build the mean of MIMO-UNet+ over four rotations of the image."""
    from harness.assets.weights.loading import released_network
    from harness.networks.checkpoints import mark_ready
    from harness.networks.mimounet import RotationEnsemble

    inner = released_network("mimo-unet", "mimo-unet-plus.pkl", lambda: _plus(task, level))
    network = RotationEnsemble(inner).eval()
    return mark_ready(network, "released", "weights mimo-unet/mimo-unet-plus.pkl")


def _last_image_alone(make: Any) -> Any:
    """Make a network whose two coarse images are not trained: the training loop's loss sees the last image alone."""

    def network(task: str, level: int) -> Any:
        made = make(task, level)
        made.ConvsOut.requires_grad_(False)
        return made

    return network


trained_method("mimo-unet-trained", _last_image_alone(_network), RECIPE, title="MIMO-UNet", paper=PAPER, url=URL)
trained_method("mimo-unet-plus-trained", _last_image_alone(_plus), RECIPE, title="MIMO-UNet+", paper=PAPER, url=URL)
