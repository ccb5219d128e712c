"""Modulated deformable convolution (Zhu et al., CVPR 2019), equal to torchvision's and without its compiled part."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def deformable_convolution(
    x: Tensor, offset: Tensor, mask: Tensor, weight: Tensor, bias: Tensor, groups: int
) -> Tensor:
    """Convolve with a square kernel of stride 1 and "same" padding, each tap of which looks where its offset says.

    Samples between pixels are bilinear, outside the image they are zero.

    Parameters
    ----------
    x : Tensor
        ``(B, C, H, W)``; its channels are in `groups` groups with offsets of their own.
    offset : Tensor
        ``(B, 2 * groups * K * K, H, W)`` in pixels: for each group and tap how far down, then how far right.
    mask : Tensor
        ``(B, groups * K * K, H, W)``: factor of each tap.
    weight, bias : Tensor
        ``(O, C, K, K)``, ``(O,)``.
    groups : int
        Groups of channels with their own offsets.

    Returns
    -------
    Tensor
        ``(B, O, H, W)``.
    """
    batch, channels, height, width = x.shape
    outputs, _, side, _ = weight.shape
    taps = side * side
    reach = torch.arange(side, device=x.device, dtype=x.dtype) - side // 2
    offset = offset.reshape(batch * groups, taps, 2, height, width)
    rows = torch.arange(height, device=x.device, dtype=x.dtype)[:, None] + reach.repeat_interleave(side)[:, None, None]
    columns = torch.arange(width, device=x.device, dtype=x.dtype)[None, :] + reach.repeat(side)[:, None, None]
    # grid_sample counts from -1 to 1 between the outer edges of the image.
    down = (2 * (offset[:, :, 0] + rows) + 1) / height - 1
    right = (2 * (offset[:, :, 1] + columns) + 1) / width - 1
    grid = torch.stack((right, down), -1).flatten(1, 2)
    grouped = x.reshape(batch * groups, channels // groups, height, width)
    samples = functional.grid_sample(grouped, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    samples = samples.reshape(batch, groups, -1, taps, height * width)
    samples = samples * mask.reshape(batch, groups, 1, taps, height * width)
    product = weight.reshape(outputs, -1) @ samples.reshape(batch, channels * taps, height * width)
    return product.reshape(batch, outputs, height, width) + bias[:, None, None]
