"""SADNet (Chang et al., ECCV 2020): a U-Net whose way up looks, by deformable convolutions, where its features say.

Names of layers are those of the released program (JimmyChame/SADNet, model/sadnet.py).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.blocks import conv
from harness.networks.deformable import deformable_convolution

SLOPE = 0.2
DEFORMABLE_GROUPS = 8


def _leaky(x: Tensor) -> Tensor:
    return functional.leaky_relu(x, SLOPE)


class LeakyResidual(nn.Module):
    """Two convolutions with leaky ReLU between, plus the input (a 1x1 convolution of it where channels change)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = None if inputs == outputs else conv(inputs, outputs, 1)
        self.conv1 = conv(outputs, outputs)
        self.conv2 = conv(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        x = x if self.conv0 is None else self.conv0(x)
        return x + self.conv2(_leaky(self.conv1(x)))


class ContextBlock(nn.Module):
    """Four dilations side by side on a quarter of the channels, fused, plus the input (section 3.3)."""

    def __init__(self, features: int, inner: int) -> None:
        super().__init__()
        self.conv0 = conv(features, inner, 1)
        for dilation in range(1, 5):
            dilated = nn.Conv2d(inner, inner, 3, padding=dilation, dilation=dilation)
            setattr(self, f"conv{dilation}", dilated)
        self.fusion = conv(4 * inner, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, features, H, W)."""
        reduced = self.conv0(x)
        wide = [_leaky(getattr(self, f"conv{dilation}")(reduced)) for dilation in range(1, 5)]
        return self.fusion(torch.cat(wide, 1)) + x


class OffsetBlock(nn.Module):
    """Features for the offsets of a scale, from its own and from twice those of the coarser scale (section 3.2)."""

    def __init__(self, features: int, offset_channel: int, *, coarser: bool) -> None:
        super().__init__()
        self.offset_conv1 = conv(features, offset_channel)
        self.offset_conv2 = conv(2 * offset_channel, offset_channel) if coarser else None
        self.offset_conv3 = conv(offset_channel, offset_channel)

    def forward(self, x: Tensor, coarser: Tensor | None = None) -> Tensor:
        """Take (B, features, H, W) and (B, offset_channel, H/2, W/2), return (B, offset_channel, H, W)."""
        offset = _leaky(self.offset_conv1(x))
        if self.offset_conv2 is not None and coarser is not None:
            coarser = functional.interpolate(coarser, scale_factor=2, mode="bilinear", align_corners=False)
            offset = _leaky(self.offset_conv2(torch.cat((offset, 2 * coarser), 1)))
        return _leaky(self.offset_conv3(offset))


class DeformablePack(nn.Module):
    """A deformable 3x3 convolution with offsets and mask convolved from other features; at first it moves none."""

    def __init__(self, features: int, offset_channel: int) -> None:
        super().__init__()
        like = nn.Conv2d(features, features, 3)
        self.weight = nn.Parameter(like.weight.detach().clone())
        self.bias = nn.Parameter(torch.zeros(features))
        self.conv_offset_mask = conv(offset_channel, DEFORMABLE_GROUPS * 3 * 9)
        nn.init.zeros_(self.conv_offset_mask.weight)
        assert self.conv_offset_mask.bias is not None
        nn.init.zeros_(self.conv_offset_mask.bias)

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Take (B, features, H, W) and (B, offset_channel, H, W), return the size of the former."""
        first, second, mask = self.conv_offset_mask(offset).chunk(3, 1)
        moved = torch.cat((first, second), 1)
        return deformable_convolution(x, moved, torch.sigmoid(mask), self.weight, self.bias, DEFORMABLE_GROUPS)


class SpatialAdaptiveBlock(nn.Module):
    """RSAB: a deformable convolution, leaky ReLU, a convolution, plus the input (section 3.1)."""

    def __init__(self, features: int, offset_channel: int) -> None:
        super().__init__()
        self.dcnpack = DeformablePack(features, offset_channel)
        self.conv1 = conv(features, features)

    def forward(self, x: Tensor, offset: Tensor) -> Tensor:
        """Take (B, features, H, W) and the scale's offset features."""
        return self.conv1(_leaky(self.dcnpack(x, offset))) + x


class SADNet(nn.Module):
    """The network.

    Parameters
    ----------
    n_colors : int
        Channels of the image.
    n_channel : int
        Features at full size.
    offset_channel : int
        Features of the offsets.
    """

    res1: LeakyResidual
    offset4: OffsetBlock
    dres4: SpatialAdaptiveBlock

    rgb_range = 1.0
    reentrant = True

    size_multiple = 8
    """The released test program crops images to multiples of this."""

    def __init__(self, n_colors: int = 3, n_channel: int = 32, offset_channel: int = 32) -> None:
        super().__init__()
        widths = [n_channel * 2**scale for scale in range(4)]
        for scale, (before, width) in enumerate(zip([n_colors, *widths[1:]], widths, strict=True), 1):
            setattr(self, f"res{scale}", LeakyResidual(before, width))
            setattr(self, f"offset{scale}", OffsetBlock(width, offset_channel, coarser=scale < 4))
            setattr(self, f"dres{scale}", SpatialAdaptiveBlock(width, offset_channel))
        for scale, (width, wider) in enumerate(itertools.pairwise(widths), 1):
            setattr(self, f"down{scale}", nn.Conv2d(width, wider, 2, stride=2))
            setattr(self, f"up{scale}", nn.ConvTranspose2d(wider, width, 2, stride=2))
            setattr(self, f"dconv{scale}_1", conv(2 * width, width, 1))
        self.context = ContextBlock(widths[-1], widths[-1] // 4)
        self.out = conv(n_channel, n_colors)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, n_colors, H, W) in [0, 1], sides multiples of 8; not clipped."""
        features, skips = self.res1(x), []
        for scale in range(2, 5):
            skips.append(features)
            features = getattr(self, f"res{scale}")(_leaky(getattr(self, f"down{scale - 1}")(features)))
        features = self.context(features)
        offset = self.offset4(features)
        features = self.dres4(features, offset)
        for scale in (3, 2, 1):
            joined = torch.cat((getattr(self, f"up{scale}")(features), skips[scale - 1]), 1)
            features = getattr(self, f"dconv{scale}_1")(joined)
            offset = getattr(self, f"offset{scale}")(features, offset)
            features = getattr(self, f"dres{scale}")(features, offset)
        return self.out(features) + x
