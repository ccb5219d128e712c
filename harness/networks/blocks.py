"""Blocks that the EDSR family shares: residual block, upsampler, mean shift (EDSR sections 3 and 4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.errors import HarnessError

DIV2K_MEAN = (0.4488, 0.4371, 0.4040)
"""RGB mean of the DIV2K training images 1 to 800, in [0, 1] (released code of EDSR, RNAN, PANet, CSNLN)."""

SCALES = (2, 3, 4)


def conv(in_channels: int, out_channels: int, kernel_size: int = 3, stride: int = 1) -> nn.Conv2d:
    """Make a convolution with bias and zero padding of half the kernel."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride=stride, padding=kernel_size // 2)


class ConvPReLU(nn.Sequential):
    """A convolution followed by a PReLU of one slope."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__(conv(in_channels, out_channels, kernel_size), nn.PReLU())
        self.out_channels = out_channels


class ResBlock(nn.Module):
    """Convolution, activation, convolution; times ``res_scale``, plus the input. No normalisation.

    Parameters
    ----------
    n_feats : int
        Channels.
    act : Module
        The activation between the convolutions, such as ``nn.ReLU()`` or ``nn.PReLU()``.
    res_scale : float
        Factor of the residual (0.1 in EDSR).
    kernel_size : int
        Of both convolutions.
    """

    def __init__(self, n_feats: int, act: nn.Module, res_scale: float = 1.0, kernel_size: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(n_feats, n_feats, kernel_size), act, conv(n_feats, n_feats, kernel_size))
        self.res_scale = res_scale

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape."""
        res = self.body(x)
        return x + (res if self.res_scale == 1 else res * self.res_scale)


class Upsampler(nn.Sequential):
    """Convolution to ``r^2`` times the channels and pixel shuffle: x2 once, x3 once, x4 as twice x2."""

    def __init__(self, scale: int, n_feats: int) -> None:
        check_scale(scale)
        step = 3 if scale == 3 else 2
        layers: list[nn.Module] = []
        for _ in range(round(math.log(scale, step))):
            layers += [conv(n_feats, step**2 * n_feats), nn.PixelShuffle(step)]
        super().__init__(*layers)


class MeanShift(nn.Conv2d):
    """Subtract (``sign`` -1) or add (+1) the DIV2K mean; a constant 1x1 convolution, so that it has a state.

    Parameters
    ----------
    rgb_range : float
        Largest sample value, 1 or 255.
    sign : int
        -1 or +1.
    """

    def __init__(self, rgb_range: float, sign: int) -> None:
        super().__init__(3, 3, kernel_size=1)
        with torch.no_grad():
            self.weight.copy_(torch.eye(3).view(3, 3, 1, 1))
            self.bias.copy_(sign * rgb_range * torch.tensor(DIV2K_MEAN))  # type: ignore[union-attr]
        self.requires_grad_(False)


def check_scale(scale: int) -> None:
    """Refuse a super-resolution scale that the papers do not have."""
    if scale not in SCALES:
        raise HarnessError(f"there is no super-resolution network for x{scale}; the scales are 2, 3 and 4")


def check_even(n_resblocks: int, name: str) -> None:
    """Refuse a block count that cannot be halved around the attention."""
    if n_resblocks < 2 or n_resblocks % 2:
        raise HarnessError(f"{name} puts its attention between two halves: n_resblocks must be even, not {n_resblocks}")
