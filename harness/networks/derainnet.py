"""DerainNet (Fu et al., "Clearing the Skies", IEEE TIP 2017): rain is removed from the detail layer.

From the paper: a guided filter splits the image into base and detail (section III-B); three layers restore the detail,
512 features (section III-C); base and detail are added. From the first author's TensorFlow program (in
MyNameIsPHP/DerainNet-Installation, ``network.py`` and ``testing.py``): radius 15 and regularisation 1 for an image in
[0, 1]; ReLU between the layers, where the paper has tanh; the image is mirrored by 10 pixels, edge samples included,
before it is split.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.networks.tnrd import symmetric_pad

RADIUS = 15
REGULARISATION = 1.0
FEATURES = 512
BORDER = 10
"""Pixels that are mirrored at every side."""
MARGIN = 4
"""A 16x16 convolution takes 15 pixels off each axis, the 8x8 transposed one gives 7 back: 4 at every side are lost."""


class DerainNet(nn.Module):
    """The network: 16x16 convolution, 1x1 convolution, 8x8 transposed convolution, on the detail layer."""

    rgb_range = 1.0
    reentrant = True

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, features, 16)
        self.conv2 = nn.Conv2d(features, features, 1)
        self.deconv = nn.ConvTranspose2d(features, 3, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, 3, H, W) in [0, 1]; not clipped."""
        padded = symmetric_pad(x, BORDER)
        base = guided_filter(padded, RADIUS, REGULARISATION)
        features = torch.relu(self.conv2(torch.relu(self.conv1(padded - base))))
        detail = self.deconv(features)
        return functional.pad(base, (-BORDER,) * 4) + functional.pad(detail, (MARGIN - BORDER,) * 4)


_LAYERS = {"conv2d": "conv1", "conv2d_1": "conv2", "conv2d_transpose": "deconv"}


def from_checkpoint(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename the variables of the released checkpoint.

    Raises
    ------
    HarnessError
        A variable belongs to no layer.
    """
    renamed = {}
    for name, tensor in tensors.items():
        scope, _, rest = name.partition("/")
        layer, _, kind = rest.partition("/")
        if scope != "DerainNet" or layer not in _LAYERS or kind not in ("kernel", "bias"):
            raise HarnessError(f"{where}: '{name}' is left over; these are the weights of another network")
        renamed[f"{_LAYERS[layer]}.{'weight' if kind == 'kernel' else 'bias'}"] = tensor
    return renamed


def guided_filter(image: Tensor, radius: int, regularisation: float) -> Tensor:
    """Smooth an image guided by itself, channel by channel (He, Sun, Tang, TPAMI 2013, equations 5, 6 and 8).

    Parameters
    ----------
    image : Tensor
        (B, C, H, W).
    radius : int
        Of the square window; at the border only what lies inside the image counts.
    regularisation : float
        In squared units of the image.
    """
    ones = torch.ones_like(image[:1, :1])
    count = _box_sum(ones, radius)

    def mean(values: Tensor) -> Tensor:
        return _box_sum(values, radius) / count

    average = mean(image)
    # In float32 a variance near zero may come out below it.
    variance = (mean(image * image) - average * average).clamp(min=0)
    slope = variance / (variance + regularisation)
    offset = average - slope * average
    return mean(slope) * image + mean(offset)


def _box_sum(values: Tensor, radius: int) -> Tensor:
    """Sum over square windows, zeros outside the image."""
    size = 2 * radius + 1
    channels = values.shape[1]
    row = torch.ones(channels, 1, 1, size, dtype=values.dtype, device=values.device)
    along = functional.conv2d(values, row, padding=(0, radius), groups=channels)
    return functional.conv2d(along, row.transpose(2, 3), padding=(radius, 0), groups=channels)
