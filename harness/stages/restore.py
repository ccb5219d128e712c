"""Restore: run a method on a dataset's inputs and keep 8-bit PNGs, as the papers did.

Finished images go to a folder of their own, ``work/partial``, named by everything that determines them. An interrupted
run therefore continues where it stopped, and nothing computed under other weights or code is ever taken up.
"""

from __future__ import annotations

import glob
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.cells import Group, InputId, Noise, input_ids
from harness.cores import core_count
from harness.datasets.reading import FetchedDataset, open_dataset
from harness.degradations import Degradation, degradation
from harness.errors import HarnessError, NotAvailableError
from harness.files import write_json
from harness.images import pixels_sha256, read_result, write_fine_png, write_png
from harness.methods import Method, build_method
from harness.metrics.quantization import to_uint8
from harness.provenance.runs import Clock, Run
from harness.stages.apply import SHRINKING, array_restorer, free_memory, out_of_memory, tensor_restorer
from harness.stages.inputs import InputRecord, iterate_inputs
from harness.stages.restored import RECORD, LevelRecord, RestoredRecord, read_pixels
from harness.tasks import TASKS

# Attempts at an image that runs out of memory, each with less computed at once; the last is tile by tile.
MOST_SHRINKING = 3

# Restored pixels from an input's name and pixels (units of 0..255), with less computed at once the larger the number.
Restoring = Callable[[InputId, NDArray[Any], int], NDArray[np.float64]]


