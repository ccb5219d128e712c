"""The registry of weights: one JSON record a set, with files, checksums, licence and where they can come from."""

from __future__ import annotations

import re
from pathlib import Path

from harness.assets import places
from harness.assets.registry import AssetFile, AssetRecord, asset_names, read_asset_record, read_once
from harness.errors import HarnessError, unknown_name

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class WeightFile(AssetFile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One released file. Where its checksum is not known, the one it turns out to have is recorded with every result.

    `format`: Which importer reads it (`harness.assets.weights.importers.FORMATS`).
    `released_as`: Its name in the release, where that is another one; a user's folder may hold it under either.
    `same_as`: A file of another set that holds the same numbers and serves as well, as ``set/file``.
    `with_files`: Other files of the set without which it cannot be read, in the order in which its importer takes them.
    """

    format: str
    makes: str
    released_as: str = ""
    same_as: str = ""
    with_files: tuple[str, ...] = ()


class WeightSet(AssetRecord, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The released weights of one method; what is not said here is as in `AssetRecord`.

    `obtain`: One sentence: how to get the files that have no pinned public source.
    """

    files: tuple[WeightFile, ...]
    obtain: str = ""

    @property
    def mirror_paths(self) -> tuple[str, ...]:
        """Folder of a mirror that may hold the files."""
        return (f"weights/{self.name}",)

    def file(self, name: str) -> WeightFile:
        """Look a file up by its name here; an unknown name raises HarnessError with the nearest known ones."""
        for file in self.files:
            if file.name == name:
                return file
        raise unknown_name(f"file of the weights '{self.name}'", name, [file.name for file in self.files])


@read_once
def read_record(path: Path) -> WeightSet:
    """Read and check one record.

    Raises HarnessError: Not a record: unknown keys, unsafe names, invalid checksums, a format nobody reads.
    """
    from harness.assets.weights.importers import FORMATS

    record = read_asset_record(path, WeightSet, "weights are")
    names = [file.name for file in record.files]
    for file in record.files:
        if not _FILE.fullmatch(file.name) or names.count(file.name) > 1:
            raise HarnessError(f"{path}: '{file.name}' is no file name or is there twice; correct it")
        if file.format not in FORMATS:
            raise HarnessError(f"{path}: {unknown_name('weights format', file.format, FORMATS)}")
        for other in file.with_files:
            if other not in names or other == file.name:
                raise HarnessError(f"{path}: '{file.name}' needs '{other}', which is no other file of the set")
    if not record.obtain and any(not file.at for file in record.files):
        raise HarnessError(f"{path}: some files have no public source; say in 'obtain' how they are to be had")
    return record


def weight_names() -> list[str]:
    """List the names of all weight sets, sorted."""
    return asset_names("weights")


def weight_set(name: str) -> WeightSet:
    """Look a weight set up; an unknown name raises HarnessError with the nearest known ones."""
    path = places.record_path("weights", name)
    if path is None:
        raise unknown_name("weights", name, weight_names())
    return read_record(path)


def released_file(name: str) -> WeightFile | None:
    """Find a released file, named as ``set/file``; None where the registry has none."""
    where, _, file = name.partition("/")
    path = places.record_path("weights", where)
    known = () if path is None else read_record(path).files
    return next((entry for entry in known if entry.name == file), None)


def public_name(name: str) -> str:
    """Give the public file that holds the same numbers as one without a public source; else the name as it is."""
    file = released_file(name)
    return file.same_as if file is not None and file.same_as and not file.at else name
