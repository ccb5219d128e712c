"""IRCNN: the denoisers of a denoising prior, seven dilated convolutions each, and demosaicing with them.

Zhang, Zuo, Gu, Zhang, "Learning Deep CNN Denoiser Prior for Image Restoration", CVPR 2017, sections 3 and 4.1. The
paper does not demosaic: that is the authors' program of January 2018 (cszn/IRCNN, ``Demo_demosaiking.m``).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.networks.bayer import bayer_mask, interpolate_bayer

DILATIONS = (1, 2, 3, 4, 3, 2, 1)  # figure 2
DENOISERS = 25

# The defaults of Demo_demosaiking.m for a mosaic without noise.
ITERATIONS = 30
FIRST_SIGMA, LAST_SIGMA = 49.0, 2.0
MOSAIC_SIGMA = 0.5


class IRCNN(nn.Module):
    """Seven 3x3 convolutions of 64 features with growing and shrinking dilation; the output is the noise.

    Parameters
    ----------
    channels : int
        1 gray, 3 RGB.
    features : int
        Width of the inner layers.
    """

    rgb_range = 1.0

    def __init__(self, channels: int, features: int = 64) -> None:
        super().__init__()
        widths = [channels] + [features] * (len(DILATIONS) - 1) + [channels]
        self.convs = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=dilation, dilation=dilation)
            for inputs, outputs, dilation in zip(widths[:-1], widths[1:], DILATIONS, strict=True)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Denoise (B, channels, H, W) float32 in [0, 1]; unclipped noise may leave that range."""
        residual = image
        for conv in self.convs[:-1]:
            residual = torch.relu_(conv(residual))
        return image - self.convs[-1](residual)


def denoiser_for(sigma: float) -> int:
    """Number the released denoiser of a noise level, from 1; the k-th is for sigma 2k to 2k + 2 (``loadmodel.m``)."""
    return min(DENOISERS, max(math.ceil(sigma / 2), 1))


class IRCNNDemosaicing(nn.Module):
    """Half-quadratic splitting: the samples of the mosaic and a denoiser of falling strength in turn, 30 times.

    The denoisers of the noise levels passed through are named ``level1`` to ``level25``, by `denoiser_for`.
    """

    rgb_range = 1.0
    reentrant = True

    def __init__(self) -> None:
        super().__init__()
        steps = range(ITERATIONS)
        first, last = math.log10(FIRST_SIGMA), math.log10(LAST_SIGMA)
        self.sigmas = [10 ** (first + (last - first) * step / (ITERATIONS - 1)) for step in steps[:-1]]
        self.sigmas.append(LAST_SIGMA)
        for number in sorted({denoiser_for(sigma) for sigma in self.sigmas}):
            self.add_module(f"level{number}", IRCNN(3))

    def forward(self, mosaic: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1] from its samples on the filters G R G R, B G B G; others are not looked at."""
        mask = bayer_mask(mosaic)
        samples = mosaic * mask
        # Which direction is smoother is decided in double precision, as in MATLAB.
        image = interpolate_bayer(samples.sum(1).double()).to(mosaic.dtype)
        for sigma in self.sigmas:
            prior = (MOSAIC_SIGMA / sigma) ** 2 / 3
            image = (samples + prior * image) / (mask + prior)
            image = self.get_submodule(f"level{denoiser_for(sigma)}")(image)
        return image
