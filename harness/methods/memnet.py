"""MemNet with the authors' weights: one network for all noise levels, one for JPEG, one for all scales.

Applied as the authors' programs do (tyshiwo/MemNet, ``test/MemNet_M6R6_80C64/test_MemNet_M6R6_GD.m``, ``…_JD.m``,
``…_SR.m``): in tiles of a grid with a border of 16; super-resolution on luma enlarged by bicubic.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from harness.errors import NotAvailableError
from harness.methods import method
from harness.methods.trained import trained_method

PAPER = "Tai et al., ICCV 2017"
URL = "https://github.com/tyshiwo/MemNet"
BORDER = 16


class Released(NamedTuple):
    """A released network.

    Attributes
    ----------
    file : str
        In the weight set.
    levels : tuple of int
        What it was trained for.
    side : int
        Of the tiles that its program cuts, without their border.
    mix : tuple of float
        Weight of each memory block's image: ``_mulscalar0`` and so on in the description that lies beside the file
        (WolframRhodium/Super-Resolution-Zoo, ``MemNet/official/…-symbol.json``).
    """

    file: str
    levels: tuple[int, ...]
    side: int
    mix: tuple[float, ...]


_NOISE = Released(
    "m6r6-denoise.params",
    (30, 50, 70),
    120,
    (
        -0.003389734774827957,
        0.0028903386555612087,
        0.011060499586164951,
        0.10380589962005615,
        0.36344873905181885,
        0.522635281085968,
    ),
)
_JPEG = Released(
    "m6r6-jpeg.params",
    (10, 20),
    150,
    (
        0.0018922893796116114,
        -0.006446082144975662,
        -0.002983954269438982,
        0.1069905012845993,
        0.46704843640327454,
        0.43274766206741333,
    ),
)
_SCALES = Released(
    "m6r6-sr.params",
    (2, 3, 4),
    150,
    (
        -0.0006980334874242544,
        -0.003778279758989811,
        -0.007310714107006788,
        0.019779611378908157,
        0.169565811753273,
        0.8224577903747559,
    ),
)
LARGE = Released(
    "m10r10-sr.params",
    (2, 3, 4),
    150,
    (
        -0.0013638242380693555,
        0.0020378560293465853,
        -0.00113339489325881,
        -0.005356100853532553,
        -0.00033413938945159316,
        -0.014345027506351471,
        0.07337990403175354,
        0.26769545674324036,
        0.3801266551017761,
        0.29927754402160645,
    ),
)
RELEASED = {"denoise-gray": _NOISE, "denoise-rgb": _NOISE, "jpeg": _JPEG, "sr": _SCALES}


def _sized(task: str, level: int, size: int) -> Any:
    """Make the network of as many memory blocks, each of as many recursions; for super-resolution on enlarged luma."""
    from harness.networks.channels import EnlargedLuma
    from harness.networks.memnet import MemNet

    network = MemNet(size, size)
    return EnlargedLuma(network, level) if task == "sr" else network


def _network(task: str, level: int) -> Any:
    return _sized(task, level, 6)


def _large(task: str, level: int) -> Any:
    return _sized(task, level, 10)


def _restorer(release: Released, whole: Any, task: str, level: int) -> Callable[[Any], Any]:
    """Fill a network with its released weights and apply it as the authors do."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.inference.grid import in_grid
    from harness.networks.checkpoints import load_released
    from harness.networks.memnet import from_layers

    if level not in release.levels:
        named = ", ".join(map(str, release.levels))
        raise NotAvailableError(f"MemNet was released for {task} at {named}, not at {level}")
    where = f"weights memnet/{release.file}"
    network = whole.network if task == "sr" else whole
    recursions = len(network.blocks[0].norms_a)
    state = from_layers(load_weights("memnet", release.file), release.mix, recursions, where)
    apply = ready(load_released(network, state, where))

    def in_tiles(batch: Any) -> Any:
        return in_grid(apply, batch, release.side, BORDER)

    return (lambda batch: whole.enlarged(batch, in_tiles)) if task == "sr" else in_tiles


@method(
    "memnet",
    tasks=list(RELEASED),
    title="MemNet",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["memnet"],
    file=lambda task, level: f"memnet/{RELEASED[task].file}" if level in RELEASED[task].levels else "",
    network=_network,
    checked="the released model descriptions, run node by node",
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of six memory blocks of six recursions; colour noise is taken off each channel by itself."""
    return _restorer(RELEASED[task], _network(task, level), task, level)


@method(
    "memnet-m10r10",
    tasks=["sr"],
    title="MemNet (M10R10)",
    paper=PAPER,
    url=URL,
    origin="released",
    weights=["memnet"],
    file=lambda task, level: f"memnet/{LARGE.file}" if level in LARGE.levels else "",
    network=_large,
    checked="the released model descriptions, run node by node",
)
def build_large(task: str, level: int) -> Callable[[Any], Any]:
    """Build the released network of ten memory blocks of ten recursions."""
    return _restorer(LARGE, _large(task, level), task, level)


trained_method(
    "memnet-trained",
    _network,
    {"denoise-gray": "memnet-denoise-gray", "jpeg": "memnet-jpeg", "sr": "memnet-sr"},
    title="MemNet",
    paper=PAPER,
    url=URL,
)
