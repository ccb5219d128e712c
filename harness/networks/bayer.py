"""The first guess of a full-colour image from a GRBG mosaic: Hamilton and Adams's directional interpolation.

Green comes first, along the direction in which the image changes less, corrected by the second difference of the
sample's own colour; red and blue follow, corrected by the second difference of that green (Hamilton and Adams, US
Patent 5,629,734, 1997). IRCNN begins with it (cszn/IRCNN, ``utilities/linearlcc.m``). As there a sample at the border
whose neighbours are not all in the image keeps the one value that the mosaic has for its pixel, whatever its colour.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

REACH = 2  # pixels


def bayer_mask(image: Tensor) -> Tensor:
    """Mark the samples that the mosaic G R G R, B G B G keeps of (B, 3, H, W): 1 or 0, (1, 3, H, W), of its dtype."""
    mask = torch.zeros_like(image[:1])
    mask[:, 0, 0::2, 1::2] = 1
    mask[:, 1, 0::2, 0::2] = 1
    mask[:, 1, 1::2, 1::2] = 1
    mask[:, 2, 1::2, 0::2] = 1
    return mask


def interpolate_bayer(samples: Tensor) -> Tensor:
    """Interpolate a GRBG mosaic.

    Parameters
    ----------
    samples : Tensor
        (B, H, W), the one sample of each pixel, of any size and range.

    Returns
    -------
    Tensor
        (B, 3, H, W) RGB of the same dtype; not clipped.
    """
    height, width = samples.shape[-2:]
    row = torch.arange(height, device=samples.device)[:, None]
    column = torch.arange(width, device=samples.device)
    inner_rows, inner_columns = _inside(row, height, 1), _inside(column, width, 1)

    green = torch.where(
        ((row + column) % 2 == 1) & _inside(row, height, REACH) & _inside(column, width, REACH),
        _green(samples),
        samples,
    )
    own, corrected = _Shifts(samples), _Shifts(green)

    def between(down: int, right: int, share: float) -> tuple[Tensor, Tensor]:
        """Average a colour over two opposite neighbours, corrected by green; and how much both change that way."""
        bend = 2 * green - corrected(down, right) - corrected(-down, -right)
        first, second = own(down, right), own(-down, -right)
        return (first + second) / 2 + share * bend, (first - second).abs() + bend.abs()

    beside, _ = between(0, 1, 1 / 4)
    above, _ = between(1, 0, 1 / 4)
    diagonal = _smoother(*between(1, 1, 1 / 2), *between(1, -1, 1 / 2))

    def chroma(on_row: int, on_column: int) -> Tensor:
        """Fill up red or blue, whose samples lie in every second row and column from these on."""
        same_row, same_column = row % 2 == on_row, column % 2 == on_column
        found = torch.where(same_row & ~same_column & inner_columns, beside, samples)
        found = torch.where(~same_row & same_column & inner_rows, above, found)
        return torch.where(~same_row & ~same_column & inner_rows & inner_columns, diagonal, found)

    return torch.stack([chroma(0, 1), green, chroma(1, 0)], dim=1)


def _green(samples: Tensor) -> Tensor:
    """Green at the samples of red and blue."""
    own = _Shifts(samples)

    def between(down: int, right: int) -> tuple[Tensor, Tensor]:
        bend = 2 * samples - own(2 * down, 2 * right) - own(-2 * down, -2 * right)
        first, second = own(down, right), own(-down, -right)
        return (first + second) / 2 + bend / 4, (first - second).abs() + bend.abs()

    return _smoother(*between(0, 1), *between(1, 0))


def _smoother(first: Tensor, first_change: Tensor, second: Tensor, second_change: Tensor) -> Tensor:
    """Take of two estimates that along which the image changes less, their average where both change alike."""
    either = torch.where(first_change > second_change, second, (first + second) / 2)
    return torch.where(first_change < second_change, first, either)


def _inside(index: Tensor, size: int, margin: int) -> Tensor:
    return (index >= margin) & (index < size - margin)


class _Shifts:
    """A plane as its pixels see it some rows down and some columns to the right; 0 beyond the border."""

    def __init__(self, plane: Tensor) -> None:
        self.height, self.width = plane.shape[-2:]
        self.padded = functional.pad(plane, (REACH,) * 4)

    def __call__(self, down: int, right: int) -> Tensor:
        return self.padded.narrow(-2, REACH + down, self.height).narrow(-1, REACH + right, self.width)