def restore(
    group: Group,
    method: Method,
    levels: tuple[int, ...],
    inputs: InputRecord,
    *,
    data: Path,
    partial: Path,
    target: Path,
    noise: Noise,
    code: str,
    shrink: int = 0,
    only: Collection[InputId] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[RestoredRecord, Run]:
    """Restore every input of a group into `target`.

    Parameters
    ----------
    group : Group
        What to restore, with what.
    method : Method
        The method itself.
    levels : tuple of int
        Levels.
    inputs : InputRecord
        The recorded hashes of the inputs; an input that differs stops the run.
    data, partial, target : path
        Folder of fetched files, of unfinished work, and of the result (replaced when everything is done).
    noise : Noise
        Noise draws.
    code : str
        Fingerprint of the restoring code.
    shrink : int
        How many times what is computed at once is to be reduced from the start (`harness.stages.apply`).
    only : collection of InputId
        Restore these inputs alone, if any are named: a sample.
    progress : callable
        Called with the numbers of finished and of all images.

    Returns
    -------
    record : RestoredRecord
        Also written to `target`/restored.json.
    run : Run
        How this run went.

    Raises
    ------
    HarnessError
        The method failed, or returned something that is no image of the right size.
    """
    clock = Clock()
    made = degradation(group.degradation)
    record_levels: dict[int, LevelRecord] = {}
    images: dict[str, str] = {}
    seconds: dict[str, float] = {}
    retries: dict[str, str] = {}
    reason = inputs.reason
    if not reason:
        fetched = open_dataset(group.dataset, data)
        ids = [which for which in input_ids(fetched.image_ids, levels, made.random, noise) if not only or which in only]
        _check_recorded(ids, inputs, group)
        done = 0
        for level in levels:
            of_level = [which for which in ids if which.level == level]
            with _weights_used() as used:
                try:
                    restorer = _restorer(method, group, level)
                except NotAvailableError as missing:
                    record_levels[level] = LevelRecord(str(missing), {})
                    done += len(of_level)
                    continue
            record_levels[level] = LevelRecord("", dict(sorted(used.items())))
            folder = partial / _key(group, level, method, used, code, made)
            try:
                for which, digest, took in _restore_level(
                    fetched, made, method, restorer, of_level, inputs, folder, group, shrink, retries
                ):
                    images[which.file] = digest
                    seconds[which.file] = took
                    done += 1
                    progress(done, len(ids))
            except NotAvailableError as missing:
                # Released images exist for some datasets only.
                record_levels[level] = LevelRecord(str(missing), {})
                images = {file: digest for file, digest in images.items() if not file.startswith(f"{level}/")}
    record = RestoredRecord(
        group=group,
        origin=method.origin,
        degradation_version=made.version,
        code=code,
        reason=reason,
        levels=record_levels,
        images=images,
    )
    _collect(record, partial, target, method, made)
    seed = "per image, CRC-32 of dataset/level/draw/image" if method.random else ""
    return record, clock.finish(seconds=seconds, retries=retries, seed=seed)


def _check_recorded(ids: list[InputId], inputs: InputRecord, group: Group) -> None:
    missing = [which.file for which in ids if which.file not in inputs.inputs]
    if missing:
        raise HarnessError(
            f"the recorded inputs of '{group.dataset}' under '{group.degradation}' lack {missing[0]}; "
            "make them again: harness inputs"
        )


@contextmanager
def _weights_used() -> Iterator[dict[str, str]]:
    """Collect the SHA-256 of every weights file that is loaded inside the block."""
    from harness.weights.recording import recording

    used: dict[str, str] = {}
    with recording() as loaded:
        yield used
    used.update({f"{item.name}/{item.file}": item.sha256 for item in loaded})


def _restorer(method: Method, group: Group, level: int) -> Restoring:
    """Build the method and wrap it: an input's name and pixels in units of 0..255 in, restored pixels out."""
    with _in_this_process(f"method '{method.name}'"):
        function = build_method(method, group.task, level, group.dataset)
    if method.on == "images":

        def released(which: InputId, degraded: NDArray[Any], shrink: int) -> NDArray[np.float64]:
            found = function(group.dataset, which.image)
            stored = read_result(found, group.saving) if isinstance(found, str | os.PathLike) else found
            return np.asarray(stored, dtype=np.float64)

        return released
    if method.on == "tensor":
        scale = level if group.task == "sr" else 1
        rule = method.chop.get(group.task, "")
        restorers = {0: tensor_restorer(function, group.policy, rule, scale)}

        def on_tensor(which: InputId, degraded: NDArray[Any], shrink: int) -> NDArray[np.float64]:
            if shrink not in restorers:
                restorers[shrink] = tensor_restorer(function, group.policy, rule, scale, shrink)
            return restorers[shrink](degraded)

        return on_tensor
    restorer = array_restorer(function, group.policy)
    return lambda which, degraded, shrink: restorer(degraded)


@contextmanager
def _in_this_process(what: str) -> Iterator[None]:
    """Keep a method from ending this process, and a process it forked from going on with the work of this one."""
    process = os.getpid()
    try:
        yield
    except SystemExit as error:
        if os.getpid() == process:
            raise HarnessError(f"{what} tried to end the program (exit status {error.code})") from None
    finally:
        if os.getpid() != process:
            # Not sys.exit: the copy must not flush this process's buffers or write its files.
            os._exit(1)


def _restore_level(
    fetched: FetchedDataset,
    made: Degradation,
    method: Method,
    restorer: Restoring,
    ids: list[InputId],
    inputs: InputRecord,
    folder: Path,
    group: Group,
    shrink: int,
    retries: dict[str, str],
) -> Iterator[tuple[InputId, str, float]]:
    """Restore the inputs of one level that are not in `folder` yet; yield the hash of every image's pixels."""
    todo = []
    for which in ids:
        finished = _finished(folder / which.file, group.saving)
        if finished is None:
            todo.append(which)
        else:
            yield which, finished, 0.0
    workers = core_count()

    def one(which: InputId, reference: NDArray[np.uint8], degraded: NDArray[Any]) -> tuple[InputId, str, float]:
        found = pixels_sha256(degraded)
        if found != inputs.inputs[which.file]:
            raise HarnessError(
                f"{group.dataset}/{which.file}: the input made now differs from the recorded one "
                f"({found[:12]} instead of {inputs.inputs[which.file][:12]}); a library has changed: "
                "make the inputs again with harness inputs, and compare the versions"
            )
        start = time.perf_counter()
        restored = _run(method, restorer, degraded, which, group, shrink, retries)
        took = time.perf_counter() - start
        _check_size(restored, reference, degraded, method, which, group)
        return which, _save(folder / which.file, restored, group.saving), took

    stream = iterate_inputs(fetched, made, todo, workers)
    if method.on == "tensor" or method.random:
        # Torch uses every core by itself; random methods are seeded one image at a time.
        for item in stream:
            yield one(*item)
        return
    with ThreadPoolExecutor(max_workers=workers) as pool:
        running: list[Any] = []
        for item in stream:
            running.append(pool.submit(one, *item))
            if len(running) > workers:
                yield running.pop(0).result()
        for future in running:
            yield future.result()


def _save(file: Path, restored: NDArray[np.float64], saving: str) -> str:
    """Write restored pixels under a saving rule; return the hash of the pixels a reader will get."""
    if saving == "unrounded":
        return pixels_sha256(write_fine_png(file, restored))
    pixels = to_uint8(restored, saving)  # type: ignore[arg-type]
    write_png(file, pixels)
    return pixels_sha256(pixels)


def _finished(file: Path, saving: str) -> str | None:
    """Hash of a finished image of an earlier run, or None if it is not there or damaged."""
    if not file.is_file():
        return None
    try:
        return pixels_sha256(read_pixels(file, saving))
    except HarnessError:
        file.unlink()
        return None


def _run(
    method: Method,
    restorer: Restoring,
    degraded: NDArray[Any],
    which: InputId,
    group: Group,
    shrink: int,
    retries: dict[str, str],
) -> NDArray[np.float64]:
    what = _cell(method, which, group)
    try:
        restored = _attempt(method, restorer, degraded, which, group, shrink)
    except _OutOfMemoryError:
        # Images of a method on arrays are restored side by side: a second attempt is made alone.
        with _alone:
            for smaller in range(shrink + 1, shrink + 1 + MOST_SHRINKING):
                free_memory()
                try:
                    restored = _attempt(method, restorer, degraded, which, group, smaller)
                except _OutOfMemoryError:
                    continue
                retries[which.file] = f"out of memory; restored with 1/{SHRINKING**smaller} of the tiles and buffers"
                break
            else:
                raise HarnessError(
                    f"{what}: out of memory, also with less computed at once; use a tiled policy (chop), a larger "
                    "machine, or fewer jobs (-j)"
                ) from None
    except HarnessError:
        raise
    except Exception as error:
        channels = TASKS[group.task].channels
        if degraded.ndim == 2 and channels > 1:
            # A set that is gray throughout: other methods may take it, so the table goes on without this one.
            brief = shorten(str(error), 120, placeholder=" …")
            raise NotAvailableError(
                f"method '{method.name}' takes no gray image, and {group.dataset}/{which.image} has 1 channel "
                f"('{group.task}' is a task of {channels}): store the set in colour ({type(error).__name__}: {brief})"
            ) from error
        raise HarnessError(f"{what} failed: {type(error).__name__}: {error}") from error
    if not np.isfinite(restored).all():
        raise HarnessError(f"{what} returned NaN or infinity; nothing is saved for this image")
    return restored


def _cell(method: Method, which: InputId, group: Group) -> str:
    return f"method '{method.name}' on {group.dataset}/{which.image} at level {which.level}"


class _OutOfMemoryError(Exception):
    """A method ran out of memory."""


_alone = threading.Lock()


def _attempt(
    method: Method, restorer: Restoring, degraded: NDArray[Any], which: InputId, group: Group, shrink: int
) -> NDArray[np.float64]:
    if method.random:
        _seed(f"{group.dataset}/{which.file}")
    try:
        # A method may write into its input; the next attempt needs it as it was.
        with _in_this_process(_cell(method, which, group)):
            return np.asarray(restorer(which, degraded.copy(), shrink), dtype=np.float64)
    except Exception as error:
        if not out_of_memory(error):
            raise
    # Outside the handler: its exception would keep the failed attempt's arrays alive.
    raise _OutOfMemoryError


def _seed(name: str) -> None:
    import random
    import zlib

    seed = zlib.crc32(name.encode())
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - a plugin may use the global state
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _check_size(
    pixels: NDArray[np.float64],
    reference: NDArray[np.uint8],
    degraded: NDArray[Any],
    method: Method,
    which: InputId,
    group: Group,
) -> None:
    if pixels.shape[:2] == reference.shape[:2] and (pixels.ndim == 2 or pixels.shape[2] == 3):
        return
    raise HarnessError(
        f"method '{method.name}' on {group.dataset}/{which.image}: returned {pixels.shape} for an input of "
        f"{degraded.shape}; the ground truth is {reference.shape}"
    )


def _key(group: Group, level: int, method: Method, used: dict[str, str], code: str, made: Degradation) -> str:
    """Name everything that determines the restored images of a level in one folder name."""
    import hashlib

    identity = (
        msgspec.to_builtins(group),
        level,
        sorted(used.items()),
        code,
        made.version,
    )
    digest = hashlib.sha256(msgspec.json.encode(identity)).hexdigest()[:24]
    return f"{group.method}-{group.dataset}-{level}-{digest}"


def _collect(record: RestoredRecord, partial: Path, target: Path, method: Method, made: Degradation) -> None:
    """Move the finished images of every level into the target folder, then drop the emptied folders."""
    # Left behind by runs that were killed at this point; DVC's lock lets one process alone write here.
    for stale in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        shutil.rmtree(stale, ignore_errors=True)
    building = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        building.mkdir(parents=True)
        folders = set()
        for level, about in record.levels.items():
            if not about.reason:
                folders.add((level, partial / _key(record.group, level, method, about.weights, record.code, made)))
        for level, folder in folders:
            for file in record.images:
                if file.startswith(f"{level}/"):
                    destination = building / file
                    destination.parent.mkdir(parents=True, exist_ok=True)
                    # A link, not a move: if this process dies here, the finished images are still in `partial`.
                    _link(folder / file, destination)
        write_json(building / RECORD, record)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(building, target)
    except OSError as error:
        raise HarnessError(
            f"{target}: cannot be written ({error.strerror or error}); the finished images are kept in {partial}"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)
    for _, folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


def _link(source: Path, destination: Path) -> None:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)
