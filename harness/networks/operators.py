"""The attentions with their gradients, which compute the rows of a softmax again instead of keeping them.

Each has two forms: autograd's, and an operator that `torch.compile` takes as it is, so that a network is one graph and
no loop of tiles is unrolled in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from harness.networks import batched_attention, softmax_rows, tiled_attention
from harness.networks.flat_keys import FlatKeys
from harness.networks.precision import in_full_precision


def attend_patches(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, layout: FlatKeys, budget: int
) -> Tensor:
    """Attend from ``(B, c, H, W)`` to flat keys ``(B, c, L)``, values ``(B, C, L)``, weights ``(B, L)``, on a CPU."""
    if torch.compiler.is_compiling():
        return _patch_operator(query, keys, values, weights, _sizes(layout), layout.pad, budget)
    out: Tensor = _Patches.apply(query, keys, values, weights, layout, budget)
    return out


def attend_flat(query: Tensor, flat: Tensor, layout: FlatKeys, scale: float, floor: float, budget: int) -> Tensor:
    """Attend from ``(B, c, H, W)`` to flat keys and values ``(B, c + C, L)``, with their norms: on an accelerator."""
    if torch.compiler.is_compiling():
        return _flat_operator(query, flat, _sizes(layout), layout.pad, scale, floor, budget)
    out: Tensor = _FlatPatches.apply(query, flat, layout, scale, floor, budget, torch.is_grad_enabled())
    return out


def flattened(keys: Sequence[Tensor], values: Sequence[Tensor], layout: FlatKeys) -> Tensor:
    """Lay ``(B, c, h, w)`` keys and ``(B, C, h, w)`` values of all levels out as ``(B, c + C, L)``."""
    out: Tensor = _Flattened.apply(layout, *keys, *values)
    return out


class _Flattened(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layout: FlatKeys, *maps: Tensor) -> Tensor:
        ctx.layout, ctx.channels = layout, maps[0].shape[1]
        keys, values = maps[: len(layout.levels)], maps[len(layout.levels) :]
        flat = keys[0].new_zeros(len(keys[0]), ctx.channels + values[0].shape[1], layout.length)
        for level, key, value in zip(layout.levels, keys, values, strict=True):
            level.map_in(flat[:, : ctx.channels]).copy_(key)
            level.map_in(flat[:, ctx.channels :]).copy_(value)
        return flat

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        parts = grad[:, : ctx.channels], grad[:, ctx.channels :]
        return None, *(level.map_in(part) for part in parts for level in ctx.layout.levels)


def attend_pixels(r: Tensor, k: Tensor, v: Tensor, gather: bool, budget: int, batched: bool) -> Tensor:
    """Attend by rows P = softmax(r^T k) of ``(B, c, N)``: ``y = v P^T`` (gather) or ``y = v P`` (scatter)."""
    if torch.compiler.is_compiling():
        return _pixel_operator(r, k, v, gather, budget, batched)
    out: Tensor = _Pixels.apply(r, k, v, gather, budget, batched)
    return out


_patches, _patches_back = in_full_precision(tiled_attention.forward), in_full_precision(tiled_attention.backward)
_flat, _flat_back = in_full_precision(batched_attention.forward), in_full_precision(batched_attention.backward)
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
    ) -> Tensor:
        ctx.save_for_backward(query, keys, values, weights)
        ctx.layout, ctx.budget = layout, budget
        return _patches(query, keys, values, weights, layout, budget)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, keys, values, weights = ctx.saved_tensors
        return *_patches_back(grad, query, keys, values, weights, ctx.layout, ctx.budget), None, None


class _FlatPatches(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, query: Tensor, flat: Tensor, layout: FlatKeys, scale: float, floor: float, budget: int, keep: bool
    ) -> Tensor:
        out, norms, kept = _flat(query, flat, layout, scale, floor, budget, keep and any(ctx.needs_input_grad))
        ctx.save_for_backward(query, flat, norms, kept)
        ctx.rest = layout, scale, floor, budget
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        query, flat, norms, kept = ctx.saved_tensors
        return *_flat_back(grad, query, flat, norms, kept, *ctx.rest), None, None, None, None, None


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


def _sizes(layout: FlatKeys) -> list[int]:
    return [side for level in layout.levels for side in (level.height, level.width)]


def _layout(sizes: list[int], pad: int) -> FlatKeys:
    return FlatKeys.of(list(zip(sizes[::2], sizes[1::2], strict=True)), pad)


@torch.library.custom_op("harness::patch_attention", mutates_args=())
def _patch_operator(
    query: Tensor, keys: Tensor, values: Tensor, weights: Tensor, sizes: list[int], pad: int, budget: int
) -> Tensor:
    return _patches(query, keys, values, weights, _layout(sizes, pad), budget)


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
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    return _patches_back(grad, query, keys, values, weights, _layout(sizes, pad), budget)


@_patch_gradient.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[:4])


@torch.library.custom_op("harness::flat_attention", mutates_args=())
def _flat_operator(
    query: Tensor, flat: Tensor, sizes: list[int], pad: int, scale: float, floor: float, budget: int
) -> Tensor:
    return _flat(query, flat, _layout(sizes, pad), scale, floor, budget)[0]


@_flat_operator.register_fake
def _(query: Tensor, flat: Tensor, *others: object) -> Tensor:
    return query.new_empty(query.shape[0], flat.shape[1] - query.shape[1], *query.shape[2:])


@torch.library.custom_op("harness::flat_attention_backward", mutates_args=())
def _flat_gradient(
    grad: Tensor, query: Tensor, flat: Tensor, sizes: list[int], pad: int, scale: float, floor: float, budget: int
) -> tuple[Tensor, Tensor]:
    layout = _layout(sizes, pad)
    norms = layout.window_norms(flat[:, : query.shape[1]], floor)
    return _flat_back(grad, query, flat, norms, None, layout, scale, floor, budget)


@_flat_gradient.register_fake
def _(grad: Tensor, *inputs: Any) -> tuple[Tensor, ...]:
    return tuple(x.new_empty(x.shape) for x in inputs[:2])


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
_differentiable(_flat_operator, _flat_gradient, 2)
_differentiable(_pixel_operator, _pixel_gradient, 3)
