"""Restore: run a method on a dataset's inputs and keep 8-bit PNGs, as the papers did.

Finished images go to a folder of their own, ``work/partial``, named by everything that determines them: code, weights,
the files that the method depends on, versions of libraries, inputs. An interrupted run therefore continues where it
stopped, and nothing computed under other circumstances is ever taken up.
"""

from __future__ import annotations

import glob
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from textwrap import shorten
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.assets.inputs import InputRecord, iterate_inputs
from harness.degradations import DEGRADATIONS, Degradation, degradation
from harness.errors import HarnessError, NotAvailableError
from harness.files import file_sha256, write_json
from harness.images import pixels_sha256, write_fine_png, write_png
from harness.methods import Method, build_method
from harness.metrics.quantization import to_uint8
from harness.process_state import core_count
from harness.records.cells import Group, InputId, NoiseDraws, input_ids
from harness.records.in_use import name_in_use
from harness.records.loading import load_json
from harness.records.restored import RECORD, LevelRecord, OwnFile, RestoredRecord, read_pixels
from harness.records.runs import Clock, RunRecord, device_name, library_versions
from harness.records.tasks import TASKS
from harness.run.apply import (
    SHRINKING,
    SharedResultError,
    WrongResultError,
    array_restorer,
    free_memory,
    image_restorer,
    out_of_memory,
    seed_random,
    tensor_restorer,
)

# Attempts at an image that runs out of memory, each with less computed at once; the last is tile by tile.
MOST_SHRINKING = 3

# Beside the images of a level once all were restored: the hashes of their pixels.
FINISHED = "finished.json"
# Beside the levels of a group once its images were measured, so that DVC has recorded them: which levels.
RECORDED = "recorded.json"

# Restored pixels from an input's name and pixels (units of 0..255), with less computed at once the larger the number.
Restoring = Callable[[InputId, NDArray[Any], int], NDArray[np.float64]]
# An input, what a method made of it, and the seconds that this took.
_Restored = tuple[InputId, NDArray[np.float64], float]


