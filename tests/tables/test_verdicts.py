"""Verdicts at their limits."""

from __future__ import annotations

import math
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.tables.measurements import Measurement, NotRun, Spread, _spread
from harness.tables.published import published_number
from harness.tables.verdicts import judge, noise_term


def measured(value: float, spread: Spread | None = None) -> Measurement:
    return Measurement(value, 29, spread)


@pytest.mark.parametrize(
    ("printed", "value", "verdict"),
    [
        ("27.77", 27.7698, "match"),
        ("27.77", 27.775, "match"),
        ("27.77", 27.765, "match"),
        ("27.77", 27.77501, "close"),
        ("27.77", 27.82, "close"),
        ("27.77", 27.72, "close"),
        ("27.77", 27.8201, "off"),
        ("0.9000", 0.90000, "match"),
        ("0.9000", 0.90006, "close"),
        ("0.9000", 0.9006, "off"),
        ("5957K", 5957279, "match"),
        ("7409K", 8959555, "off"),
        ("27.77", math.inf, "off"),
    ],
)
def test_limits(printed: str, value: float, verdict: str) -> None:
    judgement = judge(published_number(printed), measured(value))
    assert judgement.verdict == verdict
    assert judgement.delta == pytest.approx(value - float(published_number(printed).value))  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("printed", "value", "verdict"),
    [
        ("0.8850", 0.88499, "match"),
        ("0.8850", 0.88525, "match (3 digits)"),
        ("0.7720", 0.77164, "match (3 digits)"),
        ("0.8850", 0.88551, "off"),
        ("0.8320", 0.8331, "off"),
    ],
)
def test_a_trailing_zero_that_the_source_does_not_print_is_no_full_match(
    printed: str, value: float, verdict: str
) -> None:
    plain = published_number(printed)
    assert plain is not None
    number = msgspec.structs.replace(plain, source_unit=Decimal("0.001"))
    assert judge(number, measured(value)).verdict == verdict
    assert judge(plain, measured(value)).verdict in ("match", "close", "off")


def test_a_choice_made_after_the_number_was_seen_is_no_match() -> None:
    number = published_number("27.77")
    fits = judge(number, measured(27.7698), fitted="saved 'round' for this cell alone")
    assert fits.verdict == "fits" and "saved 'round' for this cell alone" in fits.reason
    assert judge(number, measured(27.80), fitted="saved 'round'").verdict == "close"


def test_noise_widens_the_limits_and_is_named() -> None:
    spread = Spread(sd=0.004, draws=3, images=6)
    assert noise_term(spread) == pytest.approx(2 * math.sqrt(2) * 0.004)
    without, with_noise = (judge(published_number("29.10"), measured(29.112, s)) for s in (None, spread))
    assert (without.verdict, with_noise.verdict) == ("close", "match")
    assert "noise" in with_noise.reason
    assert "3 draws of 6 images" in with_noise.reason


def test_what_cannot_be_compared() -> None:
    number = published_number("32.44")
    assert judge(number, NotRun("no weights")).verdict == "not run"
    assert judge(number, NotRun("no weights")).reason == "no weights"
    other = judge(number, measured(37.5), "retrained by others")
    assert (other.verdict, other.reason) == ("incomparable", "retrained by others")
    assert other.delta == pytest.approx(5.06)
    own = judge(None, measured(37.5))
    assert (own.verdict, own.delta, own.reason) == ("measured", None, "")


def test_spread_is_that_of_the_mean() -> None:
    # Two images with known variances 2 and 0.02; the set has four images: variance of the mean = 1.01 / 4.
    draws = [{0: 30.0, 1: 32.0}, {0: 28.0, 1: 28.2}, {0: 25.0}, {0: 26.0}]
    spread = _spread(draws)
    assert spread is not None
    assert spread.sd == pytest.approx(math.sqrt((2.0 + 0.02) / 2 / 4))
    assert (spread.draws, spread.images) == (2, 2)
    assert _spread([{0: 30.0}, {0: 31.0}]) is None


@given(st.decimals(min_value=20, max_value=40, places=2), st.floats(-0.2, 0.2))
def test_verdicts_are_nested(printed, delta: float) -> None:
    number = published_number(str(printed))
    verdict = judge(number, measured(float(printed) + delta)).verdict
    expected = "match" if abs(delta) <= 0.005 else "close" if abs(delta) <= 0.05 else "off"
    if min(abs(abs(delta) - limit) for limit in (0.005, 0.05)) > 1e-8:
        assert verdict == expected
