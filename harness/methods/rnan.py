"""RNAN, with 10 and with 2 attention blocks, and the cases of its Table 1, in tiles as the paper's command does."""

from __future__ import annotations

from typing import Any

from harness.methods.panet import weights_file
from harness.methods.released import released_method
from harness.methods.trained import trained_method

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


released_method(
    "rnan",
    _network,
    tasks=list(CHOP),
    weights="rnan",
    file=weights_file,
    title="RNAN",
    paper=PAPER,
    url=URL,
    checked="the authors' outputs on generated weights",
    policy="chop",
    chop=CHOP,
)


def _case(case: int) -> Any:
    def network(task: str, level: int) -> Any:
        from harness.networks.rnan import rnan_ablation

        return rnan_ablation(case)

    return network


RECIPES = {task: f"rnan-{task}" for task in CHOP}
COLOUR = {"denoise-rgb": RECIPES["denoise-rgb"]}
# Table 8: training data by task.
SMALL_DATA = {
    "rnan-bsd400": {task: f"rnan-bsd400-{task}" for task in ("denoise-rgb", "denoise-gray", "demosaic")},
    "rnan-sr291": {task: f"rnan-sr291-{task}" for task in ("jpeg", "sr")},
}
_ABOUT: dict[str, Any] = {"paper": PAPER, "url": URL, "policy": "chop", "chop": CHOP}

trained_method("rnan-trained", _network, RECIPES, title="RNAN", **_ABOUT)
# Table 7, and case 5 of Table 1. No weights were released; the released program makes both of two blocks non-local.
trained_method("rnan-2blocks", _case(5), COLOUR, title="RNAN (1LB+1NLB)", **_ABOUT)
for _name, _recipes in SMALL_DATA.items():
    trained_method(_name, _network, _recipes, title=f"RNAN ({_name.removeprefix('rnan-').upper()})", **_ABOUT)
for _number in range(1, 9):
    trained_method(f"rnan-case{_number}", _case(_number), COLOUR, title=f"RNAN, case {_number}", **_ABOUT)
