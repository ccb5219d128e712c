"""Applying a method's callable to an image array, under an inference policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

Restorer = Callable[[NDArray[Any]], NDArray[np.float64]]


def array_restorer(function: Callable[[NDArray[np.float64]], Any], policy: str) -> Restorer:
    """Wrap a callable on arrays in [0, 1] so that it takes and returns units of 0..255.

    Raises
    ------
    HarnessError
        The policy needs a network.
    """
    if policy == "whole":
        return lambda array: np.asarray(function(array.astype(np.float64) / 255), dtype=np.float64) * 255
    if policy == "x8":
        return lambda array: array_self_ensemble(function, array.astype(np.float64) / 255) * 255
    raise HarnessError(f"policy '{policy}' is for networks; a method on arrays knows 'whole' and 'x8'")


def array_self_ensemble(
    function: Callable[[NDArray[np.float64]], Any], array: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average the results over the eight flips and transposes of an image ``(H, W)`` or ``(H, W, C)``."""
    results = []
    for transposed in (False, True):
        turned = np.swapaxes(array, 0, 1) if transposed else array
        for axes in ((), (0,), (1,), (0, 1)):
            result = np.flip(np.asarray(function(np.ascontiguousarray(np.flip(turned, axes))), np.float64), axes)
            results.append(np.swapaxes(result, 0, 1) if transposed else result)
    mean: NDArray[np.float64] = np.mean(results, axis=0)
    return mean


def tensor_restorer(function: Callable[[Any], Any], policy: str) -> Restorer:
    """Wrap a callable on tensors (B, C, H, W) in [0, 1] so that it takes and returns arrays in units of 0..255.

    The first CUDA device is used where there is one. Reduced-precision products (TF32) are off: digits come first.
    """
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    apply = _policy(function, policy)

    def restore(array: NDArray[Any]) -> NDArray[np.float64]:
        channels_last = array[:, :, None] if array.ndim == 2 else array
        batch = torch.from_numpy(np.ascontiguousarray(channels_last.transpose(2, 0, 1), dtype=np.float32))[None] / 255
        if torch.cuda.is_available():
            batch = batch.cuda()
        with torch.inference_mode():
            output = apply(batch)
        if not isinstance(output, torch.Tensor) or output.ndim != 4 or output.shape[0] != 1:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise HarnessError(f"a tensor (1, C, H, W) is needed, the callable returned {shape}")
        result = output[0].double().cpu().numpy() * 255
        return result[0] if result.shape[0] == 1 else result.transpose(1, 2, 0)

    return restore


def _policy(function: Callable[[Any], Any], policy: str) -> Callable[[Any], Any]:
    if policy == "whole":
        return function
    raise HarnessError(f"unknown policy '{policy}'")
