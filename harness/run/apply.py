"""Applying a method's callable to an image array, under an inference policy, and checking what it returns.

What a method may return: a tensor or an array of real floating-point samples (float16 to float64), finite, about
[0, 1]. A network may overshoot; `OVERSHOOT` is what is taken for that, and what lies further outside for a result in
other units. A method may return the same buffer every time: what is kept while it is called again is copied.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.images import read_result
from harness.process_state import LeftChangedError, left_alone

if TYPE_CHECKING:
    import torch

    from harness.inference.chop import ChopRule

Restorer = Callable[[NDArray[Any]], NDArray[np.float64]]

# How far beyond [0, 1], or beyond the input where that is wider, a sample may lie. The released networks overshoot by
# 0.16 at most on natural images; an image in 0..255 lies beyond this.
OVERSHOOT = 1.0


class WrongResultError(HarnessError):
    """A method returned something else than promised, or left its process changed."""


class SharedResultError(WrongResultError):
    """A method gave two threads the same array: other images that it restored may be mixed, too."""


def _calling(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a method, and refuse it where it leaves a change in what all methods of the process share."""
    try:
        with left_alone(""):
            return function(*arguments)
    except LeftChangedError as error:
        raise WrongResultError(str(error)) from None


def check_result(result: NDArray[Any], given: NDArray[Any]) -> None:
    """Refuse samples that cannot be a restored image.

    `given`: What it was given, in [0, 1] or, under unclipped noise, beyond.
    Raises WrongResultError: The samples are no real floating-point numbers, not finite, or far outside the input's
        range.
    """
    expected = "real floating-point samples in [0, 1] were expected"
    if not np.issubdtype(result.dtype, np.floating):
        raise WrongResultError(f"returned samples of dtype {result.dtype}; {expected}")
    if not np.isfinite(result).all():
        raise WrongResultError("returned NaN or infinity")
    if not result.size:
        return
    low, high = float(result.min()), float(result.max())
    least, most = min(0.0, float(given.min())) - OVERSHOOT, max(1.0, float(given.max())) + OVERSHOOT
    if low < least or high > most:
        looks = " (as if in 0..255)" if high > 8 else ""
        raise WrongResultError(f"returned values from {low:.4g} to {high:.4g}{looks}; {expected}")


def image_restorer(function: Callable[[str, str], Any], saving: str) -> Callable[[str, str], NDArray[np.float64]]:
    """Wrap a callable that finds restored images, so that it gives float64 pixels in units of 0..255.

    The callable takes the names of a dataset and of an image and returns the path of an image file, or its pixels:
    ``(H, W)`` or ``(H, W, 3)``, uint8, or floating-point in 0..255. A file of 16 bits a sample keeps them where the
    saving rule is ``unrounded``, and is refused elsewhere.
    """

    def restore(dataset: str, image: str) -> NDArray[np.float64]:
        found = _calling(function, dataset, image)
        pixels = read_result(found, saving) if isinstance(found, str | os.PathLike) else found
        expected = "the path of an image, or an array of uint8 or of floats in 0..255, was expected"
        if not isinstance(pixels, np.ndarray):
            raise WrongResultError(f"returned {_kind(pixels)}; {expected}")
        if pixels.dtype != np.uint8:
            if not np.issubdtype(pixels.dtype, np.floating):
                raise WrongResultError(f"returned pixels of dtype {pixels.dtype}; {expected}")
            if not np.isfinite(pixels).all():
                raise WrongResultError("returned NaN or infinity")
            low, high = pixels.min(initial=0), pixels.max(initial=0)
            if low < -OVERSHOOT * 255 or high > (1 + OVERSHOOT) * 255 or 0 < high <= 1:
                looks = " (as if in [0, 1])" if high <= 1 else ""
                raise WrongResultError(f"returned values from {low:.4g} to {high:.4g}{looks}; {expected}")
        return pixels.astype(np.float64)

    return restore


def _kind(value: object) -> str:
    return f"an object of type {type(value).__module__}.{type(value).__qualname__}".replace("builtins.", "")


def array_restorer(function: Callable[[NDArray[np.float64]], Any], policy: str) -> Restorer:
    """Wrap a callable on float64 arrays in [0, 1] so that it takes and returns units of 0..255.

    Raises HarnessError: The policy needs a network.
    Raises WrongResultError: By the wrapped callable: it returned no array, or `check_result` refuses it.
    """
    # The last result of each thread: while it is held here its memory can be no other array's.
    held: dict[int, NDArray[Any]] = {}

    def apply(array: NDArray[np.float64]) -> NDArray[np.float64]:
        # The check needs the input as it was.
        result = function(array.copy())
        if not isinstance(result, np.ndarray):
            expected = f"a numpy array (H, W) or (H, W, 3) of floats was expected for an input of {array.shape}"
            raise WrongResultError(f"returned {_kind(result)}; {expected}")
        here = threading.get_ident()
        # First held, then compared: of two threads at this place, one at least sees the other's.
        held[here] = result
        if any(np.may_share_memory(result, other) for thread, other in held.copy().items() if thread != here):
            raise SharedResultError("returned the same array in two threads; a method on arrays is called in several")
        check_result(result, array)
        # A copy: the method may write into the same array when it is called again.
        return result.astype(np.float64)

    if policy == "whole":
        return lambda array: np.asarray(_calling(apply, array.astype(np.float64) / 255)) * 255
    if policy == "x8":
        return lambda array: np.asarray(_calling(array_self_ensemble, apply, array.astype(np.float64) / 255)) * 255
    raise HarnessError(f"policy '{policy}' is for networks; a method on arrays knows 'whole' and 'x8'")


