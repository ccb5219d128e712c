"""The registry: one JSON record a weight set, with files, checksums, licence and where they can come from."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from harness.assets.datasets.registry import SHA256, Repository
from harness.assets.weights import places
from harness.errors import HarnessError, unknown_name
from harness.names import is_name
from harness.records.loading import load_json

_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


class WeightFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One released file.

    Attributes
    ----------
    name : str
        Name here.
    format : str
        Which importer reads it (`harness.assets.weights.importers.FORMATS`).
    makes : str
        What it restores, for readers.
    bytes : int
        Size; 0 where it is not known.
    sha256 : str
        Checksum; empty where it is not known. Such a file is never downloaded: the user supplies it, and the checksum
        it turns out to have is recorded with every result.
    released_as : str
        Its name in the release, where that is another one; a user's folder may hold it under either.
    at : tuple of (int, str)
        Where the same bytes are public: index of the source, path in it.
    """

    name: str
    format: str
    makes: str
    bytes: int = 0
    sha256: str = ""
    released_as: str = ""
    at: tuple[tuple[int, str], ...] = ()


class WeightSet(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The released weights of one method.

    Attributes
    ----------
    name : str
        Canonical name.
    title : str
        Name as the papers print it.
    licence, licence_note : str
        Short, and what is allowed.
    homepage, citation : str
        For readers.
    obtain : str
        One sentence: how to get the files that have no pinned public source.
    note : str
        What else to know.
    sources : tuple of Repository
        Public repositories at a commit.
    files : tuple of WeightFile
        Every file.
    """

    name: str
    title: str
    licence: str
    licence_note: str
    homepage: str
    citation: str
    files: tuple[WeightFile, ...]
    obtain: str = ""
    note: str = ""
    sources: tuple[Repository, ...] = ()

    def file(self, name: str) -> WeightFile:
        """Look a file up by its name here; an unknown name raises HarnessError with the nearest known ones."""
        for file in self.files:
            if file.name == name:
                return file
        raise unknown_name(f"file of the weights '{self.name}'", name, [file.name for file in self.files])


def record_path(name: str) -> Path | None:
    """Find the record of a weight set; None where there is none."""
    path = places.REGISTRY / f"{name}.json"
    return path if is_name(name) and path.is_file() else None


def read_record(path: Path) -> WeightSet:
    """Read and check one record.

    Raises
    ------
    HarnessError
        Not a record: unknown keys, unsafe names, checksums that are none, a format nobody reads.
    """
    from harness.assets.weights.importers import FORMATS

    record = load_json(path, WeightSet)
    if record.name != path.stem or not is_name(record.name):
        raise HarnessError(f"{path}: the weights are named '{record.name}'; name them and their file alike")
    names = [file.name for file in record.files]
    for file in record.files:
        if not _FILE.fullmatch(file.name) or names.count(file.name) > 1:
            raise HarnessError(f"{path}: '{file.name}' is no file name or is there twice; correct it")
        if file.format not in FORMATS:
            raise HarnessError(f"{path}: {unknown_name('weights format', file.format, FORMATS)}")
        if bool(file.sha256) != bool(file.bytes) or (file.sha256 and not SHA256.fullmatch(file.sha256)):
            raise HarnessError(f"{path}: '{file.name}' needs both its size and 64 lower-case hex digits, or neither")
        if file.at and not file.sha256:
            raise HarnessError(f"{path}: '{file.name}' has a source and no checksum to hold it to; take the source out")
        if any(not 0 <= index < len(record.sources) for index, _ in file.at):
            raise HarnessError(f"{path}: '{file.name}' has a source that does not exist; correct it")
    if not record.obtain and any(not file.at for file in record.files):
        raise HarnessError(f"{path}: some files have no public source; say in 'obtain' how they are to be had")
    return record


def weight_names() -> list[str]:
    """List the names of all weight sets, sorted."""
    return sorted(path.stem for path in places.REGISTRY.glob("*.json"))


def weight_set(name: str) -> WeightSet:
    """Look a weight set up; an unknown name raises HarnessError with the nearest known ones."""
    path = record_path(name)
    if path is None:
        raise unknown_name("weights", name, weight_names())
    return read_record(path)


def released_file(name: str) -> WeightFile | None:
    """Find a released file, named as ``set/file``; None where the registry has none."""
    where, _, file = name.partition("/")
    path = record_path(where)
    found = () if path is None else read_record(path).files
    return next((entry for entry in found if entry.name == file), None)
