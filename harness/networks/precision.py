"""Attention in float32, whatever the rest of a network is computed in."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor


def without_autocast(device: torch.device) -> AbstractContextManager[object]:
    """Keep automatic mixed precision away from the scores: a softmax of products needs their digits."""
    # While a network is compiled, the device is one that has it, and the question cannot be traced.
    if torch.compiler.is_compiling() or torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


Function = TypeVar("Function", bound=Callable[..., Any])


def in_full_precision(function: Function) -> Function:
    """Decorate a function of tensors: its products are in float32, whatever autocast and torch's precision say."""

    @functools.wraps(function)
    def run(first: Tensor, *others: Any) -> Any:
        before = torch.get_float32_matmul_precision()
        # A gradient may be asked for inside the autocast that its forward pass was kept out of.
        with without_autocast(first.device):
            if before == "highest":
                # Setting what is set would still change torch's newer switches, which others see.
                return function(first, *others)
            torch.set_float32_matmul_precision("highest")
            try:
                return function(first, *others)
            finally:
                torch.set_float32_matmul_precision(before)

    return run  # type: ignore[return-value]