def restore(
    group: Group,
    method: Method,
    levels: tuple[int, ...],
    inputs: InputRecord,
    *,
    data: Path,
    partial: Path,
    target: Path,
    noise: NoiseDraws,
    code: str,
    packages: Collection[str] = (),
    shrink: int = 0,
    anew: bool = False,
    only: Collection[InputId] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[RestoredRecord, RunRecord]:
    """Restore every input of a group into `target`.

    `inputs`: The recorded hashes of the inputs; an input that differs stops the run.
    `data`, `partial`, `target`: Folder of fetched files, of unfinished work, and of the result (replaced when
        everything is done).
    `packages`: Installed packages that the method's own code imports: unfinished work of other versions is not taken
        up.
    `shrink`: How many times what is computed at once is to be reduced from the start (`harness.run.apply`).
    `anew`: Take up nothing that was finished before.
    `only`: Restore these inputs alone, if any are named: a sample.
    `progress`: Called with the numbers of finished and of all images.
    Returns `record`: Also written to `target`/restored.json.
    Returns `run`: How this run went.
    Raises HarnessError: The method failed, or returned something that is no image of the right size.
    """
    clock = Clock()
    if anew:
        shutil.rmtree(unfinished(partial, group), ignore_errors=True)
    _drop_recorded(unfinished(partial, group), levels)
    degrader = degradation(group.degradation)
    record_levels: dict[int, LevelRecord] = {}
    images: dict[str, str] = {}
    seconds: dict[str, float] = {}
    retries: dict[str, str] = {}
    reason = inputs.reason
    depends = depends_sha256(method)
    folders: dict[int, Path] = {}
    kept: list[int] = []
    if not reason:
        fetched = open_dataset(group.dataset, data)
        ids = [
            input_id
            for input_id in input_ids(fetched.image_ids, levels, degrader.random, noise)
            if not only or input_id in only
        ]
        _check_recorded(ids, inputs, group)
        read = fetched.reading_once(input_id.image for input_id in ids)
        done = 0
        for level in levels:
            of_level = [input_id for input_id in ids if input_id.level == level]
            with _weights_used() as (used, own):
                try:
                    restorer = _restorer(method, group, level, depends)
                except NotAvailableError as error:
                    record_levels[level] = LevelRecord(str(error), {}, error.missing)
                    done += len(of_level)
                    continue
            _check_unchanged(method, depends)
            _check_named(method, own, depends)
            own = _own_files(method, depends) | own
            record_levels[level] = LevelRecord("", dict(sorted(used.items())), own_files=dict(sorted(own.items())))
            circumstances = (
                msgspec.to_builtins(group),
                level,
                sorted(used.items()),
                code,
                degrader.version,
                sorted(depends.items()),
                sorted(library_versions(packages).items()),
                device_name() if method.on == "tensor" else "cpu",
                [(input_id.file, inputs.inputs[input_id.file]) for input_id in of_level],
            )
            digest = hashlib.sha256(msgspec.json.encode(circumstances)).hexdigest()[:24]
            folder = folders[level] = unfinished(partial, group) / f"{level}-{digest}"
            finished_before = (folder / FINISHED).is_file()
            try:
                for input_id, digest, took in _restore_level(
                    fetched, degrader, read, method, restorer, of_level, inputs, folder, group, shrink, retries
                ):
                    images[input_id.file] = digest
                    seconds[input_id.file] = took
                    done += 1
                    progress(done, len(ids))
                if finished_before and not any(seconds[i.file] for i in of_level):
                    kept.append(level)
            except SharedResultError:
                # What was finished may be mixed as well.
                shutil.rmtree(folder, ignore_errors=True)
                raise
            except NotAvailableError as error:
                # Released images exist for some datasets only.
                record_levels[level] = LevelRecord(str(error), {}, error.missing)
                images = {file: digest for file, digest in images.items() if not file.startswith(f"{level}/")}
    # DVC hashes them when the stage has ended: it would record new files as those that made these images.
    _check_unchanged(method, depends)
    record = RestoredRecord(
        group=group,
        origin=method.origin,
        degradation_version=degrader.version,
        code=code,
        reason=reason,
        levels=record_levels,
        images=images,
        missing=inputs.missing,
    )
    _collect(record, folders, partial, target)
    seed = "per image, CRC-32 of dataset/level/draw/image" if method.random else ""
    return record, clock.finish(seconds=seconds, retries=retries, seed=seed, kept=kept)


def _check_recorded(ids: list[InputId], inputs: InputRecord, group: Group) -> None:
    missing = [input_id.file for input_id in ids if input_id.file not in inputs.inputs]
    if missing:
        raise HarnessError(
            f"the recorded inputs of '{group.dataset}' under '{group.degradation}' lack {missing[0]}; "
            "delete the record and run harness repro"
        )


@contextmanager
def _weights_used() -> Iterator[tuple[dict[str, str], dict[str, OwnFile]]]:
    """Collect the SHA-256 of every weights file that is loaded inside the block, and which are the user's own."""
    from harness.assets.weights.recording import recording

    used: dict[str, str] = {}
    own: dict[str, OwnFile] = {}
    with recording() as loaded:
        yield used, own
    used.update({f"{item.name}/{item.file}".lstrip("/"): item.sha256 for item in loaded})
    own.update({item.file: OwnFile(item.sha256, item.own, item.part) for item in loaded if item.own})


def _own_files(method: Method, depends: Mapping[str, str]) -> dict[str, OwnFile]:
    """Describe the single files that a method depends on; what it finds in folders is known by the restored images."""
    found = {}
    for path in method.depends:
        if path.is_file() and depends.get(path.as_posix()):
            found[name_in_use(path)] = OwnFile(depends[path.as_posix()], path.stat().st_size)
    return found


def _restorer(method: Method, group: Group, level: int, depends: Collection[str]) -> Restoring:
    """Build the method and wrap it: an input's name and pixels in units of 0..255 in, restored pixels out."""
    with _in_this_process(f"method '{method.name}'"):
        function = build_method(method, group.task, level, group.dataset)
    if method.on == "images":
        find = image_restorer(_finding_named(function, method, depends), group.saving)
        return lambda input_id, degraded, shrink: find(group.dataset, input_id.image)
    if method.on == "tensor":
        scale = TASKS[group.task].scale(level)
        rule = method.chop.get(group.task, "")
        restorers = {0: tensor_restorer(function, group.policy, rule, scale)}

        def on_tensor(input_id: InputId, degraded: NDArray[Any], shrink: int) -> NDArray[np.float64]:
            if shrink not in restorers:
                restorers[shrink] = tensor_restorer(function, group.policy, rule, scale, shrink)
            return restorers[shrink](degraded)

        return on_tensor
    restorer = array_restorer(function, group.policy)
    return lambda input_id, degraded, shrink: restorer(degraded)


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
    degrader: Degradation,
    read: Callable[[str], NDArray[np.uint8]],
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
    recorded: dict[str, str] = {}
    if (folder / FINISHED).is_file():
        try:
            recorded = load_json(folder / FINISHED, dict[str, str])
        except HarnessError:
            shutil.rmtree(folder)
    for input_id in ids:
        # Images that were restored elsewhere are read again: nobody knows what they were when the last run read them.
        finished = None if method.on == "images" else _finished(folder / input_id.file, group.saving)
        # Whoever edits a restored image edits this one, too, where both are links to one file.
        if finished is not None and recorded.get(input_id.file, finished) != finished:
            (folder / input_id.file).unlink()
            finished = None
        if finished is None:
            todo.append(input_id)
        else:
            yield input_id, finished, 0.0
    workers = core_count()

    def run(input_id: InputId, reference: NDArray[np.uint8], degraded: NDArray[Any], digest: str) -> _Restored:
        if digest != inputs.inputs[input_id.file]:
            raise HarnessError(
                f"{group.dataset}/{input_id.file}: the input made now differs from the recorded one "
                f"({digest[:12]} instead of {inputs.inputs[input_id.file][:12]}); {_why_other(group.degradation)}"
            )
        start = time.perf_counter()
        restored = _run(method, restorer, degraded, input_id, group, shrink, retries)
        took = time.perf_counter() - start
        _check_size(restored, reference, degraded, method, input_id, group)
        return input_id, restored, took

    def keep(input_id: InputId, restored: NDArray[np.float64], took: float) -> tuple[InputId, str, float]:
        return input_id, _save(folder / input_id.file, restored, group.saving), took

    # Torch uses every core by itself; random methods are seeded one image at a time.
    in_turn = method.on == "tensor" or method.random
    with ThreadPoolExecutor(max_workers=workers) as pool:
        running: list[Future[tuple[InputId, str, float]]] = []
        for item in iterate_inputs(fetched, degrader, todo, workers, read):
            # A network goes on with the next image while this one is written.
            running.append(pool.submit(keep, *run(*item)) if in_turn else pool.submit(lambda i: keep(*run(*i)), item))
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
    input_id: InputId,
    group: Group,
    shrink: int,
    retries: dict[str, str],
) -> NDArray[np.float64]:
    what = _cell(method, input_id, group)
    try:
        restored = _attempt(method, restorer, degraded, input_id, group, shrink)
    except _OutOfMemoryError:
        # Images of a method on arrays are restored side by side: a second attempt is made alone.
        with _alone:
            for smaller in range(shrink + 1, shrink + 1 + MOST_SHRINKING):
                free_memory()
                try:
                    restored = _attempt(method, restorer, degraded, input_id, group, smaller)
                except _OutOfMemoryError:
                    continue
                retries[input_id.file] = f"out of memory; restored with 1/{SHRINKING**smaller} of the tiles and buffers"
                break
            else:
                raise HarnessError(
                    f"{what}: out of memory, also with less computed at once; use a tiled policy (chop), a larger "
                    "machine, or fewer jobs (-j)"
                ) from None
    except WrongResultError as error:
        raise type(error)(f"{what} {error}; nothing is saved for this image") from None
    except HarnessError:
        raise
    except Exception as error:
        channels = TASKS[group.task].channels
        if degraded.ndim == 2 and channels > 1:
            # A set that is gray throughout: other methods may take it, so the table goes on without this one.
            brief = shorten(str(error), 120, placeholder=" …")
            raise NotAvailableError(
                f"method '{method.name}' takes no gray image, and {group.dataset}/{input_id.image} has 1 channel "
                f"('{group.task}' is a task of {channels}): store the set in colour ({type(error).__name__}: {brief})"
            ) from error
        raise HarnessError(f"{what} failed: {type(error).__name__}: {error}") from error
    return restored


