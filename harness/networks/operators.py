"""The attentions with their gradients, which compute the rows of a softmax again instead of keeping them.

Each has two forms: autograd's, and an operator that `torch.compile` takes as it is, so that a network is one graph and
no loop of tiles is unrolled in it.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.networks import batched_attention, softmax_rows, tiled_attention
from harness.networks.flat_keys import FlatKeys
from harness.networks.precision import in_full_precision


def attend_patches(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, layout: FlatKeys, budget: int, batched: bool
) -> Tensor:
    """Attend from ``(B, c, H, W)`` to flat keys ``(B, c, L)``, values ``(B, C, L)``, key weights ``(B, L)``."""
    if torch.compiler.is_compiling():
        sizes = [side for level in layout.levels for side in (level.height, level.width)]
        return _patch_operator(query, keys, values, weights, sizes, layout.pad, budget, batched)
    out: Tensor = _Patches.apply(query, keys, values, weights, layout, budget, batched)
    return out


def attend_pixels(r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int, batched: bool) -> Tensor:
    """Attend by rows P = softmax(r^T k) of ``(B, c, N)``: ``y = v P^T`` (gather) or ``y = v P`` (scatter)."""
    if torch.compiler.is_compiling():
        return _pixel_operator(r, k, v, gather, budget, batched)
    out: Tensor = _Pixels.apply(r, k, v, gather, budget, batched)
    return out


@in_full_precision
def _patches(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, layout: FlatKeys, budget: int, batched: bool
) -> Tensor:
    form = batched_attention if batched else tiled_attention
    return form.forward(query, keys, values, weights, layout, budget)


@in_full_precision
def _patches_back(
    grad: Tensor,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    weights: Tensor,
    layout: FlatKeys,
    budget: int,
    batched: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    form = batched_attention if batched else tiled_attention
    return form.backward(grad, query, keys, values, weights, layout, budget)


_pixels, _pixels_back = in_full_precision(softmax_rows.forward), in_full_precision(softmax_rows.backward)


class _Patches(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        query: Tensor,
        keys: Tensor,
        values: Tensor,
        weights: Tensor,
        layout: FlatKeys,
        budget: int,
        batched: bool,
    ) -> Tensor:
        ctx.save_for_backward(query, keys, values, weights)
        ctx.layout, ctx.budget, ctx.batched = layout, budget, batched
        return _patches(query, keys, values, weights, layout, budget, batched)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, keys, values, weights = ctx.saved_tensors
        found = _patches_back(grad, query, keys, values, weights, ctx.layout, ctx.budget, ctx.batched)
        return *found, None, None, None


class _Pixels(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int, batched: bool) -> Tensor:
        ctx.save_for_backward(r, k, v)
        ctx.gather, ctx.budget, ctx.batched = gather, budget, batched
        return _pixels(r, k, v, gather, budget, batched)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        r, k, v = ctx.saved_tensors
        return *_pixels_back(grad, r, k, v, ctx.gather, ctx.budget, ctx.batched), None, None, None


def _layout(sizes: list[int], pad: int) -> FlatKeys:
    return FlatKeys.of(list(zip(sizes[::2], sizes[1::2], strict=True)), pad)


@torch.library.custom_op("harness::patch_attention", mutates_args=())
def _patch_operator(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, sizes: list[int], pad: int, budget: int, batched: bool
) -> Tensor:
    return _patches(query, keys, values, weights, _layout(sizes, pad), budget, batched)


@_patch_operator.register_fake
def _(query: Tensor, keys: Tensor, values: Tensor, *others: object) -> Tensor:
    return query.new_empty(query.shape[0], values.shape[1], *query.shape[2:])


@torch.library.custom_op("harness::patch_attention_backward", mutates_args=())
def _patch_gradient(
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
    return _patches_back(grad, query, keys, values, weights, _layout(sizes, pad), budget, batched)


@_patch_gradient.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[:4])


@torch.library.custom_op("harness::dot_product_attention", mutates_args=())
def _pixel_operator(r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int, batched: bool) -> Tensor:
    return _pixels(r, k, v, gather, budget, batched)


@_pixel_operator.register_fake
def _(r: Tensor, k: Tensor, v: Tensor, gather: bool, *others: object) -> Tensor:
    return v.new_empty(*v.shape[:2], (r if gather else k).shape[2])


@torch.library.custom_op("harness::dot_product_attention_backward", mutates_args=())
def _pixel_gradient(
    grad: Tensor, r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int, batched: bool
) -> tuple[Tensor, Tensor, Tensor]:
    return _pixels_back(grad, r, k, v, gather, budget, batched)


@_pixel_gradient.register_fake
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


_differentiable(_patch_operator, _patch_gradient, 4)
_differentiable(_pixel_operator, _pixel_gradient, 3)
