"""The registry: one JSON record a dataset, with names, checksums, licence and where the files can come from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import msgspec

from harness.assets.datasets import places
from harness.errors import HarnessError, unknown_name
from harness.names import check_name, is_name, is_safe
from harness.records.loading import load_json

SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_REPOSITORY = re.compile(r"[A-Za-z0-9_.-]+/[A-Za-z0-9_.-]+")


class Repository(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A public repository at one commit: its files can never change.

    Attributes
    ----------
    repo : str
        ``owner/name`` on GitHub.
    commit : str
        Full commit hash.
    """

    repo: str
    commit: str


class File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One image file.

    Attributes
    ----------
    name : str
        Relative name inside the dataset's folder.
    bytes : int
        Size of the file.
    sha256 : str
        SHA-256 of the file's bytes.
    shape : tuple of int
        ``(H, W)`` for grayscale, ``(H, W, 3)`` for colour.
    pixels_sha256 : str
        SHA-256 of the decoded samples, as `harness.images.pixels_sha256` computes it.
    at : tuple of (int, str)
        Where the same bytes are public: index of the source, path in it.
    """

    name: str
    bytes: int
    sha256: str
    shape: tuple[int, ...]
    pixels_sha256: str
    at: tuple[tuple[int, str], ...] = ()


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the images lie in a folder.

    A pattern is a relative path with placeholders: ``{id}`` is the image's name; where there is no ``{id}``, all
    placeholders of the pattern joined by hyphens are. ``.*`` at the end stands for any image suffix. The two patterns
    of pairs may share only some placeholders: several inputs of one ground truth are pairs of their own.

    Attributes
    ----------
    target : str
        Pattern of the ground truth; empty where there is none.
    input : str
        Pattern of the degraded inputs; empty where there are none.
    listed : str
        Text file in the folder that names the files of the set; others are left out. Empty where all count.
    """

    target: str = ""
    input: str = ""
    listed: str = ""


