"""Tiles of a grid, as MemNet's programs cut them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from harness.inference.grid import in_grid


@pytest.mark.parametrize("size", [(1, 1), (7, 200), (136, 137), (272, 300), (150, 512)])
def test_every_pixel_comes_back_at_its_place(size: tuple[int, int]) -> None:
    image = torch.arange(2 * size[0] * size[1], dtype=torch.float32).reshape(2, 1, *size)
    torch.testing.assert_close(in_grid(lambda tile: tile, image, 120, 16), image, rtol=0, atol=0)


def test_the_tiles_are_those_of_the_program() -> None:
    """512 pixels in tiles of 120 with a border of 16: four, 128 apart; 140 pixels: two, 70 apart."""
    seen: list[tuple[float, int, float, int]] = []

    def note(tile: Tensor) -> Tensor:
        first = int(tile[0, 0, 0, 0])
        seen.append((first // 512, tile.shape[2], first % 512, tile.shape[3]))
        return tile

    in_grid(note, torch.arange(140 * 512, dtype=torch.float32).reshape(1, 1, 140, 512), 120, 16)
    columns = [(0, 144), (112, 160), (240, 160), (368, 144)]
    assert seen == [(*row, *column) for row in [(0, 86), (54, 86)] for column in columns]


@pytest.mark.parametrize("size", [(300, 290), (137, 411), (20, 500)])
def test_what_sees_less_than_the_border_is_as_of_the_whole(size: tuple[int, int]) -> None:
    """But for tiles that begin within a border's width of the image's: the program gives these none there."""
    image = torch.rand(1, 2, *size)

    def blurred(x: Tensor) -> Tensor:
        return functional.avg_pool2d(x, 33, 1, 16, count_include_pad=True)

    torch.testing.assert_close(in_grid(blurred, image, 120, 16), blurred(image), rtol=1e-6, atol=1e-6)
