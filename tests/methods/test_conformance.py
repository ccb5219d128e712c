"""The conformance test finds what it promises to find."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import NotAvailableError
from harness.methods import Method, get_method
from harness.methods.conformance import Check, check_method
from harness.networks.checkpoints import mark_ready


def checks(function: Callable[[Any], Any], task: str = "denoise-gray", **options: Any) -> list[Check]:
    return list(check_method(Method("m", (task,), lambda task, level: function, **options)))


def failed(found: list[Check]) -> str:
    return "; ".join(f"{check.what}: {check.found}" for check in found if check.held is False)


def test_good_methods_conform() -> None:
    assert not failed(checks(lambda batch: batch * 0.5))
    assert not failed(checks(lambda image: image * 0.5, on="array"))
    assert not failed(checks(lambda batch: batch.repeat_interleave(2, 2).repeat_interleave(2, 3), "sr")[:7])
    assert not failed(list(check_method(get_method("bicubic"))))


calls: list[int] = []


def remembers(image: np.ndarray) -> np.ndarray:
    calls.append(1)
    return image + len(calls) * 1e-3


class Shared:
    """Keeps the image of one call where the next call finds it."""

    def __call__(self, image: np.ndarray) -> np.ndarray:
        self.image = image
        time.sleep(0.01)
        return self.image


class SharedNetwork(torch.nn.Module):
    """Keeps a feature between two layers, and says that it does not."""

    reentrant = True

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        self.feature = batch
        time.sleep(0.01)
        return self.feature


def even_only(batch: torch.Tensor) -> torch.Tensor:
    if batch.shape[2] % 2 or batch.shape[3] % 2:
        raise ValueError("height and width must be even")
    return batch


@pytest.mark.parametrize(
    ("function", "on", "said"),
    [
        (lambda batch: batch[:, :, 1:], "tensor", "64x48: returned (63, 48)"),
        (lambda batch: batch / 0, "tensor", "returned NaN or infinity"),
        (lambda batch: batch * 255, "tensor", "[0, 1] is the range"),
        (even_only, "tensor", "47x61: ValueError: height and width must be even"),
        (lambda batch: batch - batch.mean(0, keepdim=True), "tensor", "batch of two: differs from one by one"),
        (lambda batch: batch**0.5, "tensor", "input outside [0, 1]"),
        (remembers, "array", "deterministic: two runs differ"),
        (lambda image: np.dstack([image] * 4), "array", "returned (64, 48, 4)"),
        (Shared(), "array", "in threads: differs from one by one"),
        (mark_ready(SharedNetwork(), "trained", "nothing to train"), "tensor", "in threads: differs from one by one"),
    ],
)
def test_broken_promises_are_found(function: Callable[[Any], Any], on: str, said: str) -> None:
    assert said in failed(checks(function, on=on))


def test_missing_weights_are_skipped_not_failed() -> None:
    def build(task: str, level: int) -> Callable[[Any], Any]:
        if level == 10:
            raise NotAvailableError("no weights for sigma 10")
        return lambda batch: batch

    found = list(check_method(Method("m", ("denoise-gray",), build)))
    assert found[0] == Check("denoise-gray sigma 10", None, "no weights for sigma 10")
    assert not failed(found)


def test_failing_build_is_a_failure() -> None:
    def build(task: str, level: int) -> Callable[[Any], Any]:
        raise RuntimeError("no file")

    assert "RuntimeError: no file" in failed(list(check_method(Method("m", ("jpeg",), build))))
