from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.metrics import to_uint8


def test_halves_go_away_from_zero_and_not_to_even() -> None:
    given_ = np.array([0.5, 1.5, 2.5, 254.5, 0.49999999999999994, 2.4999999999999996, -0.5, 255.5, -7, 300])
    assert to_uint8(given_).tolist() == [1, 2, 3, 255, 0, 2, 0, 255, 0, 255]


def test_truncation_drops_the_fraction() -> None:
    assert to_uint8(np.array([0.9, 254.999, 255.9, -3.2, 17.0]), "truncate").tolist() == [0, 254, 255, 0, 17]


@given(st.floats(0, 255), st.sampled_from(["round", "truncate"]))
def test_nothing_moves_further_than_it_may(value: float, rule: str) -> None:
    made = float(to_uint8(np.array([value]), rule)[0])
    assert abs(made - value) <= (0.5 if rule == "round" else 1)
    if rule == "truncate":
        assert made <= value


def test_bytes_pass_and_single_precision_is_taken() -> None:
    bytes_ = np.arange(256, dtype=np.uint8)
    assert to_uint8(bytes_) is bytes_
    np.testing.assert_array_equal(to_uint8(bytes_.astype(np.float32)), bytes_)
    np.testing.assert_array_equal(to_uint8(bytes_.astype(np.float64) - 0.5), bytes_)


def test_the_input_is_left_alone() -> None:
    array = np.array([0.5, 300.0])
    to_uint8(array)
    assert array.tolist() == [0.5, 300.0]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(HarnessError, match="NaN or infinite"):
        to_uint8(np.array([1.0, bad]))


def test_other_mistakes_are_named() -> None:
    with pytest.raises(HarnessError, match="int64"):
        to_uint8(np.array([1, 2]))
    with pytest.raises(HarnessError, match="'round'"):
        to_uint8(np.array([1.0]), "rounded")  # type: ignore[arg-type]
