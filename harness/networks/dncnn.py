"""DnCNN: a plain stack of convolutions that predicts the noise.

Zhang, Zuo, Chen, Meng, Zhang, "Beyond a Gaussian Denoiser: Residual Learning of Deep CNN for Image Denoising", IEEE
TIP 2017, section III. The released weights have batch normalisation merged into the convolutions.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class DnCNN(nn.Module):
    """A stack of 3x3 convolutions with ReLU between; its output is subtracted from its input.

    Parameters
    ----------
    channels : int
        1 gray, 3 RGB.
    depth : int
        Number of convolutions: 17 for one noise level in gray, 20 for colour and for DnCNN-3 (section IV-B).
    features : int
        Width of the inner layers.
    """

    rgb_range = 1.0

    def __init__(self, channels: int, depth: int, features: int = 64) -> None:
        super().__init__()
        widths = [channels] + [features] * (depth - 1) + [channels]
        self.convs = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in pairwise(widths))

    def forward(self, image: Tensor) -> Tensor:
        """Denoise (B, channels, H, W) float32 in [0, 1]; unclipped noise may leave that range."""
        residual = image
        for conv in self.convs[:-1]:
            residual = torch.relu_(conv(residual))
        return image - self.convs[-1](residual)
