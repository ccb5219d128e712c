"""Digits, distinct variants, and how surprising a match is."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.audit.grid import Target, explained_digits, score, target
from harness.audit.outcomes import Chance
from harness.audit.ranking import chance, distinct
from harness.tables.published import published_number


def of(text: str) -> Target:
    printed = published_number(text)
    assert printed is not None
    return target(printed)


@pytest.mark.parametrize(
    ("printed", "measured", "digits"),
    [
        ("27.77", 27.7698, 4),
        ("27.77", 27.775, 4),
        ("27.77", 27.7751, 3),
        ("27.77", 27.82, 3),
        ("27.77", 27.9, 2),
        ("27.77", 28.2, 2),
        ("27.77", 28.3, 1),
        ("27.77", 36.0, 0),
        ("0.7905", 0.79054, 4),
        ("0.7905", 0.7730, 1),
        ("0.0682", 0.06818, 3),
        ("27.77", float("nan"), 0),
        ("27.77", float("inf"), 0),
    ],
)
def test_explained_digits(printed: str, measured: float, digits: int) -> None:
    assert explained_digits(np.array([measured]), of(printed))[0] == digits


@given(st.integers(1000, 9999), st.floats(-40, 40), st.floats(0, 1))
def test_a_tolerance_never_takes_digits_away(number: int, difference: float, tolerance: float) -> None:
    printed = Target(number / 100, 0.01, 4)
    values = np.array([number / 100 + difference])
    assert explained_digits(values, printed, tolerance)[0] >= explained_digits(values, printed)[0]


@given(st.decimals("0.1", "99.99", places=2), st.floats(-0.0049, 0.0049))
def test_what_rounds_to_the_printed_number_explains_every_digit(number: Decimal, away: float) -> None:
    printed = of(str(number))
    assert explained_digits(np.array([float(number) + away]), printed)[0] == printed.digits


def test_scores_count_digits_with_and_without_the_noise_term() -> None:
    found = score(np.array([[27.77, 27.78]]), [of("27.77")], np.array([[0.0, 0.01]]))
    assert found.digits.tolist() == [[4, 4]]
    assert found.exact.tolist() == [[4, 3]]
    assert found.misfit.tolist() == pytest.approx([0.0, 0.5])


def test_numbers_that_differ_by_rounding_of_sums_only_are_the_same() -> None:
    vectors = np.array([[27.77, 0.9], [27.77 + 1e-11, 0.9], [27.771, 0.9]])
    assert distinct(vectors, [0.01, 0.0001]).tolist() == [0, 2]


def test_numbers_that_no_print_tells_apart_are_the_same() -> None:
    vectors = np.array([[27.77, 0.9], [27.7704, 0.900004], [27.7706, 0.9], [27.77, 0.900006]])
    assert distinct(vectors, [0.01, 0.0001]).tolist() == [0, 2, 3]


def grid(count: int, cells: int, spread: float) -> np.ndarray:
    rng = np.random.Generator(np.random.Philox(key=1))
    return 30 + spread * rng.standard_normal((count, cells))


def test_a_match_among_variants_far_apart_is_no_accident() -> None:
    vectors = grid(200, 6, 1.0)
    targets = [Target(round(v, 2), 0.01, 4) for v in vectors[17]]
    found = chance(vectors, targets, best_digits=24, best_whole=6)
    assert (found.tried, found.distinct, found.as_good, found.fooled) == (200, 200, 1, 0)
    assert found.share == 0
    assert found.bound == pytest.approx(3 / 200, rel=0.01)


def test_a_match_among_near_relations_is() -> None:
    vectors = grid(200, 2, 0.002)
    targets = [Target(30.0, 0.01, 4)] * 2
    found = chance(vectors, targets, best_digits=8, best_whole=2)
    assert found.decoys > 50
    assert found.fooled > 0.75 * found.decoys
    assert found.share > 0.7


def test_a_single_cell_is_easily_explained_by_accident() -> None:
    vectors = grid(300, 1, 0.3)
    found = chance(vectors, [Target(30.0, 0.01, 4)], best_digits=4, best_whole=1)
    assert found.coincidence(1) == 1.0


@pytest.mark.parametrize(("decoys", "fooled", "bound"), [(6, 0, 0.393), (30, 0, 0.095), (30, 7, 0.394), (6, 6, 1.0)])
def test_the_bound_of_the_share_is_a_binomial_one(decoys: int, fooled: int, bound: float) -> None:
    from scipy.stats import binom

    found = Chance(100, 50, 1, 4, 4, decoys, fooled)
    assert found.bound == pytest.approx(bound, abs=0.0005)
    if fooled < decoys:
        assert binom.cdf(fooled, decoys, found.bound) == pytest.approx(0.05)


def test_a_longer_list_makes_a_coincidence_likelier_and_more_cells_make_it_less_likely() -> None:
    short, long = (Chance(400, count, 1, 8, 8, count, 0) for count in (30, 300))
    assert short.coincidence(4) == pytest.approx(30 / 10_000)
    assert short.coincidence(5) < short.coincidence(4) < long.coincidence(4)


def test_one_variant_says_nothing() -> None:
    found = chance(np.array([[30.0]]), [Target(30.0, 0.01, 4)], 4, 1)
    assert (found.decoys, found.share, found.bound) == (0, 1.0, 1.0)
