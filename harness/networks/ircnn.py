"""IRCNN: the denoisers of a denoising prior, seven dilated convolutions each.

Zhang, Zuo, Gu, Zhang, "Learning Deep CNN Denoiser Prior for Image Restoration", CVPR 2017, section 4.1.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

DILATIONS = (1, 2, 3, 4, 3, 2, 1)  # figure 2


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
