"""PANet, PANet-S and the control networks of Tables 6 to 9, applied in tiles as the paper's command does."""

from __future__ import annotations

from typing import Any

from harness.methods.released import released_method
from harness.methods.trained import trained_method

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


released_method(
    "panet",
    _network,
    tasks=list(CHOP),
    weights="panet",
    file=weights_file,
    title="PANet",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
    policy="chop",
    chop=CHOP,
)


RECIPES = {task: f"panet-{task}" for task in CHOP}

trained_method("panet-trained", _network, RECIPES, title="PANet", paper=PAPER, url=URL, policy="chop", chop=CHOP)
# The weights of PANet-S were not released.
trained_method("panet-s", _small, RECIPES, title="PANet-S", paper=PAPER, url=URL, policy="chop", chop=CHOP)

# Tables 6 to 9 by method: control network of `harness.networks.panet`, title.
CONTROLS = {
    "panet-r16-baseline": ("baseline", "baseline"),
    "panet-r16-nonlocal": ("pixel-wise", "pixel-wise non-local"),
    "panet-r16-block": ("block-wise", "block-wise, 1 level"),
    **{f"panet-r16-levels{levels}": (f"level-{levels}", f"{levels} levels") for levels in (2, 3, 4, 5)},
    **{
        f"panet-r16-{name.replace('+', '-')}": (name, name)
        for name in ("pre", "post", "pre+mid", "pre+post", "mid+post", "pre+mid+post")
    },
}


def _control(name: str) -> Any:
    def network(task: str, level: int) -> Any:
        from harness.networks.panet import panet_ablation

        return panet_ablation(name)

    return network


for _name, (_key, _title) in CONTROLS.items():
    trained_method(
        _name,
        _control(_key),
        {"denoise-rgb": "panet-denoise-rgb"},
        title=f"PANet, 16 blocks, {_title}",
        paper=PAPER,
        url=URL,
        policy="chop",
        chop=CHOP,
    )
