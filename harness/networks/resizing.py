"""Resizing inside a network, with a gradient whose sums have a fixed order on a GPU too."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def resize(x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Resize ``(B, C, H, W)`` as `torch.nn.functional.interpolate` does without aligned corners.

    CUDA's own gradient adds with atomic operations: its last bits differ from run to run. A resize is a matrix
    product along each axis, so its gradient is two products with the transposed matrices.
    """
    if x.device.type == "cuda" and x.requires_grad and not torch.compiler.is_compiling():
        resized: Tensor = _Resize.apply(x, size, mode)
        return resized
    return functional.interpolate(x, size=size, mode=mode, align_corners=False)


class _Resize(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, size: tuple[int, int], mode: str) -> Tensor:
        ctx.shape, ctx.mode = x.shape, mode
        return functional.interpolate(x, size=size, mode=mode, align_corners=False)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        return resize_gradient(grad, ctx.shape[-2:], ctx.mode), None, None


def resize_gradient(grad: Tensor, size: tuple[int, int], mode: str) -> Tensor:
    """Gradient of `resize` at its input of height and width `size`."""
    rows, columns = (
        _matrix(before, after, mode, grad.device).to(grad.dtype)
        for before, after in zip(size, grad.shape[-2:], strict=True)
    )
    return rows.t() @ grad @ columns


# A batch has many calls of one shape; a copy to a GPU for each would make it wait.
@functools.lru_cache(maxsize=64)
def _matrix(before: int, after: int, mode: str, device: torch.device) -> Tensor:
    """The matrix ``(after, before) float64`` that resizes a line."""
    with torch.inference_mode(False), torch.no_grad():
        unit = torch.eye(before, dtype=torch.float64)[:, None, None]
        if mode == "bicubic":
            # Along one axis of a map whose other side stays as it is.
            line = functional.interpolate(unit, size=(1, after), mode=mode, align_corners=False)[:, 0, 0]
        else:
            line = functional.interpolate(unit[:, 0], size=after, mode="linear", align_corners=False)[:, 0]
        return line.t().contiguous().to(device)
