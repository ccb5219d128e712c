"""Conformance: whether a method keeps what every method promises, tried on small images."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, NotAvailableError
from harness.methods import Method, build_method
from harness.process_state import left_alone
from harness.records.tasks import Task
from harness.records.tasks import task as task_of
from harness.run.apply import array_restorer, seed_random, tensor_restorer

# Sizes of images in the papers' sets and of the tiles of their tiled inference, and what breaks networks with strides.
SIZES = ((64, 48), (47, 61), (321, 21), (1, 40), (40, 1))
THREADS = 4
TOLERANCE = 1e-3  # of a gray level, between results of the same computation
# Of a gray level, between a batch and single images: other products of matrices round otherwise, in float32 and in each
# layer. RIDNet, RCAN and SAN with random weights differ by 0.002 to 0.1, and in float64 by nothing.
ROUNDING = 0.25


class Check(msgspec.Struct, frozen=True):
    """One promise: what was tried, whether it held (None: could not be tried), and what was found."""

    what: str
    held: bool | None
    found: str


def check_method(method: Method) -> Iterator[Check]:
    """Try a method on every task it declares, at the first and last level that can be built, with every model it has.

    Yields: In the order tried; a failed build ends the checks of its level.
    """
    if method.on == "images":
        yield Check("restored images", None, "found by name when a table is made; nothing to try here")
        return
    for task_name in method.tasks:
        task = task_of(task_name)
        for dataset in method.weights_for or ("",):
            tried: set[int] = set()
            for levels in (task.levels, task.levels[::-1]):
                # The first of these that there are weights for.
                for level in levels:
                    if level in tried:
                        break
                    tried.add(level)
                    where = " ".join(filter(None, (task_name, task.level_label(level), dataset)))
                    try:
                        function = build_method(method, task_name, level, dataset)
                    except NotAvailableError as missing:
                        yield Check(where, None, str(missing))
                        continue
                    except HarnessError as error:
                        yield Check(where, False, str(error))
                        break
                    for check in _check_level(method, task, level, function):
                        yield msgspec.structs.replace(check, what=f"{where}: {check.what}")
                    break


def _check_level(method: Method, task: Task, level: int, function: Callable[[Any], Any]) -> Iterator[Check]:
    restorer = (tensor_restorer if method.on == "tensor" else array_restorer)(function, "whole")
    scale = task.scale(level)
    colour = task.channels == 3

    def run(image: NDArray[np.float64]) -> tuple[NDArray[np.float64] | None, str]:
        if method.random:
            seed_random("check-method")
        try:
            result = restorer(image)
        except Exception as error:
            return None, _told(error)
        wanted = (image.shape[0] * scale, image.shape[1] * scale, *image.shape[2:])
        if result.shape == wanted or (task.luma_suffices and result.shape == wanted[:2]):
            return result, ""
        return None, f"returned {result.shape}, {wanted} was expected"

    for height, width in SIZES:
        image = small_image(height, width, colour)
        start = time.perf_counter()
        result, problem = run(image)
        took = time.perf_counter() - start
        yield Check(f"{width}x{height}", result is not None, problem or f"{took:.2f} s")
    image = small_image(40, 48, colour)
    first, problem = run(image)
    second, again = run(image)
    if first is None or second is None:
        yield Check("deterministic", False, problem or again)
        return
    same = np.array_equal(first, second)
    seeded = " although seeded alike" if method.random else ""
    problem = "" if same else f"two runs differ by up to {np.abs(first - second).max():g}{seeded}"
    yield Check("deterministic", same, problem)
    for what, other in {
        "input outside [0, 1]": image * 3 - 255,
        **{f"flat image of {value}": np.full_like(image, value) for value in (0, 128, 255)},
    }.items():
        result, problem = run(other)
        if result is not None and not other.any() and result.min() < -255 / 2:
            problem = f"returned {result.min() / 255:.2f} for black (as if in [-1, 1])"
        yield Check(what, not problem, problem)
    if method.on == "tensor" and not method.random:
        yield _batch(function, colour)
    if not method.random and (method.on == "array" or getattr(function, "reentrant", False)):
        # Images of a method on arrays, and tiles of a network that says it is reentrant, are computed side by side.
        yield _threads(restorer, colour)


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, HarnessError) else f"{type(error).__name__}: {error}"


def _threads(restorer: Callable[[NDArray[np.float64]], NDArray[np.float64]], colour: bool) -> Check:
    """Images restored in several threads at once must not influence each other."""
    images = [small_image(24, 32, colour, seed) for seed in range(2 * THREADS)]
    try:
        alone = [restorer(image) for image in images]
        # One that puts back what it changes must not do so while another call runs.
        with left_alone(""), ThreadPoolExecutor(THREADS) as pool:
            together = list(pool.map(restorer, images))
    except Exception as error:
        return Check("in threads", False, _told(error))
    difference = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(alone, together, strict=True))
    if difference > TOLERANCE:
        found = f"differs from one by one by {difference:g} gray levels: something is kept between calls"
        return Check("in threads", False, found)
    return Check("in threads", True, "")


def _batch(function: Callable[[Any], Any], colour: bool) -> Check:
    """Images of a batch must not influence each other: beside another one, each is restored as it was."""
    import torch

    from harness.inference.policies import restore

    # As `tensor_restorer` does it: on the device, and a network with what pads its images.
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    apply = functools.partial(restore, function) if isinstance(function, torch.nn.Module) else function
    images = [small_image(24, 32, colour, seed) / 255 for seed in (1, 2, 3)]
    first, second, third = (
        torch.from_numpy(np.atleast_3d(image).transpose(2, 0, 1)).float()[None].to(device) for image in images
    )
    try:
        with torch.inference_mode():
            # Copies: a method may write into its input, and return the same buffer again.
            together, beside = (apply(torch.cat([first, other])).clone() for other in (second, third))
            apart = torch.cat([apply(image.clone()).clone() for image in (first, second)])
    except Exception as error:
        return Check("batch of two", False, _told(error))
    influence = float((together[0] - beside[0]).abs().max()) * 255
    if influence > TOLERANCE:
        return Check("batch of two", False, f"an image changes by {influence:g} gray levels beside another one")
    difference = float((together - apart).abs().max()) * 255
    if difference > ROUNDING:
        return Check("batch of two", False, f"differs from one by one by {difference:g} gray levels")
    return Check("batch of two", True, "")


def small_image(height: int, width: int, colour: bool, seed: int = 0) -> NDArray[np.float64]:
    """Make a smooth image with an edge and some noise, in units of 0..255."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:height, 0:width]
    image = 120 + 60 * np.sin(rows / 7 + seed) * np.cos(columns / 5) + 40.0 * (columns > width // 2)
    if colour:
        image = np.stack([image, image * 0.8 + 10, 255 - image], axis=2)
    found: NDArray[np.float64] = np.clip(np.rint(image + rng.normal(0, 8, image.shape)), 0, 255)
    return found
