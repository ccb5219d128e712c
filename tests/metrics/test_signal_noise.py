from __future__ import annotations

import functools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.metrics import peak_signal_noise_ratio

from harness import metrics
from harness.errors import HarnessError
from harness.metrics import crop_border, mse, mse_of_psnr, psnr_of_mse

# Floats are in units of 0..255 here; for bytes it is no news.
psnr = functools.partial(metrics.psnr, data_range=255)

SHAPES = st.one_of(
    st.tuples(st.integers(1, 12), st.integers(1, 12)), st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(3))
)
PAIRS = SHAPES.flatmap(lambda shape: st.tuples(arrays(np.uint8, shape), arrays(np.uint8, shape)))


@given(PAIRS)
def test_bytes_are_compared_exactly(pair) -> None:
    x, y = (a.astype(int) for a in pair)
    assert mse(*pair) == ((x - y) ** 2).sum() / x.size


def test_rows_of_any_length_are_added_up_exactly() -> None:
    # One row of them sums to more than 32 bits hold.
    black = np.zeros((2, 40_000, 3), np.uint8)
    assert mse(black, black + np.uint8(255)) == 255**2


@given(PAIRS)
def test_symmetric_and_blind_to_transposition(pair) -> None:
    x, y = pair
    assert psnr(x, y) == psnr(y, x) == psnr(x.swapaxes(0, 1), y.swapaxes(0, 1))


@given(PAIRS)
def test_infinite_only_for_equal_images(pair) -> None:
    x, y = pair
    assert psnr(x, x) == math.inf
    assert (psnr(x, y) == math.inf) == np.array_equal(x, y)


@pytest.mark.parametrize("shape", [(512, 768), (321, 481, 3), (1, 1), (7, 5000)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_agrees_with_scikit_image(shape, dtype) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, shape).astype(dtype)
    y = np.clip(x + rng.normal(0, 20, shape) + 1, 0, 255).astype(dtype)
    assert psnr(x, y) == pytest.approx(peak_signal_noise_ratio(x, y, data_range=255), abs=1e-10)


def test_known_values() -> None:
    zero = np.zeros((4, 4), np.uint8)
    assert psnr(zero, zero + np.uint8(255)) == 0
    assert psnr(zero, zero + np.uint8(1)) == pytest.approx(48.13080360867910, abs=1e-12)
    half = zero.copy()
    half[:2] = 10
    assert mse(zero, half) == 50


def test_bytes_and_floats_may_be_mixed(synthetic) -> None:
    x, y = synthetic(20, 20), synthetic(20, 20)[::-1].copy()
    assert psnr(x, y) == psnr(x.astype(float), y) == psnr(x, y.astype(float))


@given(st.floats(1e-6, 65025))
def test_decibels_there_and_back(error: float) -> None:
    assert mse_of_psnr(psnr_of_mse(error)) == pytest.approx(error, rel=1e-12)


def test_decibels_of_zero_error() -> None:
    assert psnr_of_mse(0) == math.inf
    assert mse_of_psnr(math.inf) == 0


@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 12))
def test_crop_border_cuts_all_four_sides(height: int, width: int, border: int) -> None:
    image = np.arange(height * width).reshape(height, width)
    if 2 * border >= min(height, width):
        with pytest.raises(HarnessError, match="leaves nothing"):
            crop_border(image, border)
        return
    cropped = crop_border(image, border)
    assert cropped.shape == (height - 2 * border, width - 2 * border)
    assert cropped[0, 0] == image[border, border]
    assert cropped[-1, -1] == image[height - 1 - border, width - 1 - border]


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        (np.zeros((4, 5), np.uint8), np.zeros((5, 4), np.uint8), r"\(4, 5\).*\(5, 4\)"),
        (np.zeros((4, 5), np.uint8), np.zeros((4, 5, 3), np.uint8), r"\(4, 5\).*\(4, 5, 3\)"),
        (np.zeros((4, 5), np.int64), np.zeros((4, 5), np.uint8), "reference has dtype int64"),
        (np.zeros((4, 5), np.uint8), np.zeros((4, 5), np.int16), "image has dtype int16"),
        (np.zeros((4, 5), np.uint8), np.full((4, 5), np.nan), "image holds NaN"),
        (np.zeros((4, 5, 4), np.uint8), np.zeros((4, 5, 4), np.uint8), r"shape \(4, 5, 4\)"),
        (np.zeros((0, 5), np.uint8), np.zeros((0, 5), np.uint8), "no pixel"),
        ([[1.0]], np.zeros((1, 1)), "is a list; give an array"),
    ],
)
def test_bad_input_is_named(x, y, says: str) -> None:
    with pytest.raises(HarnessError, match=says):
        psnr(x, y)


def test_negative_border_is_refused() -> None:
    with pytest.raises(HarnessError, match="-1"):
        crop_border(np.zeros((4, 4)), -1)
