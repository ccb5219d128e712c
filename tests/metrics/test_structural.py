from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.lib.stride_tricks import sliding_window_view
from scipy.ndimage import correlate1d
from skimage.metrics import structural_similarity
from skimage.util.dtype import dtype_range

from harness import metrics
from harness.errors import HarnessError
from harness.metrics import SSIM_WINDOWS, ssim_within, structural

# Floats are in units of 0..255 here; for bytes it is no news.
ssim = functools.partial(metrics.ssim, data_range=255)

C1, C2 = 6.5025, 58.5225
TAPS = np.exp(-(np.arange(-5, 6) ** 2) / 4.5) / np.exp(-(np.arange(-5, 6) ** 2) / 4.5).sum()
SCIKIT = {
    "gauss": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
    "gauss-sample": {"gaussian_weights": True, "sigma": 1.5},
    "skimage": {},
    "skimage-range2": {"data_range": 510},
}
VALID = ["gauss", "gauss-sample", "8x8", "skimage", "skimage-range2"]


def pair(shape, dtype=np.uint8, seed: int = 0, sigma: float = 20):
    """A random image of smooth blocks and its noisy version."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (shape[0] // 8 + 1, shape[1] // 8 + 1, *shape[2:]))
    x = coarse.repeat(8, 0).repeat(8, 1)[: shape[0], : shape[1]].astype(dtype)
    return x, np.clip(x + rng.normal(0, sigma, shape), 0, 255).astype(dtype)


def formula(filtered, x, y):
    """SSIM map with any linear filter: Wang's formula, five sums."""
    x, y = x.astype(float), y.astype(float)
    mx, my = filtered(x), filtered(y)
    sx, sy, sxy = filtered(x * x) - mx**2, filtered(y * y) - my**2, filtered(x * y) - mx * my
    return (2 * mx * my + C1) * (2 * sxy + C2) / ((mx**2 + my**2 + C1) * (sx + sy + C2))


