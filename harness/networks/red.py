"""RED30: convolutions that take an image apart, transposed ones that put it together, joined by skips.

Mao, Shen, Yang, "Image Restoration Using Very Deep Convolutional Encoder-Decoder Networks with Symmetric Skip
Connections", NIPS 2016. Layers, names and order of the sums are those of the released definition (ved27/RED-net,
``model/REDNet_ch1.prototxt``).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.networks.channels import each_channel


class RED30(nn.Module):
    """Fifteen convolutions and fifteen transposed ones of 3x3; the input is added to what they give.

    Parameters
    ----------
    features : int
        Channels between them.
    depth : int
        Layers of each kind.
    """

    rgb_range = 1.0
    reentrant = True

    def __init__(self, features: int = 128, depth: int = 15) -> None:
        super().__init__()
        self.depth = depth
        for number in range(1, depth + 1):
            inputs = 1 if number == 1 else features
            self.add_module(f"conv{number}", nn.Conv2d(inputs, features, 3, padding=1))
        for number in range(1, depth + 1):
            outputs = 1 if number == depth else features
            self.add_module(f"deconv{number}", nn.ConvTranspose2d(features, outputs, 3, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Restore (B, C, H, W) float32 in [0, 1], each channel by itself; unclipped noise may leave that range."""
        return each_channel(self._restore, image)

    def _restore(self, image: Tensor) -> Tensor:
        x = image
        encoded = []
        for number in range(1, self.depth + 1):
            x = torch.relu(self.get_submodule(f"conv{number}")(x))
            encoded.append(x)
        for number in range(1, self.depth):
            x = torch.relu(self.get_submodule(f"deconv{number}")(x))
            if number % 2:
                # The released definition has another ReLU behind the sum, which of two such terms changes nothing.
                x = x + encoded[self.depth - number - 1]
        return image + self.get_submodule(f"deconv{self.depth}")(x)
