"""Unpacking releases that are not plain image files: MATLAB arrays, and pairs side by side in one image."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.arrays import look_at_array, open_array
from harness.assets.datasets.folders import files_near, find_below
from harness.assets.datasets.layouts import fits_in_part
from harness.assets.datasets.registry import Dataset
from harness.assets.places import ADVICE
from harness.errors import HarnessError
from harness.files import update_text
from harness.images import look_at_image, read_image, write_png

# The release of SIDD's validation blocks: a variable of its own name in each file, (40, 32, 256, 256, 3) uint8.
_SIDD_FILES = {"input": "ValidationNoisyBlocksSrgb", "target": "ValidationGtBlocksSrgb"}

# The release of DND: images_srgb/0001.mat and so on, each with this variable, (H, W, 3) in [0, 1].
DND_FOLDER = "images_srgb"
DND_VARIABLE = "InoisySRGB"
DND_INFO = "info.mat"  # the boxes that the server scores
# What rounding may add to [0, 1]; a file in other units is far beyond.
_OVERSHOOT = 0.01
_DND_IMAGES = "[0-9][0-9][0-9][0-9].mat"


# An unpacked image: its role, its name, its samples.
_Image = tuple[str, str, NDArray[np.uint8]]


class _Release(NamedTuple):
    """How one kind of release is found, looked at and unpacked."""

    # Its files in a folder, and the role of each where it has one; with it what is missing where they are not all.
    find: Callable[[Dataset, Path, list[str]], tuple[dict[Path, str], str]]
    # Refuses a file that holds something else, by its beginning.
    check: Callable[[Dataset, Path, str], None]
    # The images of a file.
    images: Callable[[Dataset, Path, str], Iterator[_Image]]
    # How many files are written for one of the set's images.
    roles: int


def unpack(record: Dataset, folder: Path, target: Path, names: list[str]) -> bool:
    """Write the images of a packed release as PNGs where a folder holds it.

    `record`: Says how the release is packed.
    `folder`: The user's copy; the release may lie in it, or up to three levels below.
    `target`: Gets ``input/`` and ``target/``; what an earlier run wrote there from these files stays.
    `names`: Relative names of the folder's image files.
    Returns: Whether the release is there.
    Raises HarnessError: It is damaged or holds something else.
    """
    release = KINDS[record.unpack]
    files, missing = release.find(record, folder, names)
    if not files:
        return False
    if missing:
        raise HarnessError(missing)
    if _is_written(target, list(files), release.roles * record.count):
        return True
    for path, role in files.items():
        release.check(record, path, role)
    _clear(target)
    for path, role in files.items():
        for half, name, pixels in release.images(record, path, role):
            write_png(target / half / f"{name}.png", np.ascontiguousarray(pixels))
    update_text(target / _NOTE, json.dumps(_stats(list(files))), ADVICE)
    return True


def packed_files(record: Dataset, folder: Path, names: list[str]) -> dict[Path, str]:
    """Find the files of a packed release in a folder, with their roles; none where it is not there whole."""
    if not record.unpack:
        return {}
    files, missing = KINDS[record.unpack].find(record, folder, names)
    return {} if missing else files


def check_packed(record: Dataset, folder: Path, files: dict[Path, str]) -> list[str]:
    """Look at the beginning of a packed release's files, without unpacking them.

    `files`: What `packed_files` found.
    Returns: What is wrong, one sentence each; empty where it can be unpacked, as far as can be seen.
    """
    problems = []
    for path, role in files.items():
        try:
            KINDS[record.unpack].check(record, path, role)
        except HarnessError as error:
            problems.append(str(error))
    if record.unpack == "dnd" and find_dnd(folder)[1] is None:
        problems.append(f"{folder}: {DND_INFO} is not there; a submission needs the boxes that it holds")
    return problems


# Beside what was unpacked: from which files. Hidden, so that it is no image of the set.
_NOTE = ".unpacked.json"


def _written(target: Path) -> list[Path]:
    return [path for role in ("input", "target") for path in (target / role).glob("*.png")]


def _is_written(target: Path, sources: list[Path], count: int) -> bool:
    """Return whether an earlier run wrote all images from these very files, none of which has changed since."""
    written = _written(target)
    if len(written) != count or any(path.is_symlink() for path in written):
        return False
    try:
        return bool(json.loads((target / _NOTE).read_bytes()) == _stats(sources))
    except (OSError, ValueError):
        return False


def _clear(target: Path) -> None:
    """Take away what was unpacked from other files, and links into another folder; they would mix with the new."""
    unpacked = (target / _NOTE).is_file()
    for path in _written(target):
        if unpacked or path.is_symlink():
            path.unlink(missing_ok=True)


def _stats(sources: list[Path]) -> list[list[int]]:
    """Describe files by inode, size and modification time: copies of another release may be older than the PNGs."""
    return [[stat.st_ino, stat.st_size, stat.st_mtime_ns] for stat in (path.stat() for path in sources)]


def _find_sidd(record: Dataset, folder: Path, names: list[str]) -> tuple[dict[Path, str], str]:
    """Find the files of SIDD's blocks: by name, else by the variable that a MATLAB file holds."""
    found = {role: find_below(folder, f"{variable}.mat") for role, variable in _SIDD_FILES.items()}
    for role, variable in _SIDD_FILES.items():
        for name in files_near(folder, ".mat") if found[role] is None else []:
            with contextlib.suppress(HarnessError):
                look_at_array(folder / name, variable)
                found[role] = folder / name
                break
    files = {path: role for role, path in found.items() if path is not None}
    absent = [f"{_SIDD_FILES[role]}.mat" for role, path in found.items() if path is None]
    if files and absent:
        return files, f"{folder}: holds {next(iter(files)).name} and no {absent[0]}; put both there"
    return files, ""


