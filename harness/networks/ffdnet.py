"""FFDNet: denoising on four sub-images at half size, told the noise level.

Zhang, Zuo, Zhang, "FFDNet: Toward a Fast and Flexible Solution for CNN based Image Denoising", IEEE TIP 2018, section
III-B.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError


def column_order(channels: int, scale: int) -> list[int]:
    """Order of sub-channels that turns MatConvNet's pixel shuffle into PyTorch's.

    Both keep the scale² sub-channels of a colour channel together. MatConvNet's ``vl_nnSubP`` numbers the positions
    of a block column by column, `torch.pixel_shuffle` row by row.

    Parameters
    ----------
    channels, scale : int
        Colour channels, and side of a block.

    Returns
    -------
    list of int
        ``matconvnet[order]`` is in PyTorch's order: 0, 2, 1, 3 for one channel and scale 2.
    """
    block = [column * scale + row for row in range(scale) for column in range(scale)]
    return [channel * scale**2 + position for channel in range(channels) for position in block]


class FFDNet(nn.Module):
    """Pixel-unshuffle by 2, a constant noise-level map, 3x3 convolutions with ReLU, pixel-shuffle.

    Parameters
    ----------
    channels, depth, features : int
        1, 15, 64 for gray and 3, 12, 96 for colour (section III-B).
    """

    rgb_range = 1.0

    def __init__(self, channels: int, depth: int, features: int) -> None:
        super().__init__()
        widths = [4 * channels + 1] + [features] * (depth - 1) + [4 * channels]
        self.convs = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in pairwise(widths))

    def forward(self, image: Tensor, sigma: float) -> Tensor:
        """Denoise (B, channels, H, W) float32 in [0, 1] of any size; sigma is the noise level on the same scale."""
        height, width = image.shape[-2:]
        # Odd sizes: the last row and column are repeated, as the authors' test program does.
        even = functional.pad(image, (0, width % 2, 0, height % 2), mode="replicate")
        features = functional.pixel_unshuffle(even, 2)
        level = features.new_full((features.shape[0], 1, *features.shape[2:]), sigma)
        features = torch.cat([features, level], dim=1)
        for conv in self.convs[:-1]:
            features = torch.relu_(conv(features))
        return functional.pixel_shuffle(self.convs[-1](features), 2)[..., :height, :width]


def from_matconvnet(tensors: Mapping[str, Tensor], channels: int, where: str) -> dict[str, Tensor]:
    """Reorder the first layer's inputs and the last layer's outputs of a released file, see `column_order`.

    Raises
    ------
    HarnessError
        The layers are not those of FFDNet.
    """
    order = column_order(channels, 2)
    last = f"convs.{len(tensors) // 2 - 1}"
    first = tensors.get("convs.0.weight")
    outputs = [tensors.get(f"{last}.{kind}") for kind in ("weight", "bias")]
    if first is None or first.shape[1] != len(order) + 1 or any(t is None or len(t) != len(order) for t in outputs):
        raise HarnessError(
            f"{where}: the layers do not fit {channels} channels; these are the weights of another network"
        )
    # The noise level comes after the sub-images.
    reordered = {"convs.0.weight": first[:, [*order, len(order)]]}
    reordered |= {f"{last}.{kind}": tensors[f"{last}.{kind}"][order] for kind in ("weight", "bias")}
    return {**tensors, **reordered}
