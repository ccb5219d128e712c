"""Arguments of the library that cannot be meant: one sentence that names them, never an error from inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import harness
from harness.errors import InvalidArgumentError

IMAGE = np.tile(np.arange(0, 240, 10, np.uint8), (24, 1))
OTHER = IMAGE + np.uint8(2)

WRONG: list[tuple[Callable[..., Any], tuple[Any, ...], str]] = [
    *(
        (harness.measure, (IMAGE, OTHER, "psnr-crop", scale), f"scale {scale!r} is not a whole number of 1 or more")
        for scale in (2.5, "2", None, 0, -1, float("nan"), float("inf"), [2])
    ),
    (harness.measure, (IMAGE, OTHER, ["psnr", "ssim-gauss"]), "a protocol is one name, .* not a list"),
    (harness.measure, (IMAGE, OTHER, None), "a protocol is one name, .* not a NoneType"),
    (harness.measure, (IMAGE, "psnr", OTHER), "a protocol is one name, .* not a ndarray"),
    (harness.restore, ("nlm", IMAGE, "denoise-gray", 25), "named by a text, not by a ndarray: harness.restore"),
    (harness.restore, (IMAGE, "denoise-gray", "nlm", 25), "'denoise-gray' is a task and no method; the order is"),
    (harness.restore, (IMAGE, ["nlm"], "denoise-gray", 25), "named by a text, not by a list"),
    (harness.restore, (IMAGE, "nlm", "denoise-gray", "25"), "level '25' is not a whole number"),
    (harness.restore, (IMAGE, "nlm", "denoise-gray", 25.5), "level 25.5 is not a whole number"),
    (harness.degrade, ("awgn-8bit-gray", IMAGE, 25), "named by a text, not by a ndarray: harness.degrade"),
    (harness.degrade, (IMAGE, ["awgn-8bit-gray"], 25), "named by a text, not by a list"),
    (harness.degrade, (IMAGE, "awgn-8bit-gray", "x"), "level 'x' is not a whole number"),
    (harness.repro, (["embedded"],), "tables are named one by one, as texts"),
]


@pytest.mark.parametrize(("function", "arguments", "message"), WRONG)
def test_a_wrong_argument_is_named(function: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.sub(r"\[(\d)\]", r"\\[\1\\]", message)):
        function(*arguments)


def test_a_whole_number_may_be_a_float() -> None:
    """Of what a program computes: 96 / 48 is 2.0."""
    for scale in (2.0, np.float64(2), np.int64(2)):
        assert harness.measure(IMAGE, OTHER, "psnr-crop", scale) == harness.measure(IMAGE, OTHER, "psnr-crop", 2)
    assert np.array_equal(harness.degrade(IMAGE, "awgn-8bit-gray", 25.0), harness.degrade(IMAGE, "awgn-8bit-gray", 25))
