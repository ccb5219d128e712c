"""Blocks of the U-Nets that VDN, DANet and NBNet share: two leaky convolutions, and the way up."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LeakyUNetBlock(nn.Module):
    """Two 3x3 convolutions, each with leaky ReLU.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    slope : float
        Of the leaky ReLU.
    halves : bool
        It also has a convolution ``downsample`` to half the size, which the network calls (DANet, NBNet).
    shortcut : bool
        A 1x1 convolution of the input is added (NBNet).
    """

    def __init__(
        self, inputs: int, outputs: int, slope: float = 0.2, *, halves: bool = False, shortcut: bool = False
    ) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.LeakyReLU(slope, inplace=True),
            nn.Conv2d(outputs, outputs, 3, padding=1),
            nn.LeakyReLU(slope, inplace=True),
        )
        self.downsample = nn.Conv2d(outputs, outputs, 4, stride=2, padding=1, bias=False) if halves else None
        self.shortcut = nn.Conv2d(inputs, outputs, 1) if shortcut else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        features: Tensor = self.block(x)
        return features if self.shortcut is None else features + self.shortcut(x)


class LeakyUNetUp(nn.Module):
    """Double the size by a transposed convolution, join what the way down had there, and two convolutions."""

    def __init__(self, inputs: int, outputs: int, slope: float = 0.2, *, shortcut: bool = False) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv_block = LeakyUNetBlock(inputs, outputs, slope, shortcut=shortcut)

    def forward(self, x: Tensor, bridge: Tensor) -> Tensor:
        """Take (B, inputs, H, W) and (B, outputs, 2H, 2W), return the size of the latter."""
        return self.conv_block(torch.cat((self.up(x), bridge), 1))
