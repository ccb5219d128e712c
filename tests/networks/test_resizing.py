"""The gradient of a resize as two matrix products is torch's own."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from harness.networks.resizing import resize, resize_gradient


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
@pytest.mark.parametrize(
    ("before", "after"), [((9, 12), (8, 10)), ((8, 8), (4, 4)), ((5, 7), (10, 3)), ((1, 6), (1, 5))]
)
def test_the_gradient_is_torchs(mode: str, before: tuple[int, int], after: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *before, dtype=torch.float64, requires_grad=True)
    grad = torch.randn(2, 3, *after, dtype=torch.float64)
    (want,) = torch.autograd.grad(functional.interpolate(x, size=after, mode=mode, align_corners=False), x, grad)
    torch.testing.assert_close(resize_gradient(grad, before, mode), want, rtol=1e-12, atol=1e-13)


def test_the_values_are_torchs() -> None:
    x = torch.randn(1, 2, 9, 8)
    assert torch.equal(resize(x, (7, 6), "bicubic"), functional.interpolate(x, size=(7, 6), mode="bicubic"))