def _cell(method: Method, input_id: InputId, group: Group) -> str:
    return f"method '{method.name}' on {group.dataset}/{input_id.image} at level {input_id.level}"


class _OutOfMemoryError(Exception):
    """A method ran out of memory."""


_alone = threading.Lock()


def _attempt(
    method: Method, restorer: Restoring, degraded: NDArray[Any], input_id: InputId, group: Group, shrink: int
) -> NDArray[np.float64]:
    if method.random:
        seed_random(f"{group.dataset}/{input_id.file}")
    try:
        # A method may write into its input; the next attempt needs it as it was.
        with _in_this_process(_cell(method, input_id, group)):
            return restorer(input_id, degraded.copy(), shrink)
    except Exception as error:
        if not out_of_memory(error):
            raise
    # Outside the handler: its exception would keep the failed attempt's arrays alive.
    raise _OutOfMemoryError


def _why_other(name: str) -> str:
    """Say why an input may not be what it was: one's own degradation is not seeded, or a library has changed."""
    own = name not in DEGRADATIONS.built_in
    first = f"`harness check {name}` tells whether it draws without a seed; else a" if own else "a"
    return (
        f"{first} library has changed: delete their record in work/inputs, run harness repro, and compare the versions"
    )


def _check_size(
    pixels: NDArray[np.float64],
    reference: NDArray[np.uint8],
    degraded: NDArray[Any],
    method: Method,
    input_id: InputId,
    group: Group,
) -> None:
    task = TASKS[group.task]
    # Of images that were restored elsewhere some hold the luma; protocols say what that is good for.
    luma = (method.on == "images" or task.luma_suffices) and pixels.shape == reference.shape[:2]
    if luma or pixels.shape == reference.shape or (method.on == "images" and pixels.shape == (*reference.shape, 3)):
        return
    problem = (
        f"method '{method.name}' on {group.dataset}/{input_id.image}: returned {pixels.shape} for an input of "
        f"{degraded.shape}; the ground truth is {reference.shape}"
    )
    if degraded.ndim == 2 and pixels.shape[:2] == reference.shape and task.channels > 1:
        raise NotAvailableError(f"{problem}: it takes no gray image")
    raise HarnessError(problem)


