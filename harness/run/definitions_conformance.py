"""Conformance of what plugins define besides methods: metrics, degradations, tasks, datasets, tried on small images."""

from __future__ import annotations

import hashlib
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.degradations import DEGRADATIONS
from harness.degradations.defining import Defined
from harness.errors import HarnessError, NotAvailableError
from harness.images import pixels_sha256
from harness.methods.definitions import registry_of
from harness.process_state import Snapshot, told
from harness.protocols import protocol
from harness.protocols.own import Metric
from harness.records.tasks import TASKS, Task
from harness.run.conformance import Check, small_image

# MS-SSIM takes none below 161 pixels.
_SIZES = ((168, 192), (187, 211))


def defining_kinds(name: str) -> list[str]:
    """List the kinds of which something is known by a name; those of the package are not tried, datasets apart."""
    return [kind for kind in _CHECKS if name in registry_of(kind)]


def check_definition(kind: str, name: str) -> Iterator[Check]:
    """Try what a name of a kind (`defining_kinds`) promises.

    Yields: In the order tried; one that fails says in a sentence what is wrong.
    """
    before = Snapshot()
    tried = False
    for check in _CHECKS[kind](registry_of(kind)[name]):
        tried = tried or check.held is not None
        yield check
    changed = before.put_back()
    if tried:
        yield Check("what the process shares", not changed, f"it {told(changed)}" if changed else "left as it was")


def check_elsewhere(kind: str, name: str, found: Iterable[Check], seconds: float) -> Check:
    """Compare what was found with what another process finds.

    What is drawn when a module is imported, or follows Python's hashes of texts, is the same only within a process.

    `kind`, `name`: As of `check_definition`; known to the workspace that the current folder lies in.
    `found`: What came out in this process.
    `seconds`: How long the other may take.
    """
    what = "another process"
    command = [sys.executable, "-P", "-c", f"import {__name__} as told; told.tell(*{(kind, name)!r})"]
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    try:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds
        )
        told_there = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.TimeoutExpired, json.JSONDecodeError, IndexError):
        return Check(what, None, "could not be tried: it gave nothing")
    here = {check.what: check.found for check in found if check.held}
    other = next((each for each, text in told_there if here.get(each, text) != text), "")
    if not other:
        return Check(what, True, "finds the same")
    return Check(
        what,
        False,
        f"finds something else: {other}; seed what is drawn at import, and seed nothing by hash() of a text",
    )


def tell(kind: str, name: str) -> None:
    """Try in this process, and print what held and was found as the last line."""
    from harness.tables.workspace import Workspace

    Workspace.find(needed=False).define()
    found = [(check.what, check.found) for check in _CHECKS[kind](registry_of(kind)[name]) if check.held]
    sys.stdout.write(f"\n{json.dumps(found)}\n")


def _tried(what: str, call: Callable[..., Any], *arguments: Any) -> tuple[Any, Check | None]:
    """Call; give what came out, or the check that tells why nothing did."""
    try:
        return call(*arguments), None
    except NotAvailableError as missing:
        return None, Check(what, None, str(missing))
    except HarnessError as error:
        return None, Check(what, False, str(error))
    except Exception as error:
        return None, Check(what, False, f"{type(error).__name__}: {error}")


def _sample(height: int, width: int, colour: bool, seed: int = 0) -> NDArray[np.uint8]:
    return small_image(height, width, colour, seed).astype(np.uint8)


