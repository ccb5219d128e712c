"""The statistics of paired values: intervals and p-values that keep what they promise."""

from __future__ import annotations

import doctest

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import harness.tables.paired
from harness.errors import HarnessError
from harness.tables.paired import ENUMERATED, FLIPS, p_floor, paired_bootstrap, sign_flip_p


def test_the_interval_is_that_of_scipy() -> None:
    from scipy import stats

    rng = np.random.default_rng(7)
    before = rng.normal(29, 2, 30)
    after = before + rng.normal(0.02, 0.05, 30)
    ours = paired_bootstrap(before, after)
    # Hesterberg 2015: the percentile interval of the level that the normal has within t * sqrt(n / (n - 1)).
    level = 1 - 2 * stats.norm.sf(stats.t.ppf(0.975, 29) * np.sqrt(30 / 29))
    theirs = stats.bootstrap(
        (after - before,), np.mean, n_resamples=10_000, method="percentile", confidence_level=level
    ).confidence_interval
    width = theirs.high - theirs.low
    assert abs(ours.low - theirs.low) < 0.05 * width and abs(ours.high - theirs.high) < 0.05 * width
    assert (ours.images, ours.resamples, ours.confidence) == (30, 10_000, 0.95)
    assert paired_bootstrap(before, after) == ours


@given(st.lists(st.floats(10, 50), min_size=2, max_size=20), st.floats(-1, 1))
def test_a_constant_shift_is_certain(values: list[float], shift: float) -> None:
    found = paired_bootstrap(values, [value + shift for value in values], resamples=200)
    assert found.low == pytest.approx(shift, abs=1e-9) and found.high == pytest.approx(shift, abs=1e-9)


def test_pairing_takes_the_difficulty_of_images_out() -> None:
    rng = np.random.default_rng(1)
    hard = rng.normal(28, 4, 40)
    gain = 0.05 + rng.normal(0, 0.02, 40)
    assert paired_bootstrap(hard, hard + gain).excludes_zero
    # The same values with the pairs torn apart say nothing.
    assert not paired_bootstrap(hard, rng.permutation(hard + gain)).excludes_zero


def test_too_few_values_are_refused() -> None:
    with pytest.raises(HarnessError, match="two finite values"):
        paired_bootstrap([1.0], [2.0])
    with pytest.raises(HarnessError, match="two finite values"):
        paired_bootstrap([1.0, np.inf], [2.0, 1.0])
    with pytest.raises(HarnessError, match="two finite values"):
        sign_flip_p([1.0], [2.0])


@pytest.mark.parametrize(("images", "kind"), [(3, "exact"), (9, "exact"), (12, "exact"), (30, "random")])
def test_the_p_value_is_that_of_scipy(images: int, kind: str) -> None:
    from scipy import stats

    rng = np.random.default_rng(images)
    before = rng.normal(29, 2, images)
    after = before + rng.normal(0.02, 0.05, images)
    theirs = stats.permutation_test(
        (after, before), lambda a, b, axis: np.mean(a - b, axis=axis), permutation_type="samples", vectorized=True
    ).pvalue
    assert sign_flip_p(before, after) == pytest.approx(theirs, abs=1e-12 if kind == "exact" else 0.02)


@pytest.mark.parametrize("images", [5, 6, ENUMERATED, ENUMERATED + 1, 100])
def test_the_smallest_p_is_reached_and_no_smaller_one(images: int) -> None:
    values = np.linspace(28, 34, images)
    assert sign_flip_p(values, values + np.linspace(0.1, 5, images)) == p_floor(images)
    assert p_floor(images) == (2 / 2**images if images <= ENUMERATED else 1 / (FLIPS + 1))


def test_equal_rows_have_no_difference() -> None:
    values = [28.0, 31.0, 30.0, 29.0]
    assert sign_flip_p(values, values) == 1.0
    assert not paired_bootstrap(values, values).excludes_zero


@given(st.lists(st.tuples(st.floats(10, 50), st.floats(-1, 1)), min_size=2, max_size=20))
def test_both_directions_say_the_same(pairs: list[tuple[float, float]]) -> None:
    before = np.array([value for value, _ in pairs])
    after = before + np.array([difference for _, difference in pairs])
    assert sign_flip_p(before, after) == sign_flip_p(after, before)
    there, back = (paired_bootstrap(*sides, resamples=300) for sides in ((before, after), (after, before)))
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low), abs=1e-12)


def test_two_equal_methods_are_called_different_in_at_most_one_of_twenty_draws() -> None:
    """Of every 1,000 pairs of methods that differ in chance alone, as many as a significance of 5 % allows."""
    rng = np.random.default_rng(18)
    called = {"few": 0, "many": 0}
    for draw in range(1000):
        for kind, images in (("few", rng.integers(5, 13)), ("many", rng.integers(15, 30))):
            hard = rng.normal(29, 3, images)
            one, other = hard + rng.normal(0, 0.1, images), hard + rng.normal(0, 0.1, images)
            called[kind] += sign_flip_p(one, other, seed=draw) <= 0.05
    assert called["few"] <= 50
    # Here p takes any value and 50 are expected; 67 is what 1,000 throws of exactly 5 % exceed once in 100 times.
    assert 20 < called["many"] <= 67


def test_a_better_method_is_found() -> None:
    rng = np.random.default_rng(4)
    found = 0
    for draw in range(100):
        hard = rng.normal(29, 3, 24)
        found += sign_flip_p(hard, hard + rng.normal(0.1, 0.1, 24), seed=draw) <= 0.05
    assert found >= 95


@pytest.mark.parametrize(("images", "least"), [(5, 0.88), (8, 0.92)])
def test_intervals_over_few_images_hold_what_they_say(images: int, least: float) -> None:
    """The plain percentile interval of 5 values holds the mean in 84 of 100 draws."""
    rng = np.random.default_rng(images)
    held = 0
    for draw in range(500):
        interval = paired_bootstrap(np.zeros(images), rng.normal(size=images), resamples=4000, seed=draw)
        held += interval.low <= 0 <= interval.high
    assert held / 500 >= least


def test_the_examples_run() -> None:
    assert doctest.testmod(harness.tables.paired).failed == 0
