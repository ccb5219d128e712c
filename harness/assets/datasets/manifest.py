"""The manifest of a fetched dataset: what is there, or why nothing is.

It is what DVC depends on, so it depends on the images alone: no times, no paths of this machine, sorted.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import HarnessError
from harness.names import is_safe
from harness.records.loading import load_json

Role = Literal["target", "input"]


class DatasetManifestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file.

    Attributes
    ----------
    name : str
        Relative name in the dataset's folder.
    image : str
        Image it belongs to.
    role : str
        ``target`` (ground truth) or ``input`` (degraded).
    bytes : int
        Size of the file.
    sha256, pixels_sha256 : str
        Checksums of the file's bytes and of its samples.
    shape : tuple of int
        ``(H, W)`` or ``(H, W, 3)``. In a derived dataset shape and `pixels_sha256` are those of the derived image.
    """

    name: str
    image: str
    role: Role
    bytes: int
    sha256: str
    pixels_sha256: str
    shape: tuple[int, ...]


class DatasetManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is there of a dataset.

    Attributes
    ----------
    dataset : str
        Canonical name.
    status : str
        ``complete`` or ``missing``.
    reason : str
        Why it is missing, one sentence; empty where it is complete.
    base : str
        The dataset that holds the files of a derived one.
    images : int
        Number of images; a pair counts once.
    files : tuple of DatasetManifestFile
        Sorted by name; none where it is missing.
    """

    dataset: str
    status: Literal["complete", "missing"]
    reason: str
    base: str
    images: int
    files: tuple[DatasetManifestFile, ...]

    @property
    def complete(self) -> bool:
        """Whether every image is there."""
        return self.status == "complete"

    def text(self) -> str:
        """Write the manifest as JSON, one file a line, the same text for the same images."""
        head = {
            "dataset": self.dataset,
            "status": self.status,
            "reason": self.reason,
            "base": self.base,
            "images": self.images,
        }
        lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
        files = [json.dumps(msgspec.to_builtins(file), ensure_ascii=False) for file in self.files]
        body = ' "files": [\n  ' + ",\n  ".join(files) + "\n ]" if files else ' "files": []'
        return "\n".join(["{", *lines, body, "}"]) + "\n"


def complete_manifest(name: str, files: Iterable[DatasetManifestFile], base: str = "") -> DatasetManifest:
    """Make the manifest of a dataset that is there."""
    ordered = tuple(sorted(files, key=lambda file: file.name))
    return DatasetManifest(name, "complete", "", base, len({file.image for file in ordered}), ordered)


def missing_manifest(name: str, reason: str, base: str = "") -> DatasetManifest:
    """Make the manifest of a dataset that cannot be had here."""
    return DatasetManifest(name, "missing", reason, base, 0, ())


def read_manifest(path: Path) -> DatasetManifest:
    """Read a manifest.

    Raises
    ------
    HarnessError
        There is none, or it is damaged, or it names files outside the dataset's folder.
    """
    manifest = load_json(path, DatasetManifest)
    for name in {name for file in manifest.files for name in (file.name, file.image)}:
        if not is_safe(name):
            raise HarnessError(f"{path}: the file name '{name}' leaves the dataset's folder; delete this manifest")
    return manifest
