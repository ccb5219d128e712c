"""Telling whether a folder holds a dataset, before anything is written."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from harness.assets.datasets import folders, layouts
from harness.assets.datasets.registry import Dataset, dataset
from harness.assets.datasets.supplied import unpacked_text, wrong_sizes
from harness.assets.datasets.unpacking import check_packed, packed_files
from harness.assets.manifest import Role
from harness.assets.verified import Hashes
from harness.errors import HarnessError
from harness.images import ImageError, look_at_image, read_image
from harness.names import is_safe


class FolderCheck(msgspec.Struct, frozen=True):
    """What a folder was found to hold.

    `files`: Files of the dataset that are there.
    `problems`: What is missing or wrong, one sentence each; none where the folder holds the dataset whole.
    """

    dataset: str
    files: int
    problems: tuple[str, ...]

    @property
    def status(self) -> str:
        """``complete`` or ``missing``."""
        return "missing" if self.problems else "complete"


def verify_folder(name: str, folder: str | os.PathLike[str]) -> FolderCheck:
    """Return whether a folder holds a dataset, and what is missing; nothing is written.

    Returns: Of images headers and last bytes are read, of MATLAB files the arrays' sizes.
    Raises HarnessError: The name is unknown, or there is no such folder.
    """
    record = dataset(name)
    record = dataset(record.base) if record.base else record
    root = Path(folder)
    if not root.is_dir():
        raise HarnessError(f"{root}: no such folder; name the one that holds your copy of '{record.name}'")
    if record.files:
        match = folders.match_files(record.files, root, record.name, Hashes({}))
        absent = [file.name for file in record.files if file.name not in match.found]
        problems = [f"{root}: {file} {match.differing.get(file, 'is not there')}" for file in absent]
        return FolderCheck(record.name, len(match.found), tuple(problems))
    names = folders.files_below(root)
    packed = packed_files(record, root, names)
    if packed:
        return FolderCheck(record.name, len(packed), tuple(check_packed(record, root, packed)))
    arranged = layouts.arrange(record, root, names)
    what = "pairs" if record.kind == "pairs" else "images"
    problems = []
    partners: list[str] = []
    if not arranged.holds(*record.counts):
        problems.append(f"{root}: has {arranged.images} {what} of {record.count}")
        problems.append(f"expected: {' or '.join([*layouts.layout_text(record), *unpacked_text(record)])}")
        problems.append(layouts.explain(record, arranged, names, root))
        partners = [f"without a partner: {folders.printable(file)}" for file in arranged.alone[1:]]
    unsafe = [folders.printable(name) for name in arranged.found.values() if not is_safe(name)]
    problems += [f"{root / name}: rename it; not every system can hold this name" for name in unsafe]
    if not unsafe:
        problems += _look_at_images(record, root, arranged.found)
    problems += partners  # last: there may be thousands, and only the first lines are read
    return FolderCheck(record.name, len(arranged.found), tuple(problems))


# What the files of two formats end with; a few bytes may follow. (PNG, 11.2.5; JPEG, B.1.1.3: end of image)
_ENDS = {".png": b"IEND", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}
_LAST_BYTES = 64


def _cut_short(path: Path) -> str:
    """Say what is wrong with an image whose file does not end as its format does; empty where it can be decoded."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _LAST_BYTES))
        if _ENDS.get(path.suffix.lower(), b"") in file.read():
            return ""
    try:
        read_image(path)
    except ImageError as error:
        return error.sentence
    return ""


def _look_at_images(record: Dataset, folder: Path, found: dict[tuple[str, Role], str]) -> list[str]:
    """Read the images' headers and ends: which are damaged, have too many bits, or a size that is not the set's."""

    def look(name: str) -> tuple[str, tuple[int, ...]]:
        try:
            problem, shape = look_at_image(folder / name)
            return problem or _cut_short(folder / name), shape
        except OSError as error:
            return f"cannot be read ({error.strerror or error})", ()

    with ThreadPoolExecutor(4) as pool:
        looks = dict(zip(found, pool.map(look, found.values()), strict=True))
    problems = [f"{folder / found[key]}: {problem}" for key, (problem, _) in looks.items() if problem]
    shapes = {key: shape for key, (problem, shape) in looks.items() if not problem}
    return problems + [f"{folder / found[key]}: {text}" for key, text in wrong_sizes(record, shapes)]
