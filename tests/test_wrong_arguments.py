"""Arguments of the library that cannot be meant: one sentence that names them, never an error from inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import harness
from harness.errors import HarnessError, InvalidArgumentError

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
    *((harness.protocol, (name,), "a protocol is one name") for name in (["psnr"], None, 3, {})),
    *((harness.imresize, (IMAGE, scale), "give a positive scale, as a number") for scale in ("2", [2], 2j, -1)),
    (harness.restore, ("nlm", IMAGE, "denoise-gray", 25), "named by a text, not by a ndarray: harness.restore"),
    (harness.restore, (IMAGE, "denoise-gray", "nlm", 25), "'denoise-gray' is a task and no method; the order is"),
    (harness.restore, (IMAGE, ["nlm"], "denoise-gray", 25), "named by a text, not by a list"),
    (harness.restore, (IMAGE, "nlm", "denoise-gray", "25"), "level '25' is not a whole number"),
    (harness.restore, (IMAGE, "nlm", "denoise-gray", 25.5), "level 25.5 is not a whole number"),
    (harness.degrade, ("awgn-8bit-gray", IMAGE, 25), "named by a text, not by a ndarray: harness.degrade"),
    (harness.degrade, (IMAGE, ["awgn-8bit-gray"], 25), "named by a text, not by a list"),
    (harness.degrade, (IMAGE, "awgn-8bit-gray", "x"), "level 'x' is not a whole number"),
    *((harness.ssim, (IMAGE, OTHER, window), "SSIM window is a text, not of") for window in (["gauss"], {}, 8, IMAGE)),
    (harness.luma, (IMAGE, ["uint8"]), "the rounding of luma is a text, not of type list"),
    (harness.luma, (IMAGE, "none", ["full"]), "the standard of luma is a text, not of type list"),
    *((harness.rows, (root,), "the folder of harness.rows is a path, not") for root in (3, None, ["."], b".", IMAGE)),
    (harness.pyiqa_metric, (["lpips"],), "a metric of pyiqa is a text, not of type list"),
    *((harness.load_weights, (None, file), "load_weights is a path, not of") for file in (3, None, ["a.pth"], b"a")),
    (harness.repro, (["embedded"],), "tables are named one by one, as texts"),
]


DEFINING: list[tuple[Callable[..., Any], dict[str, Any], str]] = [
    *((harness.task, {"degradation": "pairs", "levels": levels}, "levels") for levels in (3, None, "25", [True])),
    *((harness.task, {"degradation": "pairs", "metrics": metrics}, "metrics") for metrics in (3, [3], "psnr")),
    (harness.task, {"degradation": ["pairs"]}, "title and degradation are text"),
    *((harness.metric, {"range": ends}, "is not .least, greatest.") for ends in (3, ("a", 3), (2, 1))),
    *((harness.metric, {"depends": files}, "depends .* is not a list") for files in (3, "weights.pth")),
    (harness.metric, {"packages": "torch"}, "packages 'torch' is not a list"),
    (harness.degradation, {"levels": 3}, "levels 3 is not a list"),
    (harness.degradation, {"output": "float32"}, "write 'uint8' or 'float64'"),
    (harness.dataset, {"depends": "images"}, "depends 'images' is not a list"),
    *((kind, {"depends": [1]}, "depends: each is a path, not of") for kind in (harness.dataset, harness.metric)),
    (harness.method, {"depends": [1]}, "depends: each is a path, not of type int"),
    *((harness.method, {"tasks": tasks}, "tasks must be a list") for tasks in (3, None, "jpeg", [], True)),
    (harness.method, {"tasks": [3]}, "a task is a text, not of type int"),
    (harness.method, {"on": "images "}, "unknown on 'images '; did you mean 'images'"),
    (harness.method, {"saving": 3}, "saving is a text, not of type int"),
    (harness.method, {"title": IMAGE}, "title is a text, not of type ndarray"),
    (harness.metric, {"title": IMAGE}, "title is a text, not of type ndarray"),
    (harness.metric, {"better": IMAGE}, "better is a text, not of type ndarray"),
    (harness.degradation, {"levels": ["2"]}, "levels are whole numbers"),
    (harness.degradation, {"reference": "image"}, "reference is a function"),
    (harness.dataset, {"title": 3}, "title is a text, not of type int"),
]
GIVEN: dict[Any, dict[str, Any]] = {
    harness.metric: {"version": 1, "better": "lower"},
    harness.degradation: {"version": 1},
    harness.method: {"tasks": ["jpeg"]},
}


def define(kind: Callable[..., Any], name: Any, function: Any, options: dict[str, Any]) -> None:
    made = kind(name, **{**GIVEN.get(kind, {}), **options})
    if kind is not harness.task:
        made(function)


@pytest.mark.parametrize(("kind", "options", "message"), DEFINING)
def test_a_definition_that_cannot_be_is_named(kind: Callable[..., Any], options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=message):
        define(kind, "never-defined", lambda *_: 1, options)


@pytest.mark.parametrize("kind", [harness.task, harness.metric, harness.degradation, harness.dataset])
@pytest.mark.parametrize("name", [3, ["a"], None, "A B"])
def test_a_name_is_a_plain_text(kind: Callable[..., Any], name: Any) -> None:
    with pytest.raises(HarnessError, match="use lower-case letters"):
        define(kind, name, lambda *_: 1, {"degradation": "pairs"} if kind is harness.task else {})


@pytest.mark.parametrize("kind", [harness.method, harness.metric, harness.degradation, harness.dataset])
def test_what_is_defined_is_a_function(kind: Callable[..., Any]) -> None:
    with pytest.raises(HarnessError, match="stands above a function"):
        define(kind, "never-defined", 3, {})


@pytest.mark.parametrize("argument", ["dataset", "image_id"])
def test_the_names_of_a_noise_stream_are_texts(argument: str) -> None:
    with pytest.raises(InvalidArgumentError, match=f"{argument} is a text, not of type int"):
        harness.degrade(IMAGE, "awgn-8bit-gray", 25, **{argument: 3})  # type: ignore[arg-type]


@pytest.mark.parametrize(("function", "arguments", "message"), WRONG)
def test_a_wrong_argument_is_named(function: Callable[..., Any], arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(InvalidArgumentError, match=re.sub(r"\[(\d)\]", r"\\[\1\\]", message)):
        function(*arguments)


def test_a_whole_number_may_be_a_float() -> None:
    """Of what a program computes: 96 / 48 is 2.0."""
    for scale in (2.0, np.float64(2), np.int64(2)):
        assert harness.measure(IMAGE, OTHER, "psnr-crop", scale) == harness.measure(IMAGE, OTHER, "psnr-crop", 2)
    assert np.array_equal(harness.degrade(IMAGE, "awgn-8bit-gray", 25.0), harness.degrade(IMAGE, "awgn-8bit-gray", 25))
