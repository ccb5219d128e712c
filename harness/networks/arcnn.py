"""ARCNN: four layers that remove JPEG artifacts from luma.

Dong, Deng, Loy, Tang, "Compression Artifacts Reduction by a Deep Convolutional Network", ICCV 2015, section 3.2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

# Names of the layers in the authors' files.
RELEASED_LAYERS = {"conv1": "extraction", "conv2": "enhancement", "conv22": "mapping", "conv3": "reconstruction"}


class ARCNN(nn.Module):
    """Convolutions 9-7-1-5 with 64, 32, 16, 1 features and ReLU between; borders are replicated at every layer."""

    rgb_range = 1.0

    def __init__(self) -> None:
        super().__init__()
        self.extraction = nn.Conv2d(1, 64, 9)
        self.enhancement = nn.Conv2d(64, 32, 7)
        self.mapping = nn.Conv2d(32, 16, 1)
        self.reconstruction = nn.Conv2d(16, 1, 5)

    def forward(self, image: Tensor) -> Tensor:
        """Restore luma (B, 1, H, W) float32 in [0, 1]."""
        features = torch.relu_(self.extraction(_replicate(image, 4)))
        features = torch.relu_(self.enhancement(_replicate(features, 3)))
        features = torch.relu_(self.mapping(features))
        return self.reconstruction(_replicate(features, 2))


def _replicate(image: Tensor, border: int) -> Tensor:
    # The authors' program filters each layer with imfilter's 'replicate' border.
    return functional.pad(image, (border, border, border, border), mode="replicate")
