"""The attentions as operators that `torch.compile` takes as they are: one graph, and no loop of tiles unrolled in it.

Importing this module registers them; `patch_attention` and `dot_product_attention` do so while a network is compiled.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.networks import dot_product_attention, patch_attention
from harness.networks.flat_keys import Layout


def _layout(sizes: list[int], pad: int) -> Layout:
    return Layout.of(list(zip(sizes[::2], sizes[1::2], strict=True)), pad)


@torch.library.custom_op("harness::patch_attention", mutates_args=())
def patch_attention_operator(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, sizes: list[int], pad: int, budget: int, batched: bool
) -> Tensor:
    """See `patch_attention.forward`; `sizes` are height and width of each level."""
    return patch_attention.forward(query, keys, values, weights, _layout(sizes, pad), budget, batched)


@patch_attention_operator.register_fake
def _(query: Tensor, keys: Tensor, values: Tensor, *others: object) -> Tensor:
    return query.new_empty(query.shape[0], values.shape[1], *query.shape[2:])


@torch.library.custom_op("harness::patch_attention_backward", mutates_args=())
def _patch_attention_backward(
    grad: Tensor,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    weights: Tensor,
    sizes: list[int],
    pad: int,
    budget: int,
    batched: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    layout = _layout(sizes, pad)
    return patch_attention.backward(grad, query, keys, values, weights, layout, budget, batched)


@_patch_attention_backward.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[:4])


@torch.library.custom_op("harness::dot_product_attention", mutates_args=())
def dot_product_attention_operator(r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int, batched: bool) -> Tensor:
    """See `dot_product_attention.forward`."""
    return dot_product_attention.forward(r, k, v, gather, budget, batched)


@dot_product_attention_operator.register_fake
def _(r: Tensor, k: Tensor, v: Tensor, gather: bool, *others: object) -> Tensor:
    return v.new_empty(*v.shape[:2], (r if gather else k).shape[2])


@torch.library.custom_op("harness::dot_product_attention_backward", mutates_args=())
def _dot_product_attention_backward(
    grad: Tensor, r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int, batched: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return dot_product_attention.backward(grad, r, k, v, gather, budget, batched)


@_dot_product_attention_backward.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[:3])


def _differentiable(operator: Any, gradient: Any, tensors: int) -> None:
    """Tell autograd that the gradient of the first inputs is another operator of them and of the rest."""

    def keep(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:tensors])
        ctx.rest = inputs[tensors:]

    def back(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        found = gradient(grad.contiguous(), *ctx.saved_tensors, *ctx.rest)
        return *found, *[None] * len(ctx.rest)

    operator.register_autograd(back, setup_context=keep)


_differentiable(patch_attention_operator, _patch_attention_backward, 4)
_differentiable(dot_product_attention_operator, _dot_product_attention_backward, 3)