class LandscapeCrop(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A crop of a landscape image, in samples counted from 0; an upright image is cropped transposed."""

    height: int
    width: int
    top: int
    left: int


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A registry record.

    Attributes
    ----------
    name : str
        Canonical name.
    title : str
        Name as the papers print it.
    kind : str
        ``images`` (ground truth), ``pairs`` (ground truth and degraded input) or ``inputs`` (no ground truth is given
        out).
    count : int
        Images; a pair counts once.
    supply : str
        ``pinned`` (public sources with checksums), ``embedded`` (comes with scikit-image), ``user`` (no stable source
        is known or allowed), ``derived`` (made from `base` when read).
    description, licence, licence_note, homepage, citation : str
        For readers; `licence` is short, the note says what is allowed.
    aliases : tuple of str
        Other names that are understood.
    layouts : tuple of Layout
        Where the images lie in a folder; the first is also that of the files below.
    note : str
        What else to know.
    base : str
        The dataset this one is made from.
    crop : LandscapeCrop or None
        How it is made from it.
    sizes : tuple of (int, int)
        Heights and widths the images have, where the release has few; empty where they vary.
    unpack : str
        How the release packs the images, where they are no plain files: a name of
        `harness.assets.datasets.unpacking.KINDS`.
    mirror_path : str
        Where a mirror holds the files; ``datasets/<name>`` where nothing is said.
    sources : tuple of Repository
        Public repositories.
    files : tuple of File
        Every file with its checksums; none for sets whose files nobody has pinned.
    """

    name: str
    title: str
    kind: Literal["images", "pairs", "inputs"]
    count: int
    supply: Literal["pinned", "embedded", "user", "derived"]
    description: str
    licence: str
    licence_note: str
    homepage: str
    citation: str
    aliases: tuple[str, ...] = ()
    layouts: tuple[Layout, ...] = ()
    note: str = ""
    base: str = ""
    crop: LandscapeCrop | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    unpack: Literal["", "sidd-blocks", "dnd", "input-left", "input-right"] = ""
    mirror_path: str = ""
    sources: tuple[Repository, ...] = ()
    files: tuple[File, ...] = ()

    @property
    def mirror_paths(self) -> tuple[str, ...]:
        """Folders of a mirror that may hold the files, the likeliest first."""
        own = (self.mirror_path,) if self.mirror_path else ()
        return (*own, *(f"datasets/{name}" for name in (self.name, *self.aliases)))

    @property
    def folder_layouts(self) -> tuple[Layout, ...]:
        """The layouts, or the plain one: every image directly in the folder."""
        return self.layouts or (Layout(target="{id}.*") if self.kind == "images" else Layout(input="{id}.*"),)

    @property
    def bytes(self) -> int:
        """Sum of the file sizes; 0 where they are not known."""
        return sum(file.bytes for file in self.files)


def read_record(path: Path) -> Dataset:
    """Read and check one record.

    Raises
    ------
    HarnessError
        Not a record: unknown keys, names that leave the folder, checksums that are none.
    """
    record = load_json(path, Dataset)
    if record.name != path.stem or not is_name(record.name):
        raise HarnessError(f"{path}: the dataset is named '{record.name}'; name it and its file alike, as in 'my-set'")
    for name in (*record.aliases, *([record.base] if record.base else [])):
        check_name(name, "dataset", str(path))
    for file in record.files:
        if not is_safe(file.name):
            raise HarnessError(f"{path}: the file name '{file.name}' leaves the dataset's folder; take it out")
        if not (SHA256.fullmatch(file.sha256) and SHA256.fullmatch(file.pixels_sha256)):
            raise HarnessError(f"{path}: '{file.name}' has a checksum that is not 64 lower-case hex digits; correct it")
        for index, at in file.at:
            if not 0 <= index < len(record.sources) or not is_safe(at):
                raise HarnessError(f"{path}: '{file.name}' has an unknown source ({index}, '{at}'); correct it")
    if record.mirror_path and not is_safe(record.mirror_path):
        raise HarnessError(f"{path}: the mirror path '{record.mirror_path}' leaves the mirror; correct it")
    for source in record.sources:
        if not (_REPOSITORY.fullmatch(source.repo) and _COMMIT.fullmatch(source.commit)):
            raise HarnessError(f"{path}: '{source.repo}' at '{source.commit}' is not owner/name and a full commit hash")
    if (record.supply == "derived") != bool(record.base and record.crop):
        raise HarnessError(f"{path}: a derived dataset, and no other, has a base and a crop; correct the record")
    return record


def dataset_names() -> list[str]:
    """List the canonical names of all datasets, sorted."""
    names: dict[str, Path] = {}
    for folder in places.record_folders():
        if not folder.is_dir():
            raise HarnessError(f"{places.RECORDS_VARIABLE} names {folder}, which is not a folder; correct it")
        for path in folder.glob("*.json"):
            if path.stem in names:
                raise HarnessError(f"{path}: a dataset '{path.stem}' is also in {names[path.stem]}; rename one")
            names[path.stem] = path
    return sorted(names)


def dataset(name: str) -> Dataset:
    """Look a dataset up by its name or an alias.

    Raises
    ------
    HarnessError
        Nobody knows the name; the nearest known ones are in the message.
    """
    path = places.record_path(name)
    if path is not None:
        return read_record(path)
    aliases: dict[str, str] = {}
    for known in dataset_names():
        record = _known(known)
        if name in record.aliases:
            return record
        aliases.update(dict.fromkeys(record.aliases, known))
    raise unknown_name("dataset", name, [*dataset_names(), *aliases])


def datasets() -> list[Dataset]:
    """Read every record, by name."""
    return [_known(name) for name in dataset_names()]


def _known(name: str) -> Dataset:
    path = places.record_path(name)
    if path is None:
        raise HarnessError(
            f"'{name}.json' is no name for a dataset's record; use lower-case letters, digits and hyphens"
        )
    return read_record(path)