def depends_sha256(method: Method) -> dict[str, str]:
    """Hash the files, and those in the folders, that a method says it depends on; empty text for what is not there.

    Returns: SHA-256 by path.
    Raises HarnessError: A folder holds a link to another folder: DVC does not look behind it, and would keep rows of
        other files.
    """
    found: dict[str, str] = {}
    for path in method.depends:
        # As its own code finds it: DVC runs a stage in the workspace's folder.
        for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
            if file != path and file.is_symlink() and file.is_dir():
                raise HarnessError(
                    f"{file}: is a link to a folder, in which nobody would notice a change; name the folder itself "
                    f"among what '{method.name}' depends on"
                )
            # Importing a helper from the folder leaves its compiled form there.
            if not file.is_dir() and "__pycache__" not in file.parts:
                found[file.as_posix()] = file_sha256(file, "")
    return found


def _check_unchanged(method: Method, depends: Mapping[str, str]) -> None:
    now = depends_sha256(method)
    changed = sorted(name for name in now.keys() | depends.keys() if now.get(name) != depends.get(name))
    if changed:
        raise HarnessError(f"{changed[0]}: was changed while '{method.name}', which depends on it, ran; run it again")


def _check_named(method: Method, own: Collection[str], depends: Collection[str]) -> None:
    """Refuse weights of the user's own that a method does not depend on: rows of replaced ones would stand."""
    named = {name_in_use(Path(file)) for file in depends}
    if unnamed := sorted(set(own) - named):
        raise HarnessError(
            f"method '{method.name}' loads {unnamed[0]}, which it does not name: a changed file would leave its rows "
            f"as they are; write depends=['{unnamed[0]}'] in its @method line"
        )


