"""IRCNN with the authors' weights: the denoiser of a noise level, and demosaicing with those of falling levels."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

SINGLE = (10, 30, 50)  # levels that the weight set `ircnn` has as files of their own


def _level_file(colour: str, number: int) -> str:
    """Name the file of the k-th of the 25 denoisers, which is for sigma 2k to 2k + 2; the first begins at 0."""
    return f"{colour}-sigma{2 * number if number > 1 else 0}to{2 * number + 2}.params"


def _network(task: str, level: int) -> Any:
    from harness.networks.ircnn import IRCNN, IRCNNDemosaicing

    return IRCNNDemosaicing() if task == "demosaic" else IRCNN(3 if task == "denoise-rgb" else 1)


def _file(task: str, level: int) -> str:
    if task == "demosaic":
        return f"ircnn-levels/{_level_file('color', 1)}"
    colour = "color" if task == "denoise-rgb" else "gray"
    if level in SINGLE:
        return f"ircnn/{colour}-sigma{level}to{level + 2}.npz"
    return f"ircnn-levels/{_level_file(colour, (level + 1) // 2)}" if 2 <= level <= 50 else ""


@method(
    "ircnn",
    tasks=["denoise-rgb", "denoise-gray", "demosaic"],
    title="IRCNN",
    paper="Zhang et al., CVPR 2017",
    url="https://github.com/cszn/IRCNN",
    origin="released",
    weights=["ircnn", "ircnn-levels", "ircnn-release"],
    file=_file,
    network=_network,
    checked="the released weights and the numbers printed for them, demosaicing also those that its program lists",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the denoiser of a noise level up to 50, or the demosaicing; each file that holds it will do."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.checkpoints import load_released
    from harness.networks.ircnn import denoiser_for

    if task == "demosaic":
        network = _network(task, level)
        numbers = [_number(name) for name, _ in network.named_children()]
        load_released(network, _denoisers("color", numbers), "weights ircnn-levels or ircnn-release/color.mat")
        return ready(network)
    if not 2 <= level <= 50:
        raise NotAvailableError(f"IRCNN was released for sigma 2 to 50, not for {level}")
    colour = "color" if task == "denoise-rgb" else "gray"
    network = _network(task, level)
    if level in SINGLE:
        file = f"{colour}-sigma{level}to{level + 2}.npz"
        try:
            return ready(load_released(network, load_weights("ircnn", file), f"weights ircnn/{file}"))
        except NotAvailableError:
            pass
    number = denoiser_for(level)
    tensors = {name.removeprefix(f"level{number}."): tensor for name, tensor in _denoisers(colour, [number]).items()}
    return ready(load_released(network, tensors, f"weights of IRCNN's {colour} denoiser {number}"))


def _denoisers(colour: str, numbers: list[int]) -> dict[str, Any]:
    """Load some of the 25 denoisers of a colour mode, as ``level1.convs.0.weight`` and so on: single files, or all."""
    from harness.assets.weights.loading import load_weights

    try:
        single = {number: load_weights("ircnn-levels", _level_file(colour, number)) for number in numbers}
    except NotAvailableError as missing:
        try:
            released = load_weights("ircnn-release", f"{colour}.mat")
        except NotAvailableError:
            raise missing from None
        return {name: tensor for name, tensor in released.items() if _number(name.split(".")[0]) in numbers}
    tensors = {}
    for number, named in single.items():
        # The layers of all denoisers are counted through: convolution28 is the first of the fifth.
        layers = sorted({name.split(".")[0] for name in named}, key=_number)
        for name, tensor in named.items():
            layer, _, kind = name.partition(".")
            tensors[f"level{number}.convs.{layers.index(layer)}.{kind}"] = tensor
    return tensors


def _number(name: str) -> int:
    """Give the number that a name ends with, -1 where it ends with none."""
    digits = re.search(r"\d+$", name)
    return int(digits[0]) if digits else -1
