"""Images made of whole-number arithmetic, so that hashes of what is made from them hold on every machine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

Synthetic = Callable[..., NDArray[np.uint8]]


def synthetic_image(height: int = 97, width: int = 130, channels: int = 3) -> NDArray[np.uint8]:
    """Ramps, a coarse chessboard and a fine texture: smooth parts, edges, black and white."""
    row, column, channel = np.meshgrid(np.arange(height), np.arange(width), np.arange(channels), indexing="ij")
    ramp = (3 * row + 2 * column + 40 * channel) % 256
    chess = 255 * ((row // 16 + column // 16 + channel) % 2)
    texture = (row * row * 7 + column * 13 + row * column) % 61
    image = ((2 * ramp + chess) // 3 + texture - 30).clip(0, 255).astype(np.uint8)
    return image if channels > 1 else image[:, :, 0]


@pytest.fixture(scope="session")
def synthetic() -> Synthetic:
    return synthetic_image
