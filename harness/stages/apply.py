"""Applying a method's callable to an image array, under an inference policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

if TYPE_CHECKING:
    import torch

    from harness.inference.chop import ChopRule

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
            # A copy each time: a plugin may write into its input.
            result = np.flip(np.asarray(function(np.flip(turned, axes).copy()), np.float64), axes)
            results.append(np.swapaxes(result, 0, 1) if transposed else result)
    mean: NDArray[np.float64] = np.mean(results, axis=0)
    return mean


# Each step of shrinking divides the tiles computed at once and the attention's work buffers by this.
SHRINKING = 4
# Work buffers of attention never shrink below this; smaller ones cost time and save nothing that matters.
SMALLEST_BUDGET = 8 * 2**20


def tensor_restorer(
    function: Callable[[Any], Any], policy: str, rule: str = "", scale: int = 1, shrink: int = 0
) -> Restorer:
    """Wrap a network, or a callable on tensors (B, C, H, W) in [0, 1], so that it takes and returns arrays in 0..255.

    The first CUDA device is used where there is one. Reduced-precision products (TF32) are off: digits come first.

    Parameters
    ----------
    function : callable
        What a method's `build` returned. A torch module must have been marked as ready (`harness.networks`), so that
        an untrained or half-loaded network never makes a result.
    policy : str
        ``whole``, ``chop``, ``x8`` or ``chop+x8``.
    rule : str
        Name of the tiling rule, for the policies with ``chop``.
    scale : int
        By how much the output is larger than the input.
    shrink : int
        How many times to divide by `SHRINKING` what is computed at once, after running out of memory: the tiles (at
        least 1) and the buffers of streamed attention. The tiles themselves, which are part of a result,
        stay.

    Raises
    ------
    HarnessError
        The policy is unknown or needs a tiling rule that the method does not name.
    """
    import torch

    from harness.inference.allocator import keep_freed_memory
    from harness.inference.chop import chop_rule, tiles_at_once
    from harness.inference.policies import policy as policy_of
    from harness.inference.policies import restore as restore_tensor

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu":
        keep_freed_memory()
    if isinstance(function, torch.nn.Module):
        function.to(device)
    reentrant = getattr(function, "reentrant", False)
    tiles = max(1, tiles_at_once(device, reentrant) // SHRINKING**shrink)
    tiling = chop_rule(rule) if rule else None
    if policy_of(policy).tiled and tiling is None:
        raise HarnessError(f"policy '{policy}' needs the tiling rule of a paper, and this method names none")

    def apply(batch: torch.Tensor) -> Any:
        if isinstance(function, torch.nn.Module):
            _limit_buffers(function, shrink)
            return restore_tensor(function, batch, policy, tiling, tiles)
        with torch.inference_mode():
            return _callable_under(function, batch, policy, tiling, scale, tiles, reentrant)

    def restore(array: NDArray[Any]) -> NDArray[np.float64]:
        channels_last = array[:, :, None] if array.ndim == 2 else array
        # Rounded once, after the division: a sample of the authors' noise is a single-precision number of 0..1.
        pixels = np.ascontiguousarray(channels_last.transpose(2, 0, 1) / 255, dtype=np.float32)
        output = apply(torch.from_numpy(pixels)[None].to(device))
        if not isinstance(output, torch.Tensor) or output.ndim != 4 or output.shape[0] != 1:
            shape = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
            raise HarnessError(f"a tensor (1, C, H, W) is needed, the callable returned {shape}")
        result = output[0].double().cpu().numpy() * 255
        return result[0] if result.shape[0] == 1 else result.transpose(1, 2, 0)

    return restore


def _limit_buffers(network: torch.nn.Module, shrink: int) -> None:
    """Divide the work buffers of every attention of a network; 0 gives back what the network was made with."""
    for module in network.modules():
        budget = module.__dict__.get("memory_budget")
        if isinstance(budget, int):
            made_with = module.__dict__.setdefault("made_with_memory_budget", budget)
            module.memory_budget = max(min(made_with, SMALLEST_BUDGET), made_with // SHRINKING**shrink)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory ran out, on the machine or on a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # The allocator of torch on a CPU has no exception of its own.
    return isinstance(error, RuntimeError) and any(
        said in str(error) for said in ("not enough memory", "can't allocate memory", "out of memory")
    )


def free_memory() -> None:
    """Give back what can be given back, before a smaller attempt."""
    import gc
    import sys

    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


def _callable_under(
    function: Callable[[Any], Any],
    batch: Any,
    policy: str,
    tiling: ChopRule | None,
    scale: int,
    tiles: int,
    reentrant: bool,
) -> Any:
    """Apply a plain callable under a policy."""
    from harness.inference.chop import chop
    from harness.inference.ensemble import self_ensemble
    from harness.inference.policies import policy as policy_of

    def step(image: Any) -> Any:
        if tiling is None or not how.tiled:
            return function(image)
        return chop(function, image, tiling, scale, tiles, reentrant)

    how = policy_of(policy)
    return self_ensemble(step, batch) if how.ensemble else step(batch)