def array_self_ensemble(
    function: Callable[[NDArray[np.float64]], NDArray[np.float64]], array: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Average the results over the eight flips and transposes of an image ``(H, W)`` or ``(H, W, C)``.

    The function must return an array of its own each time.
    """
    results = []
    for transposed in (False, True):
        turned = np.swapaxes(array, 0, 1) if transposed else array
        for axes in ((), (0,), (1,), (0, 1)):
            result = np.flip(function(np.flip(turned, axes)), axes)
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

    The first CUDA device is used where there is one, but for the policies of onnxruntime. Reduced-precision products
    (TF32) are off: digits come first.

    `function`: What a method's `build` returned. A torch module must have been marked as ready (`harness.networks`), so
        that an untrained or half-loaded network never makes a result.
    `policy`: A name of `harness.inference.POLICIES`, such as ``chop+x8``.
    `rule`: Name of the tiling rule, for the policies with ``chop``.
    `scale`: By how much the output is larger than the input.
    `shrink`: How many times to divide by `SHRINKING` what is computed at once, after running out of memory: the tiles
        (at least 1) and the buffers of streamed attention. The tiles themselves, which are part of a result, stay.
    Raises HarnessError: The policy is unknown or needs a tiling rule that the method does not name.
    Raises WrongResultError: By the wrapped callable: it returned no tensor of 4 dimensions, or `check_result` refuses
        it.
    """
    import torch

    from harness.inference.allocator import keep_freed_memory
    from harness.inference.chop import chop_rule, tiles_at_once
    from harness.inference.policies import policy as policy_of
    from harness.inference.policies import restore as restore_tensor

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    how = policy_of(policy)
    device = torch.device("cuda" if torch.cuda.is_available() and not how.onnx else "cpu")
    if device.type == "cpu":
        keep_freed_memory()
    if isinstance(function, torch.nn.Module):
        function.to(device)
    if how.onnx:
        from harness.inference.engine import on_onnxruntime

        function = on_onnxruntime(function)
    reentrant = getattr(function, "reentrant", False)
    tiles = max(1, tiles_at_once(device, reentrant) // SHRINKING**shrink)
    tiling = chop_rule(rule) if rule else None
    if how.tiled and tiling is None:
        raise HarnessError(f"policy '{policy}' needs the tiling rule of a paper, and this method names none")

    def apply(batch: torch.Tensor) -> Any:
        if isinstance(function, torch.nn.Module):
            _limit_buffers(function, shrink)
            return restore_tensor(function, batch, policy, tiling, tiles)
        with torch.inference_mode():
            return _callable_under(function, batch, policy, tiling, scale, tiles, reentrant)

    def restore(array: NDArray[Any]) -> NDArray[np.float64]:
        pixels = to_samples(array)
        # A copy: on a CPU the tensor would share its samples, and the check needs them as they were.
        output = _check_tensor(_calling(apply, torch.from_numpy(pixels.copy())[None].to(device)), 1)
        samples = output[0].detach().double().cpu().numpy()
        check_result(samples, pixels)
        return to_pixels(samples)

    return restore


def to_samples(array: NDArray[Any]) -> NDArray[np.float32]:
    """Make of an image ``(H, W)`` or ``(H, W, C)`` in 0..255 what a network is given: ``(C, H, W) float32``, [0, 1]."""
    channels_last = array[:, :, None] if array.ndim == 2 else array
    # Rounded once, after the division: a sample of the authors' noise is a single-precision number of 0..1.
    return np.ascontiguousarray(channels_last.transpose(2, 0, 1) / 255, dtype=np.float32)


def to_pixels(samples: NDArray[np.float64]) -> NDArray[np.float64]:
    """Make of a network's samples ``(C, H, W)`` an image in 0..255, ``(H, W)`` where there is one channel."""
    result = samples * 255
    return result[0] if result.shape[0] == 1 else result.transpose(1, 2, 0)


def _check_tensor(output: Any, count: int) -> torch.Tensor:
    """Refuse what is no batch of images: of `count`, floating-point."""
    import torch

    expected = f"a floating-point tensor ({count}, C, H, W) was expected"
    if not isinstance(output, torch.Tensor):
        raise WrongResultError(f"returned {_kind(output)}; {expected}")
    if output.ndim != 4 or len(output) != count or not output.is_floating_point():
        raise WrongResultError(f"returned a tensor {tuple(output.shape)} of {output.dtype}; {expected}")
    return output


def _limit_buffers(network: torch.nn.Module, shrink: int) -> None:
    """Divide the work buffers of every attention of a network; 0 gives back what the network was made with."""
    for module in network.modules():
        budget = module.__dict__.get("memory_budget")
        if isinstance(budget, int):
            made_with = module.__dict__.setdefault("made_with_memory_budget", budget)
            module.memory_budget = max(min(made_with, SMALLEST_BUDGET), made_with // SHRINKING**shrink)


def out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, on the machine or on a GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    # The allocator of torch on a CPU has no exception of its own.
    return isinstance(error, RuntimeError) and any(
        said in str(error) for said in ("not enough memory", "can't allocate memory", "out of memory")
    )


def seed_random(name: str) -> None:
    """Seed the global random numbers with a name, as is done for each image of a method declared random."""
    import random
    import sys
    import zlib

    seed = zlib.crc32(name.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - a plugin may use the global state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


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

    def apply(images: Any) -> Any:
        return _check_tensor(function(images), len(images))

    def step(image: Any) -> Any:
        if tiling is None or not how.tiled:
            return apply(image)
        return chop(apply, image, tiling, scale, tiles, reentrant)

    how = policy_of(policy)
    return self_ensemble(step, batch) if how.ensemble else step(batch)
