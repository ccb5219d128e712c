from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.degradations import awgn, awgn_8bit, noise_generator, standard_normal
from harness.errors import HarnessError
from harness.images import pixels_sha256

# What every platform and every version of numpy must give.
PINNED_FIRST = [1.0365708009659416, 0.31128100581662965, 0.9176349510624568, 1.1393858909059924]
PINNED_SHA256 = "137c24e41798932aa84fd3f71ac7f6a26f4d54e8093b6b264b5b63093c29efaa"
PINNED_8BIT_SHA256 = "0f5c46c03cc41f00f9a7a57cab6dc18e6e5c58b7071537632d9a0bd45d749f6e"


def test_the_stream_is_pinned() -> None:
    rng = noise_generator("kodak24", "kodim01", 50, 0)
    first = standard_normal(rng, (4,))
    assert first.tolist() == PINNED_FIRST
    rest = standard_normal(rng, (100_000,))
    assert pixels_sha256(rest) == PINNED_SHA256


def test_the_stream_does_not_depend_on_how_it_is_read() -> None:
    whole = standard_normal(noise_generator("a", "b", 10, 0), (40_000,))
    rng = noise_generator("a", "b", 10, 0)
    parts = np.concatenate([standard_normal(rng, (n,)) for n in (1, 16_383, 7, 23_609)])
    np.testing.assert_array_equal(whole, parts)
    np.testing.assert_array_equal(
        whole.reshape(100, 400), standard_normal(noise_generator("a", "b", 10, 0), (100, 400))
    )


def test_deviates_are_the_quantiles_of_the_normal_distribution() -> None:
    from scipy.special import ndtri

    raw = np.random.Philox(key=7).random_raw(200_000)
    uniform = ((raw >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
    made = standard_normal(np.random.Generator(np.random.Philox(key=7)), (200_000,))
    np.testing.assert_allclose(made, ndtri(uniform), rtol=2e-15, atol=1e-15)


def test_extreme_raw_numbers_give_finite_symmetric_deviates() -> None:
    from scipy.special import ndtri

    from harness.degradations.noise import _inverse_normal

    uniform = np.array([2.0**-53, 1e-13, 1e-12, 0.5, 1 - 2.0**-53])
    out = np.empty_like(uniform)
    _inverse_normal(uniform, out)
    np.testing.assert_allclose(out, ndtri(uniform), rtol=1e-15, atol=0)
    assert out[0] == -out[-1]
    assert out[3] == 0
    assert abs(out[0]) < 8.3


def test_deviates_pass_a_kolmogorov_smirnov_test() -> None:
    from scipy.stats import kstest

    assert kstest(standard_normal(noise_generator("d", "i", 30, 1), (200_000,)), "norm").pvalue > 1e-3


def test_streams_of_different_images_sets_levels_and_seeds_are_independent() -> None:
    keys = list(itertools.product(("kodak24", "cbsd68"), ("1", "11"), (10, 50), (0, 1)))
    fields = np.stack([standard_normal(noise_generator(*key), (20_000,)) for key in keys])
    correlation = np.corrcoef(fields)
    np.fill_diagonal(correlation, 0)
    assert abs(correlation).max() < 4.5 / np.sqrt(20_000)


@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_names_that_run_together_stay_apart(a: str, b: str, c: str, d: str) -> None:
    one, two = (standard_normal(noise_generator(*pair, 10, 0), (2,)).tolist() for pair in ((a, b), (c, d)))
    assert (one == two) == ((a, b) == (c, d))


def test_a_level_is_a_number_however_it_is_written() -> None:
    values = [standard_normal(noise_generator("a", "b", level, 0), (3,)).tolist() for level in (50, 50.0, 49.5)]
    assert values[0] == values[1] != values[2]


def test_streams_repeat_and_images_differ() -> None:
    image = np.zeros((8, 8), np.uint8)
    np.testing.assert_array_equal(*[awgn(image, 25, noise_generator("a", "b", 25, 3)) for _ in range(2)])
    assert (
        awgn(image, 25, noise_generator("a", "b", 25, 3)) != awgn(image, 25, noise_generator("a", "c", 25, 3))
    ).all()


def test_awgn_adds_scaled_noise_and_does_not_clip(synthetic) -> None:
    image = synthetic(64, 80)
    noisy = awgn(image, 50, noise_generator("s", "i", 50, 0))
    assert noisy.dtype == np.float64
    assert noisy.min() < 0
    assert noisy.max() > 255
    deviates = standard_normal(noise_generator("s", "i", 50, 0), image.shape)
    np.testing.assert_array_equal(noisy, deviates * 50 + image)


def test_awgn_8bit_rounds_halves_up_and_clips(synthetic) -> None:
    image = synthetic(64, 80)
    noisy = awgn(image, 50, noise_generator("s", "i", 50, 0))
    stored = awgn_8bit(image, 50, noise_generator("s", "i", 50, 0))
    assert stored.dtype == np.uint8
    np.testing.assert_array_equal(stored, np.clip(np.floor(noisy + 0.5), 0, 255))
    assert pixels_sha256(stored) == PINNED_8BIT_SHA256


def test_sigma_zero_changes_nothing(synthetic) -> None:
    image = synthetic(5, 7, 1)
    np.testing.assert_array_equal(awgn_8bit(image, 0, noise_generator("s", "i", 0, 0)), image)


@pytest.mark.parametrize("sigma", [-1, float("nan"), float("inf")])
def test_bad_sigma_is_refused(sigma: float, synthetic) -> None:
    with pytest.raises(HarnessError, match="sigma"):
        awgn(synthetic(4, 4), sigma, noise_generator("s", "i", 10, 0))


def test_generators_with_32_bit_output_are_refused() -> None:
    with pytest.raises(HarnessError, match="64-bit"):
        standard_normal(np.random.Generator(np.random.MT19937(0)), (3,))
    with pytest.raises(HarnessError, match="64-bit"):
        standard_normal(np.random.RandomState(0), (3,))  # type: ignore[arg-type]
