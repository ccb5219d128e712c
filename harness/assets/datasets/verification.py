"""Checking fetched datasets byte by byte."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from harness.assets.datasets import places
from harness.assets.datasets.manifest import DatasetManifestFile, Role, read_manifest
from harness.assets.datasets.registry import Dataset, dataset
from harness.assets.datasets.verified import Hashes, file_sha256, forget
from harness.errors import HarnessError
from harness.names import is_safe


class Verification(msgspec.Struct, frozen=True):
    """What a check found.

    Attributes
    ----------
    dataset : str
        Canonical name.
    status : str
        ``complete``, ``missing`` (it was never there) or ``damaged``.
    files : int
        Files that are as they were.
    problems : tuple of str
        What is wrong with the others, one sentence each; or why the dataset is missing.
    """

    dataset: str
    status: str
    files: int
    problems: tuple[str, ...]


def verify(name: str, data: str | os.PathLike[str]) -> Verification:
    """Hash every file of a fetched dataset again.

    Parameters
    ----------
    name : str
        Dataset or alias.
    data : path
        Folder of fetched files.

    Raises
    ------
    HarnessError
        The name is unknown, or the manifest is damaged.
    """
    root = Path(data)
    record = dataset(name)
    path = places.manifest_path(root, record.name)
    if not path.is_file():
        return Verification(record.name, "missing", 0, (f"not fetched; run `harness datasets fetch {record.name}`",))
    manifest = read_manifest(path)
    if not manifest.complete:
        return Verification(record.name, "missing", 0, (manifest.reason,))
    folder = places.dataset_folder(root, manifest.base or record.name)

    def check(file: DatasetManifestFile) -> str:
        image = folder / file.name
        try:
            if image.stat().st_size != file.bytes:
                return f"{image}: has {image.stat().st_size} bytes instead of {file.bytes}"
            if file_sha256(image) != file.sha256:
                return f"{image}: has a wrong checksum"
        except FileNotFoundError:
            return f"{image}: is gone"
        except OSError as error:
            return f"{image}: cannot be read ({error.strerror or error})"
        return ""

    with ThreadPoolExecutor(4) as pool:
        problems = tuple(filter(None, pool.map(check, manifest.files)))
    if problems:
        forget(root, manifest.base or record.name)  # so that the next fetch looks at every byte
    good = len(manifest.files) - len(problems)
    return Verification(record.name, "damaged" if problems else "complete", good, problems)


def verify_folder(name: str, folder: str | os.PathLike[str]) -> Verification:
    """Tell whether a folder holds a dataset, and what is missing; nothing is written.

    Parameters
    ----------
    name : str
        Dataset or alias.
    folder : path
        The user's copy.

    Returns
    -------
    Verification
        ``complete`` or ``missing``; of images headers and last bytes are read, of MATLAB files the arrays' sizes.

    Raises
    ------
    HarnessError
        The name is unknown, or there is no such folder.
    """
    from harness.assets.datasets import folders, layouts
    from harness.assets.datasets.supplied import PACKED
    from harness.assets.datasets.unpacking import check_packed, packed_files

    record = dataset(name)
    record = dataset(record.base) if record.base else record
    root = Path(folder)
    if not root.is_dir():
        raise HarnessError(f"{root}: no such folder; name the one that holds your copy of '{record.name}'")
    if record.files:
        match = folders.match_files(record.files, root, record.name, Hashes({}))
        absent = [file.name for file in record.files if file.name not in match.found]
        problems = [f"{root}: {file} {match.differing.get(file, 'is not there')}" for file in absent]
        return Verification(record.name, "missing" if problems else "complete", len(match.found), tuple(problems))
    names = folders.files_below(root)
    packed = packed_files(record, root, names)
    if packed:
        found = check_packed(record, root, packed)
        return Verification(record.name, "missing" if found else "complete", len(packed), tuple(found))
    arranged = layouts.arrange(record, root, names)
    what = "pairs" if record.kind == "pairs" else "images"
    problems = []
    partners: list[str] = []
    if not arranged.holds(record.count):
        expected = [*layouts.layout_text(record), *([PACKED[record.unpack]] if record.unpack else [])]
        problems.append(f"{root}: has {arranged.images} {what} of {record.count}")
        problems.append(f"expected: {' or '.join(expected)}")
        problems.append(layouts.explain(record, arranged, names, root))
        partners = [f"without a partner: {folders.printable(file)}" for file in arranged.alone[1:]]
    unsafe = [folders.printable(name) for name in arranged.found.values() if not is_safe(name)]
    problems += [f"{root / name}: rename it; not every system can hold this name" for name in unsafe]
    if not unsafe:
        problems += _look_at_images(record, root, arranged.found)
    problems += partners  # last: there may be thousands, and only the first lines are read
    return Verification(record.name, "missing" if problems else "complete", len(arranged.found), tuple(problems))


# What the files of two formats end with; a few bytes may follow. (PNG, 11.2.5; JPEG, B.1.1.3: end of image)
_ENDS = {".png": b"IEND", ".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9"}
_LAST_BYTES = 64


def _cut_short(path: Path) -> str:
    """Tell what is wrong with an image whose file does not end as its format does; empty where it can be decoded."""
    from harness.images import ImageError, read_image

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
    from harness.assets.datasets.supplied import wrong_sizes
    from harness.images import look_at_image

    def look(name: str) -> tuple[str, tuple[int, ...]]:
        try:
            problem, shape = look_at_image(folder / name)
            return problem or _cut_short(folder / name), shape
        except OSError as error:
            return f"cannot be read ({error.strerror or error})", ()

    with ThreadPoolExecutor(4) as pool:
        looks = dict(zip(found, pool.map(look, found.values()), strict=True))
    problems = [f"{folder / found[which]}: {problem}" for which, (problem, _) in looks.items() if problem]
    shapes = {which: shape for which, (problem, shape) in looks.items() if not problem}
    return problems + [f"{folder / found[which]}: {text}" for which, text in wrong_sizes(record, shapes)]
