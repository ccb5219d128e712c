from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import metrics
from harness.errors import HarnessError
from harness.images import pixels_sha256
from harness.metrics import LUMA_STANDARDS

# Floats are in units of 0..255 here; for bytes it is no news.
luma = functools.partial(metrics.luma, data_range=255)
psnr = functools.partial(metrics.psnr, data_range=255)

FORMULAS = {
    "matlab": lambda r, g, b: 16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255,
    "full": lambda r, g, b: 0.298936021293775 * r + 0.587043074451121 * g + 0.114020904255103 * b,
    "yiq": lambda r, g, b: 0.299 * r + 0.587 * g + 0.114 * b,
}

PINNED = {
    "full none": "d5f67cad63a4c048",
    "full uint8": "2c53c2276b3d5625",
    "matlab none": "9a57d5648395f2d6",
    "matlab uint8": "9f896f9e03dfeb83",
    "yiq none": "79d2dd54536a0479",
    "yiq uint8": "da29d60fe9167bd2",
}


@pytest.mark.parametrize("standard", FORMULAS)
def test_the_formula(standard: str, synthetic) -> None:
    image = synthetic()
    exact = FORMULAS[standard](*np.moveaxis(image.astype(float), 2, 0))
    np.testing.assert_allclose(luma(image, "none", standard), exact, atol=1e-11)
    np.testing.assert_array_equal(luma(image, "none", standard), luma(image.astype(float), "none", standard))
    rounded = luma(image, "uint8", standard)
    assert rounded.dtype == np.uint8
    unsure = abs(exact % 1 - 0.5) < 1e-9
    np.testing.assert_array_equal(rounded[~unsure], np.floor(exact + 0.5)[~unsure])
    np.testing.assert_array_equal(rounded, luma(image.astype(float), "uint8", standard))


def test_exact_halves_are_rounded_up() -> None:
    # 21827 R + 42851 G + 8322 B = 42500 modulo 85000 makes the luma of YCbCr end in exactly one half.
    r, g, b = np.meshgrid(np.arange(256), np.arange(256), np.arange(256), indexing="ij", sparse=True)
    halves = np.argwhere((21827 * r + 42851 * g + 8322 * b) % 85000 == 42500)
    assert len(halves) > 100
    made = luma(halves[None].astype(np.uint8), "uint8")[0]
    exact = 16 + (21827 * halves[:, 0] + 42851 * halves[:, 1] + 8322 * halves[:, 2]) / 85000
    np.testing.assert_array_equal(made, np.ceil(exact))


def test_ranges() -> None:
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    assert luma(ends).tolist() == [[16.0, 235.0]]
    assert luma(ends, "none", "full").tolist() == [[0.0, 255.0]]
    assert luma(ends, "none", "yiq").tolist() == [[0.0, 255.0]]


@given(st.integers(1, 30), st.integers(0, 10**6))
def test_full_range_costs_1_32_db(sigma: int, seed: int) -> None:
    # Gray images, so that the weights play no part: only the range does.
    rng = np.random.default_rng(seed)
    gray = rng.integers(60, 190, (16, 16)).astype(float)
    one = np.repeat(gray[:, :, None], 3, axis=2)
    other = one + rng.normal(0, sigma, (16, 16, 1))
    studio, full = (psnr(luma(one, "none", s), luma(other, "none", s)) for s in ("matlab", "full"))
    assert studio - full == pytest.approx(20 * np.log10(255 / 219), abs=1e-9)


def test_gray_is_its_own_luma(synthetic) -> None:
    gray = synthetic(9, 8, 1)
    np.testing.assert_array_equal(luma(gray, "uint8"), gray)
    assert luma(gray).dtype == np.float64
    np.testing.assert_array_equal(luma(gray), gray)
    assert luma(np.array([[0.5, 17.2]]), "uint8").tolist() == [[1, 17]]


def test_every_luma_is_pinned(synthetic) -> None:
    found = {
        f"{standard} {rounding}": pixels_sha256(luma(synthetic(), rounding, standard))[:16]
        for standard in LUMA_STANDARDS
        for rounding in ("none", "uint8")
    }
    assert found == PINNED


def test_mistakes_are_named(synthetic) -> None:
    with pytest.raises(HarnessError, match="'matlab'"):
        luma(synthetic(), "none", "mathlab")  # type: ignore[arg-type]
    with pytest.raises(HarnessError, match="'uint8'"):
        luma(synthetic(), "uint")  # type: ignore[arg-type]
    with pytest.raises(HarnessError, match=r"shape \(3, 9, 9\)"):
        luma(np.zeros((3, 9, 9)))
