"""Manifests: what is there of a dataset or weight set, and why the rest is not.

They are what DVC depends on, so they depend on the files alone: no times, no paths of this machine, one order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec

from harness.assets.places import AssetPaths
from harness.assets.verified import forget
from harness.errors import HarnessError
from harness.files import file_sha256
from harness.names import is_safe
from harness.records.loading import load_json

Role = Literal["target", "input"]
_THREADS = 4


class DatasetManifestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One image file that is there.

    `name`: Relative name in the dataset's folder.
    `role`: ``target`` (ground truth) or ``input`` (degraded).
    `sha256`, `pixels_sha256`: Checksums of the file's bytes and of its samples.
    `shape`: ``(H, W)`` or ``(H, W, 3)``. In a derived dataset shape and `pixels_sha256` are those of the derived image.
    """

    name: str
    image: str
    role: Role
    bytes: int
    sha256: str
    pixels_sha256: str
    shape: tuple[int, ...]


class WeightsManifestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of weights that is there: its name in the registry, its size, the SHA-256 of its bytes."""

    name: str
    bytes: int
    sha256: str


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every manifest can do; each kind has its fields in an order of its own, which is that of its file."""

    if TYPE_CHECKING:
        status: str
        reason: str
        files: tuple[Any, ...]

    @property
    def complete(self) -> bool:
        """Whether every file is there."""
        return self.status == "complete"

    def text(self) -> str:
        """Write the manifest as JSON, one file a line, the same text for the same files."""
        plain = msgspec.to_builtins(self)
        files = [json.dumps(file, ensure_ascii=False) for file in plain.pop("files")]
        lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in plain.items()]
        body = ' "files": [\n  ' + ",\n  ".join(files) + "\n ]" if files else ' "files": []'
        return "\n".join(["{", *lines, body, "}"]) + "\n"

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read a manifest.

        Raises HarnessError: There is none, or it is damaged, or it names files outside the set's folder.
        """
        manifest = load_json(path, cls)
        for name in {name for file in manifest.files for name in (file.name, getattr(file, "image", file.name))}:
            if not is_safe(name):
                raise HarnessError(f"{path}: the file name '{name}' leaves the set's folder; delete this manifest")
        return manifest

    @classmethod
    def find(cls, paths: AssetPaths) -> Self | None:
        """Read the manifest of a set; None where it was not fetched."""
        return cls.read(paths.manifest) if paths.manifest.is_file() else None

    def problems(self, paths: AssetPaths) -> tuple[str, ...]:
        """Hash every file again: what is wrong, one sentence a file. The next fetch then looks at every byte."""

        def check(file: DatasetManifestFile | WeightsManifestFile) -> str:
            path = paths.folder / file.name
            try:
                size = path.stat().st_size
                if size != file.bytes:
                    return f"{path}: has {size} bytes instead of {file.bytes}"
                return "" if file_sha256(path) == file.sha256 else f"{path}: has a wrong checksum"
            except FileNotFoundError:
                return f"{path}: is gone"
            except OSError as error:
                return f"{path}: cannot be read ({error.strerror or error})"

        with ThreadPoolExecutor(_THREADS) as pool:
            problems = tuple(filter(None, pool.map(check, self.files)))
        if problems:
            forget(paths)
        return problems


class DatasetManifest(Manifest, frozen=True, forbid_unknown_fields=True):
    """What is there of a dataset: all of it or nothing.

    `status`: ``complete`` or ``missing``.
    `reason`: Why it is missing, one sentence; empty where it is complete.
    `base`: The dataset that holds the files of a derived one.
    `images`: Number of images; a pair counts once.
    `files`: Sorted by name; none where it is missing.
    """

    dataset: str
    status: Literal["complete", "missing"]
    reason: str
    base: str
    images: int
    files: tuple[DatasetManifestFile, ...]


class WeightsManifest(Manifest, frozen=True, forbid_unknown_fields=True):
    """What is there of a weight set.

    `status`: ``complete``, ``partial`` or ``missing``.
    `reason`: Why files are missing, one sentence; empty where none is.
    `files`: The files that are there, in the registry's order.
    """

    weights: str
    status: Literal["complete", "partial", "missing"]
    reason: str
    files: tuple[WeightsManifestFile, ...]


def complete_dataset(name: str, files: Iterable[DatasetManifestFile], base: str = "") -> DatasetManifest:
    """Make the manifest of a dataset that is there."""
    ordered = tuple(sorted(files, key=lambda file: file.name))
    images = len({file.image for file in ordered})
    return DatasetManifest(dataset=name, status="complete", reason="", base=base, images=images, files=ordered)


def missing_dataset(name: str, reason: str, base: str = "") -> DatasetManifest:
    """Make the manifest of a dataset that cannot be obtained here."""
    return DatasetManifest(dataset=name, status="missing", reason=reason, base=base, images=0, files=())
