"""DerainNet (Fu et al., "Clearing the Skies", IEEE TIP 2017): rain is removed from the detail layer.

From the paper: a guided filter splits the image into base and detail (section III-B); three layers of 512 features with
tanh between them restore the detail (section III-C); base and detail are added. Not stated there and taken here: the
guided filter's window (radius 15) and regularisation (1, for an image in [0, 1]), and that the image is mirrored at its
border for the 16x16 kernels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

RADIUS = 15
REGULARISATION = 1.0
FEATURES = 512
# A 16x16 convolution takes 15 pixels off each axis, the 8x8 transposed one gives 7 back: 4 at every side are missing.
MARGIN = 4


class DerainNet(nn.Module):
    """The network: 16x16 convolution, 1x1 convolution, 8x8 transposed convolution, on the detail layer."""

    rgb_range = 1.0

    def __init__(self, features: int = FEATURES) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, features, 16)
        self.conv2 = nn.Conv2d(features, features, 1)
        self.deconv = nn.ConvTranspose2d(features, 3, 8)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, 3, H, W) in [0, 1]; not clipped."""
        base = guided_filter(x, RADIUS, REGULARISATION)
        thin = min(x.shape[2:]) <= MARGIN
        detail = functional.pad(x - base, (MARGIN,) * 4, mode="replicate" if thin else "reflect")
        # Thinner images than the kernel are repeated at the right and bottom, and cropped again below.
        missing = [max(0, 16 - side) for side in (detail.shape[3], detail.shape[2])]
        detail = functional.pad(detail, (0, missing[0], 0, missing[1]), mode="replicate")
        features = torch.tanh(self.conv2(torch.tanh(self.conv1(detail))))
        return base + self.deconv(features)[:, :, : x.shape[2], : x.shape[3]]


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
