"""Blocks of the densely connected streams of DID-MDN and UMRL: bottleneck and transition, of the names released."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.image_statistics import ImageNorm2d, Statistics

Resample = Literal["keep", "halve", "double"]


class Bottleneck(nn.Module):
    """Norm, ReLU, 1x1 to four times the growth; norm, ReLU, k x k to the growth; joined to the input.

    Parameters
    ----------
    inputs, growth : int
        Channels given, and added to them.
    kernel : int
        Side of the second filter.
    statistics : {"image", "running"}
        See `ImageNorm2d`.
    """

    def __init__(self, inputs: int, growth: int, kernel: int, statistics: Statistics) -> None:
        super().__init__()
        self.bn1 = ImageNorm2d(inputs, statistics)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.bn2 = ImageNorm2d(4 * growth, statistics)
        self.conv2 = nn.Conv2d(4 * growth, growth, kernel, padding=kernel // 2, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, inputs + growth, H, W)."""
        inner = self.conv1(torch.relu(self.bn1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.bn2(inner)))], 1)


class Transition(nn.Module):
    """Norm, ReLU, 1x1 convolution, then halved by averages of 2x2, doubled by repetition, or kept.

    The released 1x1 filters are those of a transposed convolution: (inputs, outputs, 1, 1).
    """

    def __init__(self, inputs: int, outputs: int, resample: Resample, statistics: Statistics) -> None:
        super().__init__()
        self.bn1 = ImageNorm2d(inputs, statistics)
        self.conv1 = nn.ConvTranspose2d(inputs, outputs, 1, bias=False)
        self.resample = resample

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H', W')."""
        x = self.conv1(torch.relu(self.bn1(x)))
        if self.resample == "halve":
            return functional.avg_pool2d(x, 2)
        return functional.interpolate(x, scale_factor=2, mode="nearest") if self.resample == "double" else x
