from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.degradations import degradation, matlab_awgn, matlab_randn
from harness.errors import HarnessError
from harness.images import pixels_sha256, read_image

# What MATLAB's manuals print after randn('seed', 0).
PRINTED = [1.1650, 0.6268, 0.0751, 0.3516, -0.6965, 1.6961, 0.0591, 1.7971, 0.2641, 0.8717]
PRINTED += [-1.4462, -0.7012, 1.2460, -0.6390, 0.5774, -0.3600, -0.1356, -1.3493, -1.2704, 0.9846]
PINNED_SHA256 = "67d27620d485d5f145adee05b332cdfa1e75833834d7f51040e86e31f8d697ab"


def test_the_numbers_of_the_manuals() -> None:
    np.testing.assert_array_equal(matlab_randn((20,)).round(4), PRINTED)


def test_the_stream_is_pinned_and_normal() -> None:
    field = matlab_randn((300_000,))
    assert pixels_sha256(field) == PINNED_SHA256
    assert abs(field.mean()) < 0.01
    assert abs(field.std() - 1) < 0.01


@given(st.integers(1, 200_000), st.integers(1, 200_000))
def test_a_smaller_field_begins_a_greater_one(few: int, many: int) -> None:
    few, many = sorted((few, many))
    np.testing.assert_array_equal(matlab_randn((few,)), matlab_randn((many,))[:few])


def test_fields_are_filled_first_index_first() -> None:
    np.testing.assert_array_equal(matlab_randn((5, 4, 3)).ravel(order="F"), matlab_randn((60,)))


def test_fields_are_shared_and_so_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        matlab_randn((3, 3))[0, 0] = 1


@pytest.mark.parametrize("kind", ["rgb", "gray"])
def test_rnan_noisy_kodim01_bit_for_bit(mirror: Path, golden: Path, kind: str) -> None:
    made = degradation("awgn-seed0-8bit" + {"rgb": "", "gray": "-gray"}[kind])
    image = read_image(next((mirror / "datasets" / "kodak24").rglob("kodim01.png")))
    noisy = made.degrade(made.reference(image, 10), 10)
    np.testing.assert_array_equal(noisy, read_image(golden / "matlab" / f"kodim01-noisy-sigma10-{kind}.png"))


def test_noise_is_added_in_double_and_rounded_once() -> None:
    image = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    expected = (image.astype(np.float64) / 255 + 25 / 255 * matlab_randn((4, 5, 3))).astype(np.float32)
    noisy = matlab_awgn(image, 25)
    assert noisy.dtype == np.float32
    np.testing.assert_array_equal(noisy, expected)
    # What a network gets, after the way through units of 0..255, is this very sample.
    units = degradation("awgn-seed0-float").degrade(image, 25)
    np.testing.assert_array_equal((units / 255).astype(np.float32), noisy)


def test_there_are_no_draws() -> None:
    assert not degradation("awgn-seed0-float").random
    assert degradation("awgn-float").random


@pytest.mark.parametrize("sigma", [-1, float("nan"), float("inf")])
def test_bad_levels(sigma: float) -> None:
    with pytest.raises(HarnessError, match="cannot be added"):
        matlab_awgn(np.zeros((4, 4), np.uint8), sigma)


def test_floats_are_refused() -> None:
    with pytest.raises(HarnessError, match="8-bit images"):
        matlab_awgn(np.zeros((4, 4)), 10)
