"""Modulated deformable convolution against its definition, sample by sample."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from harness.networks.deformable import deformable_convolution


def by_definition(x, offset, mask, weight, bias, groups):
    """Zhu et al. 2019, equation 1; bilinear, zero outside the image."""
    _, channels, height, width = x.shape
    outputs, _, side, _ = weight.shape

    def at(plane, y, x_):
        top, left = int(np.floor(y)), int(np.floor(x_))
        total = 0.0
        for i in (top, top + 1):
            for j in (left, left + 1):
                if 0 <= i < height and 0 <= j < width:
                    total += plane[i, j] * (1 - abs(y - i)) * (1 - abs(x_ - j))
        return total

    out = np.zeros((outputs, height, width))
    for o in range(outputs):
        for y in range(height):
            for x_ in range(width):
                total = bias[o]
                for c in range(channels):
                    g = c * groups // channels
                    for k in range(side * side):
                        down, right = offset[0, 2 * (g * side**2 + k) : 2 * (g * side**2 + k) + 2, y, x_]
                        place = (y + k // side - side // 2 + down, x_ + k % side - side // 2 + right)
                        sample = at(x[0, c], *place) * mask[0, g * side**2 + k, y, x_]
                        total += weight[o, c, k // side, k % side] * sample
                out[o, y, x_] = total
    return out


@pytest.mark.parametrize("size", [(4, 5), (1, 3), (1, 1)])
def test_by_definition(size: tuple[int, int]) -> None:
    random = np.random.default_rng(3)
    arrays = [
        random.normal(size=(1, 4, *size)),
        random.normal(size=(1, 36, *size)) * 2,
        random.random((1, 18, *size)),
        random.normal(size=(2, 4, 3, 3)),
        random.normal(size=2),
    ]
    found = deformable_convolution(*map(torch.from_numpy, arrays), groups=2)[0].numpy()
    np.testing.assert_allclose(found, by_definition(*arrays, groups=2), atol=1e-9)


def test_without_offsets_it_is_a_convolution() -> None:
    x, weight, bias = torch.rand(2, 8, 9, 7), torch.rand(5, 8, 3, 3), torch.rand(5)
    found = deformable_convolution(x, torch.zeros(2, 72, 9, 7), torch.ones(2, 36, 9, 7), weight, bias, groups=4)
    torch.testing.assert_close(found, functional.conv2d(x, weight, bias, padding=1), rtol=1e-5, atol=1e-5)