def _check_sidd(record: Dataset, path: Path, role: str) -> None:
    shape, dtype = look_at_array(path, _SIDD_FILES[role])
    height, width = record.sizes[0] if record.sizes else shape[2:4]
    if len(shape) != 5 or shape[2:] != (height, width, 3) or dtype != np.uint8:
        raise HarnessError(
            f"{path}: holds {shape} {dtype} instead of (40, 32, {height}, {width}, 3) uint8; download it again"
        )
    if shape[0] * shape[1] != record.count:
        raise HarnessError(
            f"{path}: holds {shape[0]} x {shape[1]} blocks, '{record.name}' has {record.count}; download it again"
        )


def _sidd_images(record: Dataset, path: Path, role: str) -> Iterator[_Image]:
    """Give SIDD's validation blocks, ``01-01`` to ``40-32`` (photograph, block)."""
    with open_array(path, _SIDD_FILES[role]) as blocks:
        for photograph in range(blocks.shape[0]):
            for block in range(blocks.shape[1]):
                yield role, f"{photograph + 1:02}-{block + 1:02}", blocks[photograph, block]


def find_dnd(folder: Path) -> tuple[Path | None, Path | None]:
    """Find DND's folder of images and its info.mat in a folder, or up to three levels below, or from inside the former.

    Returns `images`, `info`: None for what is not there.
    """
    if folder.resolve().name == DND_FOLDER:
        return folder, find_below(folder.resolve().parent, DND_INFO)
    return find_below(folder, DND_FOLDER), find_below(folder, DND_INFO)


def _find_dnd_images(record: Dataset, folder: Path, names: list[str]) -> tuple[dict[Path, str], str]:
    holder, _ = find_dnd(folder)
    paths = sorted(holder.glob(_DND_IMAGES)) if holder is not None else []
    missing = ""
    if len(paths) != record.count:
        missing = (
            f"{holder}: holds {len(paths)} files of {record.count} (0001.mat to {record.count:04}.mat); get the rest"
        )
    return dict.fromkeys(paths, "input"), missing


def _check_dnd(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    if len(shape) != 3 or shape[-1] != 3 or dtype.kind != "f":
        raise HarnessError(
            f"{path}: '{DND_VARIABLE}' is {shape} {dtype} instead of (H, W, 3) floating point; download it again"
        )


def read_dnd_image(path: Path) -> NDArray[np.float32]:
    """Read a noisy photograph of DND, ``(H, W, 3) float32`` in [0, 1], as it is stored.

    Raises HarnessError: The file is damaged or holds something else.
    """
    with open_array(path, DND_VARIABLE) as stored:
        _check_dnd(path, stored.shape, stored.dtype)
        image = np.ascontiguousarray(stored, dtype=np.float32)
    if not np.isfinite(image).all() or image.min() < -_OVERSHOOT or image.max() > 1 + _OVERSHOOT:
        raise HarnessError(f"{path}: '{DND_VARIABLE}' leaves the range [0, 1]; download it again")
    return image


def _dnd_images(record: Dataset, path: Path, role: str) -> Iterator[_Image]:
    """Give a noisy photograph of DND rounded to 8 bits, ``0001`` to ``0050``.

    For looking at it: a submission is made from the arrays themselves (`harness.extras.dnd`).
    """
    yield role, path.stem, np.floor(np.clip(read_dnd_image(path), 0, 1) * 255 + 0.5).astype(np.uint8)


def _find_halves(record: Dataset, folder: Path, names: list[str]) -> tuple[dict[Path, str], str]:
    """Find images whose halves are a pair: as many as the set has pairs, all in one place."""
    # Half a set in plain files (input/ without target/) is as many images in one place, and no halves.
    single = len(names) == record.count and len({Path(name).parent for name in names}) == 1
    single = single and not fits_in_part(record, names)
    return ({folder / name: "" for name in names} if single else {}), ""


def _check_halves(record: Dataset, path: Path, role: str) -> None:
    try:
        problem, shape = look_at_image(path)
    except OSError as error:
        problem, shape = f"cannot be read ({error.strerror or error})", ()
    if problem:
        raise HarnessError(f"{path}: {problem}")
    if shape[1] % 2:
        raise HarnessError(f"{path}: is {shape[1]} pixels wide, which no two halves of a pair are; check the folder")


def _halves(record: Dataset, path: Path, role: str) -> Iterator[_Image]:
    image = read_image(path)
    half = image.shape[1] // 2
    left, right = ("input", "target") if record.unpack == "input-left" else ("target", "input")
    yield left, path.stem, image[:, :half]
    yield right, path.stem, image[:, half:]


_HALVES = _Release(_find_halves, _check_halves, _halves, 2)
KINDS: dict[str, _Release] = {
    "sidd-blocks": _Release(_find_sidd, _check_sidd, _sidd_images, 2),
    "dnd": _Release(
        _find_dnd_images, lambda _, path, role: _check_dnd(path, *look_at_array(path, DND_VARIABLE)), _dnd_images, 1
    ),
    "input-left": _HALVES,
    "input-right": _HALVES,
}
