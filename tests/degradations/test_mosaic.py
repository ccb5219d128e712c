from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.degradations import bayer_mosaic
from harness.degradations.mosaic import PATTERNS
from harness.errors import HarnessError
from harness.images import pixels_sha256

PINNED = "82fcd955cef220ffcf8195c7e46f2a9eaee0dd78ea68aad01c0d2c58bb5cd477"


def test_grbg_is_green_red_over_blue_green() -> None:
    image = np.empty((2, 4, 3), np.uint8)
    image[:] = (10, 20, 30)
    mosaic = bayer_mosaic(image)
    assert mosaic[0].tolist() == [[0, 20, 0], [10, 0, 0]] * 2
    assert mosaic[1].tolist() == [[0, 0, 30], [0, 20, 0]] * 2


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from(PATTERNS))
def test_every_pixel_keeps_one_sample_unchanged(height: int, width: int, pattern: str) -> None:
    image = np.random.default_rng(0).integers(1, 256, (height, width, 3)).astype(np.uint8)
    mosaic = bayer_mosaic(image, pattern)
    assert ((mosaic > 0).sum(axis=2) == 1).all()
    np.testing.assert_array_equal(mosaic[mosaic > 0], image[mosaic > 0])
    assert mosaic.dtype == image.dtype


def test_the_four_patterns_are_shifts_of_one_another(synthetic) -> None:
    image = synthetic(9, 9)
    whole = bayer_mosaic(image, "GRBG")
    for pattern, (down, right) in {"RGGB": (0, 1), "BGGR": (1, 0), "GBRG": (1, 1)}.items():
        np.testing.assert_array_equal(whole[down:, right:], bayer_mosaic(image[down:, right:], pattern))


def test_pixels_are_pinned(synthetic) -> None:
    assert pixels_sha256(bayer_mosaic(synthetic())) == PINNED


def test_float_images_stay_float(synthetic) -> None:
    image = synthetic(5, 5).astype(float)
    np.testing.assert_array_equal(bayer_mosaic(image), bayer_mosaic(image.astype(np.uint8)))


def test_errors_say_what_to_do(synthetic) -> None:
    with pytest.raises(HarnessError, match="RGB image"):
        bayer_mosaic(synthetic(5, 5, 1))
    with pytest.raises(HarnessError, match="'RGGB'"):
        bayer_mosaic(synthetic(5, 5), "RGBG")  # type: ignore[arg-type]