def _noisy(image: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    noise = np.random.default_rng(7).normal(0, sigma, image.shape)
    return (image + noise).round().clip(0, 255).astype(np.uint8)


def _check_metric(metric: Metric) -> Iterator[Check]:
    least, greatest = metric.range
    bounds = "any value" if math.isinf(least) and math.isinf(greatest) else f"{least:g} to {greatest:g}"
    unit = f" in {metric.unit}" if metric.unit else ", no unit"

    def value(*pairs: tuple[NDArray[Any], NDArray[Any]]) -> float:
        # Of a set all pairs; of an image the first.
        given = [pair if metric.reference else pair[1] for pair in pairs]
        if metric.of == "set":
            return metric(iter(given))
        return metric(*pairs[0]) if metric.reference else metric(pairs[0][1])

    kinds = [(f"colour {width}x{height}", _sample(height, width, True)) for height, width in _SIZES]
    kinds.append(("gray", _sample(*_SIZES[0], False)))
    if metric.luma:
        kinds.append(("luma of float64", _sample(*_SIZES[0], False).astype(float)))
    works = False
    for what, image in kinds:
        worse = _noisy(image.astype(np.uint8), 10).astype(image.dtype)
        pairs, copies = ([(image.copy(), worse.copy()), (worse.copy(), image.copy())] for _ in range(2))
        found, failed = _tried(what, value, *pairs)
        if failed is not None:
            if failed.held is None:
                yield failed
                return
            gray = works and image.dtype == np.uint8 and image.ndim == 2
            yield Check(what, None, f"not of gray images: {failed.found}") if gray else failed
            continue
        works = True
        yield Check(what, True, f"{found:.6g}")
        if not least <= found <= greatest:
            yield Check(f"{what}: range", False, f"{found:.6g} is outside the declared {bounds}; correct one of them")
        again, failed = _tried(what, value, *copies)
        if failed is not None or again != found:
            yield Check(f"{what}: deterministic", False, f"a second call gave {again}; seed what it draws")
        if not (np.array_equal(pairs[0], (image, worse)) and np.array_equal(pairs[1], (worse, image))):
            yield Check(f"{what}: leaves its arrays", False, "it writes into what it is given; copy it first")
    yield Check("declared", True, f"version {metric.version}, {metric.better} is better, {bounds}{unit}")
    if not metric.reference:
        yield Check("better", None, "without a reference no image here is known to be the better one")
        return
    image = _sample(*_SIZES[0], True)
    found_at = []
    for sigma in (0, 5, 40):
        pair = (image, _noisy(image, sigma))
        found, failed = _tried("better", value, pair, pair)
        if failed is not None:
            yield failed
            return
        found_at.append(found)
    equal, near, far = found_at
    sign = 1 if metric.better == "higher" else -1
    right = sign * equal >= sign * near >= sign * far and equal != far
    text = f"equal images {equal:.6g}, little noise {near:.6g}, much noise {far:.6g}"
    yield Check(
        "better", right, text if right else f"{text}, so '{metric.better}' is not the better direction; correct better="
    )


def _input(degrader: Any, image: NDArray[np.uint8], level: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[Any]]:
    """Make of an image what is restored, and its input."""
    reference = degrader.reference(image, level)
    if degrader.name == "pairs":
        return reference, _noisy(image, 5)
    return reference, degrader.degrade(reference, level, np.random.default_rng(seed) if degrader.random else None)


def _check_degradation(degrader: Any) -> Iterator[Check]:
    if degrader.name == "pairs":
        yield Check("pairs", None, "inputs are those of the dataset")
        return
    of_tasks = {level for task in TASKS.values() if task.degradation == degrader.name for level in task.levels}
    levels = getattr(degrader, "levels", ()) or sorted(of_tasks) or (2,)
    yield Check("declared", True, f"version {degrader.version}, {degrader.output}, levels {_list(levels)}")
    for level in levels:
        works = False
        for colour in (True, False):
            what = f"level {level}, {'colour' if colour else 'gray'}"
            image = _sample(*_SIZES[0], colour)

            def make(seed: int, image: NDArray[np.uint8] = image, level: int = level) -> NDArray[Any]:
                return _input(degrader, image, level, seed)[1]

            first, failed = _tried(what, make, 1)
            if failed is not None:
                yield failed if colour or not works else Check(what, None, f"not of gray images: {failed.found}")
                continue
            works = True
            height, width = first.shape[:2]
            about = f"{width}x{height} {first.dtype}, {first.min():.4g} to {first.max():.4g}"
            yield Check(what, True, f"{about}, SHA-256 {hashlib.sha256(first.tobytes()).hexdigest()[:12]}")
            if not np.array_equal(first, make(1)):
                yield Check(f"{what}: deterministic", False, "a second call gave another input"
                            + ("; draw from the generator alone" if degrader.random else "; declare random=True, "
                               "and draw from the generator that it is then given"))  # fmt: skip
            elif degrader.random and np.array_equal(first, make(2)):
                yield Check(f"{what}: draws", False, "another generator made no other input; take random=True away")
            if first.dtype == np.float64 and 0 < np.abs(first).max() <= 2:
                yield Check(f"{what}: range", False, "floats up to 2: as if in 0..1; multiply by 255")
            if not isinstance(degrader, Defined):
                continue
            given = degrader.reference(image, level).copy()
            kept = given.copy()
            degrader.function(given, level, *([np.random.default_rng(1)] if degrader.random else []))
            if not np.array_equal(given, kept):
                yield Check(f"{what}: leaves its image", False, "it writes into what it is given; copy it first")


def _list(levels: Any) -> str:
    return ", ".join(map(str, levels))


def _check_task(task: Task) -> Iterator[Check]:
    yield Check(
        "declared", True, f"levels {_list(task.levels)}, degradation {task.degradation}, {task.channels} channels"
    )
    degrader = DEGRADATIONS.get(task.degradation)
    if degrader is None:
        yield Check("degradation", False, f"'{task.degradation}' is not known; define it or correct the name")
        return
    for name in task.metrics:
        _, failed = _tried(f"protocol {name}", protocol, name)
        if failed is not None:
            yield failed
            return
    image = _sample(*_SIZES[0], task.channels == 3)
    for level in task.levels:
        what = task.level_label(level) or "its inputs"
        found, failed = _tried(what, _input, degrader, image, level, 1)
        if failed is not None:
            yield failed
            continue
        reference, made = found
        scale = task.scale(level)
        wanted = (reference.shape[0] // scale, reference.shape[1] // scale)
        if made.shape[:2] != wanted:
            sizes = f"inputs are {made.shape[1]}x{made.shape[0]} and not {wanted[1]}x{wanted[0]}"
            why = "a task whose level_name is 'scale', and no other, has smaller inputs"
            yield Check(what, False, f"{sizes}; {why}")
            continue
        if (reference.ndim == 3) != (task.channels == 3):
            has = "3 channels" if reference.ndim == 3 else "1 channel"
            yield Check(what, False, f"what is restored has {has}, the task {task.channels}; correct channels=")
            continue
        for name in task.metrics:
            of = protocol(name)
            if of.of_set:
                continue
            found, failed = _tried(f"{what}, {name}", of.measure, reference, _noisy(reference, 5), scale)
            yield failed or Check(f"{what}, {name}", True, f"{found:.6g}")


def _check_dataset(made: Any) -> Iterator[Check]:
    def whole() -> dict[str, list[str]]:
        return {
            name: [f"{array.shape[1]}x{array.shape[0]} {pixels_sha256(array)}" for array in roles.values()]
            for name, roles in made.images()
        }

    first, failed = _tried("images", whole)
    if failed is not None:
        yield failed
        return
    digest = hashlib.sha256(repr(first).encode()).hexdigest()[:12]
    yield Check(
        "images", True, f"{len(first)} {'pairs' if made.record.kind == 'pairs' else 'images'}, SHA-256 {digest}"
    )
    again, failed = _tried("deterministic", whole)
    same = again == first
    changed = next((name for name in first if again is None or again.get(name) != first[name]), "")
    yield failed or Check(
        "deterministic", same, "" if same else f"a second call gave another '{changed}'; seed what it draws"
    )
    if made.record.licence == "not stated":
        yield Check("licence", None, "not stated; say it with licence=, for those who read the tables")


_CHECKS: dict[str, Callable[[Any], Iterator[Check]]] = {
    "metric": _check_metric,
    "degradation": _check_degradation,
    "task": _check_task,
    "dataset": _check_dataset,
}
