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
from harness.networks.checkpoints import mark_ready
from harness.run.conformance import Check, check_method


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
        return self.image * 1.0


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


def normalised(batch: torch.Tensor) -> torch.Tensor:
    """Divides by the image's spread."""
    mean, spread = batch.mean((2, 3), keepdim=True), batch.std((2, 3), keepdim=True)
    return (batch - mean) / spread * spread + mean


def leaves_dtype(batch: torch.Tensor) -> torch.Tensor:
    torch.set_default_dtype(torch.float64)
    return batch


class Again:
    """Returns the same buffer each time, as CUDA graphs do."""

    def __init__(self) -> None:
        self.buffers: dict[tuple[int, ...], Any] = {}

    def __call__(self, image: Any) -> Any:
        buffer = self.buffers.setdefault(tuple(image.shape), image * 0)
        buffer[:] = image
        return buffer


@pytest.mark.parametrize(
    ("function", "on", "said"),
    [
        (normalised, "tensor", "flat image of 128: returned NaN or infinity"),
        (lambda batch: batch * 2 - 1, "tensor", "flat image of 0: returned -1.00 for black (as if in [-1, 1])"),
        (lambda batch: (batch * 255).byte(), "tensor", "of torch.uint8; a floating-point tensor"),
        (leaves_dtype, "tensor", "torch's default dtype (torch.float32 -> torch.float64)"),
        (Again(), "array", "in threads: returned the same array in two threads"),
        (lambda batch: batch[:, :, 1:], "tensor", "48x64: returned (63, 48)"),
        (lambda batch: batch / 0, "tensor", "returned NaN or infinity"),
        (lambda batch: batch * 255, "tensor", "(as if in 0..255); real floating-point samples in [0, 1] were"),
        (even_only, "tensor", "61x47: ValueError: height and width must be even"),
        (lambda batch: batch - batch.mean(0, keepdim=True) * 1e-4, "tensor", "batch of two: an image changes by 0.00"),
        (lambda batch: batch / len(batch), "tensor", "batch of two: differs from one by one"),
        (lambda batch: batch**0.5, "tensor", "input outside [0, 1]"),
        (remembers, "array", "deterministic: two runs differ"),
        (lambda image: np.dstack([image] * 4), "array", "returned (64, 48, 4)"),
        (Shared(), "array", "in threads: differs from one by one"),
        (mark_ready(SharedNetwork(), "trained", "nothing to train"), "tensor", "in threads: differs from one by one"),
    ],
)
def test_broken_promises_are_found(function: Callable[[Any], Any], on: str, said: str) -> None:
    assert said in failed(checks(function, on=on))


def test_rounding_is_no_influence() -> None:
    """What a batch rounds otherwise than single images do depends on their number, not on the other images."""
    assert not failed(checks(lambda batch: batch + len(batch) * 1e-4))


class InTiles(torch.nn.Module):
    """Takes sides of a multiple of 16 alone: what applies networks pads for it."""

    size_multiple = 16
    rgb_range = 1.0

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        if batch.shape[2] % 16 or batch.shape[3] % 16:
            raise ValueError("a side is no multiple of 16")
        return batch


def test_a_network_is_padded_in_batches_too() -> None:
    assert not failed(checks(mark_ready(InTiles(), "trained", "nothing to train")))


@pytest.mark.parametrize("task", ["denoise-rgb", "deblur", "demosaic"])
@pytest.mark.parametrize("random", [False, True])
def test_one_channel_is_no_colour_image(task: str, random: bool) -> None:
    found = checks(lambda batch: batch.mean(1, keepdim=True), task, random=random)
    assert "48x64: returned (64, 48), (64, 48, 3) was expected" in failed(found)
    # Measured on luma alone, luma will do.
    assert not failed(checks(lambda batch: batch.mean(1, keepdim=True), "derain", random=random))


def test_a_random_method_is_tried_with_seeds() -> None:
    assert not failed(checks(lambda batch: batch + torch.rand_like(batch) * 0.01, random=True))
    unseeded = torch.Generator().manual_seed(0)
    drawn = checks(lambda batch: batch + torch.rand(batch.shape, generator=unseeded) * 0.01, random=True)
    assert "deterministic: two runs differ" in failed(drawn) and "although seeded alike" in failed(drawn)
    assert "deterministic: two runs differ" in failed(checks(lambda batch: batch + torch.rand_like(batch) * 0.01))


def test_a_buffer_that_is_used_again_conforms() -> None:
    """Every result is copied; only in threads, in which methods on arrays are called, it does harm."""
    assert not failed(checks(Again()))
    assert not failed(checks(Again(), random=True))


def test_levels_without_weights_are_passed_over() -> None:
    """The first and last that can be built are tried, not only the first and last of the task."""

    def build(task: str, level: int) -> Callable[[Any], Any]:
        if level != 3:
            raise NotAvailableError(f"no weights for x{level}")
        return lambda batch: batch.repeat_interleave(3, 2).repeat_interleave(3, 3)

    found = list(check_method(Method("m", ("sr",), build)))
    assert {check.what.split(":")[0] for check in found if check.held} == {"sr x3"}
    assert {check.what for check in found if check.held is None} == {"sr x2", "sr x4"}


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
