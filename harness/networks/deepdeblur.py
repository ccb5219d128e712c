"""DeepDeblur (Nah, Kim, Lee, CVPR 2017): three networks of residual blocks, from the coarse scale to the fine one.

Names of layers and sizes are those of the authors' PyTorch program (SeungjunNah/DeepDeblur-PyTorch, src/model).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.blocks import ResBlock, conv

# What skimage.transform.pyramid_gaussian smooths with before it halves: sigma 2 * 2 / 6, cut off after four sigmas.
SIGMA = 2 / 3
RADIUS = 3


class DeepDeblurScale(nn.Module):
    """The network of one scale: convolution, residual blocks, convolution (section 3.1)."""

    def __init__(self, in_channels: int, n_resblocks: int, n_feats: int, kernel_size: int) -> None:
        super().__init__()
        blocks = [ResBlock(n_feats, nn.ReLU(), kernel_size=kernel_size) for _ in range(n_resblocks)]
        self.body = nn.Sequential(conv(in_channels, n_feats, kernel_size), *blocks, conv(n_feats, 3, kernel_size))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, in_channels, H, W)`` to ``(B, 3, H, W)``."""
        return self.body(x)


class DeepDeblurUpConvolution(nn.Module):
    """A convolution and pixel shuffle: the image of a scale at twice its size."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.uppath = nn.Sequential(conv(3, 12, kernel_size), nn.PixelShuffle(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, 3, H, W)`` to ``(B, 3, 2 H, 2 W)``."""
        return self.uppath(x)


class DeepDeblur(nn.Module):
    """The network, MSResNet in the authors' program.

    Parameters
    ----------
    n_resblocks : int
        Residual blocks of each scale.
    n_feats : int
        Channels.
    kernel_size : int
        Of every convolution.
    n_scales : int
        Scales, each half the next.
    """

    reentrant = True

    rgb_range = 255.0

    def __init__(self, n_resblocks: int = 19, n_feats: int = 64, kernel_size: int = 5, n_scales: int = 3) -> None:
        super().__init__()
        self.size_multiple: int = 2 ** (n_scales - 1)
        # Number 0 is the finest scale; all but the coarsest see the image of the next coarser one beside their input.
        self.body_models = nn.ModuleList(
            DeepDeblurScale(3 if scale == n_scales - 1 else 6, n_resblocks, n_feats, kernel_size)
            for scale in range(n_scales)
        )
        # The finest scale is not enlarged, and its place is kept for the numbers in the checkpoints.
        self.conv_end_models = nn.ModuleList(
            DeepDeblurUpConvolution(kernel_size) if scale else nn.Identity() for scale in range(n_scales)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Restore ``(B, 3, H, W)`` in [0, 255], H and W multiples of ``size_multiple`` (4); not clipped."""
        return self.restore_pyramid(gaussian_pyramid(x, len(self.body_models)))[0]

    def restore_pyramid(self, pyramid: list[Tensor]) -> list[Tensor]:
        """Restore every scale of a blurred pyramid, both from the finest to the coarsest."""
        mean = self.rgb_range / 2
        restored: list[Tensor] = []
        seen = pyramid[-1] - mean
        for scale in reversed(range(len(pyramid))):
            image = self.body_models[scale](seen)
            restored.insert(0, image + mean)
            if scale:
                seen = torch.cat([pyramid[scale - 1] - mean, self.conv_end_models[scale](image)], 1)
        return restored


def gaussian_pyramid(x: Tensor, scales: int) -> list[Tensor]:
    """Halve an image ``(B, C, H, W)`` again and again, as the authors' program does with skimage's pyramid_gaussian.

    Each halving smooths with a Gaussian (border mirrored with its outermost pixel twice), then takes the mean of 2x2
    pixels, which is what skimage's bilinear resizing by one half does to an even size.
    """
    weights = [math.exp(-0.5 * (offset / SIGMA) ** 2) for offset in range(-RADIUS, RADIUS + 1)]
    kernel = x.new_tensor(weights) / sum(weights)
    pyramid = [x]
    for _ in range(scales - 1):
        smooth = _smooth(_smooth(pyramid[-1], kernel).transpose(2, 3), kernel).transpose(2, 3)
        pyramid.append(functional.avg_pool2d(smooth, 2))
    return pyramid


def _smooth(x: Tensor, kernel: Tensor) -> Tensor:
    """Convolve along the rows."""
    width = x.shape[3]
    # The mirrored image repeats with a period of twice its width, however narrow it is.
    places = torch.arange(-RADIUS, width + RADIUS, device=x.device) % (2 * width)
    padded = x[:, :, :, torch.where(places < width, places, 2 * width - 1 - places)]
    channels = x.shape[1]
    return functional.conv2d(padded, kernel.expand(channels, 1, 1, -1), groups=channels)
