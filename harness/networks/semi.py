"""SEMI (Wei et al., CVPR 2019): the deep detail network of Fu et al., trained with real rain beside synthetic rain.

From the released program (wwzjer/Semi-supervised-IRR, ``training.py`` and ``testing.py``): 26 layers of 3x3 filters see
the detail layer of an image in [0, 1], and what they give is added to the image. Each layer is normalised by the means
and variances of what it is given; nothing is gathered in training.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.networks.derainnet import RADIUS, REGULARISATION, guided_filter
from harness.networks.image_statistics import ImageNorm2d

LAYERS = 26


class _Norm(ImageNorm2d):
    """Without running means and variances."""

    def __init__(self, features: int) -> None:
        super().__init__(features)
        self.track_running_stats = False
        self.running_mean = self.running_var = self.num_batches_tracked = None


class SEMI(nn.Module):
    """The network: a first layer, twelve pairs with a shortcut around each, a last layer.

    Parameters
    ----------
    features : int
        16 as released.
    """

    rgb_range = 1.0
    reentrant = True

    def __init__(self, features: int = 16) -> None:
        super().__init__()
        widths = [3, *[features] * (LAYERS - 1), 3]
        pairs = list(itertools.pairwise(widths))
        self.convs = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in pairs)
        self.norms = nn.ModuleList(_Norm(outputs) for _, outputs in pairs)

    def _layer(self, index: int, x: Tensor) -> Tensor:
        return self.norms[index](self.convs[index](x))

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1]; not clipped."""
        features = torch.relu(self._layer(0, x - guided_filter(x, RADIUS, REGULARISATION)))
        for index in range(1, LAYERS - 1, 2):
            inner = torch.relu(self._layer(index, features))
            features = features + torch.relu(self._layer(index + 1, inner))
        return x + self._layer(LAYERS - 1, features)


_KINDS = {"weights": "convs.{}.weight", "biases": "convs.{}.bias", "scale": "norms.{}.weight", "beta": "norms.{}.bias"}


def from_checkpoint(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename the variables of the released checkpoint.

    It holds biases, scales and offsets twice: those of ``conv_1_1`` to ``conv_26_1`` are of the branch for real rain,
    which shares the filters alone, and which the released test does not use.

    Raises
    ------
    HarnessError
        A variable belongs to no layer.
    """
    renamed = {}
    for name, tensor in tensors.items():
        scope, _, variable = name.partition("/")
        kind, _, number = variable.partition("_")
        if kind not in _KINDS or scope not in (f"conv_{number}", f"conv_{number}_1") or not number.isdecimal():
            raise HarnessError(f"{where}: '{name}' is left over; these are the weights of another network")
        if scope == f"conv_{number}":
            renamed[_KINDS[kind].format(int(number) - 1)] = tensor
    return renamed
