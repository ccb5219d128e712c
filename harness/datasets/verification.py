"""Checking fetched datasets byte by byte."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from harness.datasets import places
from harness.datasets.manifest import ManifestFile, read_manifest
from harness.datasets.registry import dataset
from harness.datasets.verified import file_sha256, forget


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

    def check(file: ManifestFile) -> str:
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