def _finding_named(
    function: Callable[[str, str], Any], method: Method, depends: Collection[str]
) -> Callable[[str, str], Any]:
    """Refuse images that a method finds and does not depend on, as `_check_named` refuses weights."""
    named = {Path(file).resolve() for file in depends}

    def find(dataset: str, image: str) -> Any:
        found = function(dataset, image)
        if isinstance(found, str | os.PathLike) and not method.released:
            path = Path(found)
            if path.exists() and path.resolve() not in named:
                folder = name_in_use(path.parent)
                raise HarnessError(
                    f"method '{method.name}' finds {name_in_use(path)}, which it does not name: a changed image would "
                    f"leave its rows as they are; write depends=['{folder}'] in its @method line"
                )
        return found

    return find


def _collect(record: RestoredRecord, folders: Mapping[int, Path], partial: Path, target: Path) -> None:
    """Link the finished images of every level into the target folder.

    They stay in their own folders, too, until others take their place: DVC clears the target before it runs a stage
    again, and a level that is added to a table is no reason to restore the others.
    """
    # Left behind by runs that were killed at this point; DVC's lock lets one process alone write here.
    for stale in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        shutil.rmtree(stale, ignore_errors=True)
    building = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        building.mkdir(parents=True)
        for level, folder in folders.items():
            for file in record.images:
                if file.startswith(f"{level}/"):
                    destination = building / file
                    destination.parent.mkdir(parents=True, exist_ok=True)
                    _link(folder / file, destination)
        write_json(building / RECORD, record)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(building, target)
        for level, folder in folders.items():
            of_level = {file: digest for file, digest in record.images.items() if file.startswith(f"{level}/")}
            write_json(folder / FINISHED, of_level)
        (unfinished(partial, record.group) / RECORDED).unlink(missing_ok=True)
        for outdated in set(unfinished(partial, record.group).glob("*")) - set(folders.values()):
            shutil.rmtree(outdated, ignore_errors=True)
    except OSError as error:
        raise HarnessError(
            f"{target}: cannot be written ({error.strerror or error}); the finished images are kept in {partial}"
        ) from error
    finally:
        shutil.rmtree(building, ignore_errors=True)


def unfinished(partial: Path, group: Group) -> Path:
    """Folder of a group's finished images, by level and circumstances."""
    return partial / group.place


def keep_for_further_levels(partial: Path, group: Group, levels: Collection[int]) -> None:
    """Note that DVC has recorded a group's images: from now on they serve only a run of other levels."""
    if unfinished(partial, group).is_dir():
        write_json(unfinished(partial, group) / RECORDED, sorted(levels))


def _drop_recorded(folder: Path, levels: Collection[int]) -> None:
    """Forget finished images where just the recorded levels are asked for: then they are to be made anew."""
    try:
        recorded = load_json(folder / RECORDED, tuple[int, ...]) if (folder / RECORDED).is_file() else None
    except HarnessError:
        recorded = tuple(levels)
    if recorded is not None and set(levels) == set(recorded):
        shutil.rmtree(folder)


def _link(source: Path, destination: Path) -> None:
    try:
        os.link(source, destination)
    except OSError:
        shutil.copyfile(source, destination)