@pytest.mark.parametrize("shape", [(512, 768), (321, 481), (11, 11), (12, 700), (333, 13), (97, 130, 3), (11, 12, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
@pytest.mark.parametrize("window", SCIKIT)
def test_agrees_with_scikit_image(window: str, dtype, shape) -> None:
    x, y = pair(shape, dtype)
    axis = 2 if len(shape) == 3 else None
    expected = structural_similarity(x, y, channel_axis=axis, **({"data_range": 255} | SCIKIT[window]))
    assert ssim(x, y, window) == pytest.approx(expected, abs=1e-10)


def test_range2_is_scikit_image_on_floats_whose_range_was_guessed_by_their_type() -> None:
    x, y = pair((97, 130, 3))
    guessed = np.ptp(dtype_range[np.float64])
    expected = structural_similarity(x / 255, y / 255, data_range=guessed, channel_axis=2)
    assert ssim(x, y, "skimage-range2") == pytest.approx(expected, abs=1e-10)
    assert ssim(x, y, "skimage-range2") > ssim(x, y, "skimage") + 0.01


@pytest.mark.parametrize("shape", [(64, 90), (8, 8), (40, 33, 3)])
def test_8x8_is_the_formula_over_every_8x8_window(shape) -> None:
    x, y = pair(shape)
    expected = formula(lambda a: sliding_window_view(a, (8, 8), axis=(0, 1)).mean(axis=(-1, -2)), x, y).mean()
    assert ssim(x, y, "8x8") == pytest.approx(expected, abs=1e-12)
    assert ssim(x.astype(float), y.astype(float), "8x8") == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", [(64, 90), (3, 5), (40, 33, 3)])
def test_toolbox_repeats_the_border(shape) -> None:
    x, y = pair(shape)

    def filtered(a):
        return correlate1d(correlate1d(a, TAPS, axis=0, mode="nearest"), TAPS, axis=1, mode="nearest")

    assert ssim(x, y, "toolbox") == pytest.approx(formula(filtered, x, y).mean(), abs=1e-12)


def test_volume_spans_the_channels() -> None:
    x, y = pair((40, 33, 3))

    def filtered(a):
        for axis in range(3):
            a = correlate1d(a, TAPS, axis=axis, mode="nearest")
        return a

    assert ssim(x, y, "volume") == pytest.approx(formula(filtered, x, y).mean(), abs=1e-12)
    assert ssim(x[:, :, 0], y[:, :, 0], "volume") == ssim(x[:, :, 0], y[:, :, 0], "toolbox")


@pytest.mark.parametrize(("shape", "factor"), [((383, 500), 1), ((384, 500), 2), ((641, 700), 3), ((900, 901, 3), 4)])
def test_downsampled_averages_and_thins_first(shape, factor: int) -> None:
    x, y = pair(shape)

    def thinned(a):
        if factor == 1:
            return a.astype(float)
        before, after = (factor - 1) // 2, factor // 2
        a = np.pad(a.astype(float), [(before, after)] * 2 + [(0, 0)] * (a.ndim - 2), mode="symmetric")
        return sliding_window_view(a, (factor, factor), axis=(0, 1)).mean(axis=(-1, -2))[::factor, ::factor]

    assert ssim(x, y, "downsampled") == pytest.approx(ssim(thinned(x), thinned(y), "gauss"), abs=1e-12)


@settings(max_examples=30)
@given(st.data(), st.sampled_from(sorted(SSIM_WINDOWS)))
def test_properties(data, window: str) -> None:
    shape = data.draw(st.tuples(st.integers(11, 30), st.integers(11, 30)))
    x, y = data.draw(arrays(np.uint8, shape)), data.draw(arrays(np.uint8, shape))
    value = ssim(x, y, window)
    assert -1 <= value <= 1 + 1e-12
    assert ssim(y, x, window) == value
    assert ssim(x, x, window) == 1
    assert ssim(x.T, y.T, window) == pytest.approx(value, abs=1e-12)
    assert ssim(x[::-1], y[::-1], window) == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("window", sorted(SSIM_WINDOWS))
@pytest.mark.parametrize("shape", [(60, 71), (60, 41, 3)])
def test_one_map_serves_every_border(window: str, shape) -> None:
    x, y = pair(shape)
    borders = [6, 0, 2, 2, 13]
    expected = [ssim(x[b : 60 - b, b : shape[1] - b], y[b : 60 - b, b : shape[1] - b], window) for b in borders]
    assert ssim_within(x, y, window, borders) == expected


@pytest.mark.parametrize("window", sorted(SSIM_WINDOWS))
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_the_result_does_not_depend_on_the_stripes(window: str, dtype, monkeypatch) -> None:
    x, y = pair((70, 90, 3), dtype)
    results = set()
    for samples, rows in ((12288, 8), (1, 1), (1, 7), (10**6, 8)):
        monkeypatch.setattr(structural, "_STRIPE_SAMPLES", samples)
        monkeypatch.setattr(structural, "_STRIPE_ROWS", rows)
        results.add(ssim(x, y, window))
    assert len(results) == 1


def test_memory_layout_does_not_matter() -> None:
    x, y = pair((40, 50, 3))
    assert ssim(np.asfortranarray(x), y[::1]) == ssim(x, y)
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, ::2] = x
    assert ssim(wide[:, ::2], y) == ssim(x, y)


def test_inputs_are_left_alone() -> None:
    x, y = pair((40, 50), np.float64)
    before = x.copy(), y.copy()
    ssim(x, y)
    np.testing.assert_array_equal((x, y), before)


def test_anticorrelated_images_are_negative() -> None:
    x = np.random.default_rng(0).integers(0, 256, (32, 32)).astype(np.uint8)
    assert ssim(x, 255 - x) < -0.5


@pytest.mark.parametrize(("window", "size"), [("gauss", 11), ("8x8", 8), ("skimage", 7)])
def test_images_smaller_than_the_window_are_refused(window: str, size: int) -> None:
    small = np.zeros((size - 1, 40), np.uint8)
    with pytest.raises(HarnessError, match=f"40x{size - 1} pixels is smaller than the {size}x{size} window"):
        ssim(small, small, window)
    enough = np.zeros((size, size), np.uint8)
    assert ssim(enough, enough, window) == 1
    with pytest.raises(HarnessError, match="after a border of 1"):
        ssim_within(enough, enough, window, (0, 1))


def test_mistakes_are_named() -> None:
    x = np.zeros((20, 20), np.uint8)
    with pytest.raises(HarnessError, match="'gauss'"):
        ssim(x, x, "gaus")
    with pytest.raises(HarnessError, match=r"\(20, 20\).*\(20, 21\)"):
        ssim(x, np.zeros((20, 21), np.uint8))
    with pytest.raises(HarnessError, match="NaN"):
        ssim(x, np.full((20, 20), np.nan))
    with pytest.raises(HarnessError, match="leaves nothing"):
        ssim_within(x, x, "gauss", (10,))
