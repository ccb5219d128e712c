"""A module that a network applies several times: the gradients of its uses are added in a few kernels on a GPU."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def few_kernels(x: Tensor) -> bool:
    """Whether a step on this tensor's device is worth fewer kernels: in training, not on a CPU, whose bits stay.

    Compiled networks are fused anyway, and automatic mixed precision casts the weights of each module only once.
    """
    kind = x.device.type
    if kind == "cpu" or torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return False
    return not (torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind))


def uses(tensors: tuple[Tensor, ...], count: int) -> Iterator[tuple[Tensor, ...]]:
    """Give the same tensors once for each use.

    Autograd adds the gradients of a tensor that is used again tensor by tensor. Here a use's gradients are added to
    those of the later uses for all tensors at once, in the same order and with the same sums.

    Parameters
    ----------
    tensors : tuple of Tensor
        Weights, on one device.
    count : int
        Uses.

    Examples
    --------
    >>> weight = torch.ones(2, requires_grad=True)
    >>> sum((w * factor).sum() for factor, (w,) in enumerate(uses((weight,), 3))).backward()
    >>> weight.grad
    tensor([3., 3.])
    """
    for _ in range(count - 1):
        both = _Use.apply(*tensors)
        here, tensors = both[: len(tensors)], both[len(tensors) :]
        yield here
    yield tensors


class _Use(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> tuple[Tensor, ...]:
        return *(x.view_as(x) for x in tensors), *(x.view_as(x) for x in tensors)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:
        half = len(grads) // 2
        return tuple(torch._foreach_add(grads[half:], grads[:half]))
