"""The registry of datasets: one JSON record each, with names, checksums, licence and where the files can come from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from harness.assets import places
from harness.assets.hosts import is_plain_address
from harness.assets.registry import SHA256, AssetFile, AssetRecord, asset_names, read_asset_record
from harness.errors import HarnessError, unknown_name
from harness.names import check_name, is_safe
from harness.registries import REGISTRIES


class File(AssetFile, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One image file; size and SHA-256 are always known.

    `shape`: ``(H, W)`` for grayscale, ``(H, W, 3)`` for colour.
    `pixels_sha256`: SHA-256 of the decoded samples, as `harness.images.pixels_sha256` computes it.
    """

    bytes: int
    sha256: str
    shape: tuple[int, ...]
    pixels_sha256: str


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the images lie in a folder.

    A pattern is a relative path with placeholders: ``{id}`` is the image's name; where there is no ``{id}``, all
    placeholders of the pattern joined by hyphens are. ``.*`` at the end stands for any image suffix. The two patterns
    of pairs may share only some placeholders: several inputs of one ground truth are pairs of their own.

    `target`: Pattern of the ground truth; empty where there is none.
    `input`: Pattern of the degraded inputs; empty where there are none.
    `listed`: Text file in the folder that names the files of the set; others are left out. Empty where all count.
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


# What is unpacked; a file of any other name is taken as it is.
ZIPPED = (".zip",)
TARRED = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")

_SHA1 = re.compile(r"[0-9a-f]{40}")


class Archive(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A file in which a set is given out by its owners, or by those whose packing the papers use.

    It is fetched when it is asked for, and never otherwise. Sets that share one say the same of it.

    `name`: Name of the file, by its own suffix packed (`ZIPPED`, `TARRED`) or not; no other archive has it.
    `holds`: What is in it, in a few words.
    `urls`: Plain addresses, in the order in which they are asked; none where a browser has to fetch it.
    `page`: Where a browser fetches it: behind a form, a login, or a question that a person answers.
    `bytes`: Size of the file; 0 where it is not known.
    `sha256`, `sha1`: Published checksums; empty where there is none. The SHA-256 that the file turns out to have is
        held from then on.
    `source`: Where all this is stated.
    `folder`: Folder below ``data/archives`` that it is unpacked into; by default its name without the suffix.
    """

    name: str
    holds: str
    source: str
    urls: tuple[str, ...] = ()
    page: str = ""
    bytes: int = 0
    sha256: str = ""
    sha1: str = ""
    folder: str = ""

    @property
    def packed(self) -> bool:
        """Whether it has to be unpacked."""
        return self.name.lower().endswith(ZIPPED + TARRED)

    @property
    def unpacked_into(self) -> str:
        """Name of its folder below ``data/archives``."""
        suffix = next((suffix for suffix in ZIPPED + TARRED if self.name.lower().endswith(suffix)), "")
        return self.folder or self.name[: len(self.name) - len(suffix)] or self.name


class Dataset(AssetRecord, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The record of a dataset; what is not said here is as in `AssetRecord`.

    `kind`: ``images`` (ground truth), ``pairs`` (ground truth and degraded input) or ``inputs`` (no ground truth is
        given out).
    `count`: Images; a pair counts once.
    `supply`: ``pinned`` (public sources with checksums), ``embedded`` (comes with scikit-image), ``user`` (no stable
        source is known or allowed), ``derived`` (made from `base` when read), ``made`` (by a plugin's function).
    `layouts`: Where the images lie in a folder; the first is also that of the files.
    `base`: The dataset this one is made from.
    `crop`: How it is made from it.
    `sizes`: Heights and widths the images have, where the release has few; empty where they vary.
    `also_counts`: Other numbers of images under which the set is given out; the note says why.
    `unpack`: How the release packs the images, where they are no plain files: a name of
        `harness.assets.datasets.unpacking.KINDS`.
    `mirror_path`: Where a mirror holds the files; ``datasets/<name>`` where nothing is said.
    `files`: Every file with its checksums; none for sets whose files nobody has pinned.
    `archives`: Where such a set can be had whole.
    """

    kind: Literal["images", "pairs", "inputs"]
    count: int
    supply: Literal["pinned", "embedded", "user", "derived", "made"]
    description: str
    aliases: tuple[str, ...] = ()
    layouts: tuple[Layout, ...] = ()
    base: str = ""
    crop: LandscapeCrop | None = None
    sizes: tuple[tuple[int, int], ...] = ()
    also_counts: tuple[int, ...] = ()
    unpack: Literal["", "sidd-blocks", "dnd", "input-left", "input-right"] = ""
    mirror_path: str = ""
    files: tuple[File, ...] = ()
    archives: tuple[Archive, ...] = ()

    @property
    def counts(self) -> tuple[int, ...]:
        """Numbers of images that a whole copy may have, the papers' first."""
        return (self.count, *self.also_counts)

    @property
    def mirror_paths(self) -> tuple[str, ...]:
        """Folders of a mirror that may hold the files, the likeliest first."""
        own = (self.mirror_path,) if self.mirror_path else ()
        return (*own, *(f"datasets/{name}" for name in (self.name, *self.aliases)))

    @property
    def folder_layouts(self) -> tuple[Layout, ...]:
        """The layouts, or the plain one: every image directly in the folder."""
        return self.layouts or (Layout(target="{id}.*") if self.kind == "images" else Layout(input="{id}.*"),)


def read_record(path: Path) -> Dataset:
    """Read and check one record.

    Raises HarnessError: Not a record: unknown keys, names that leave the folder, invalid checksums.
    """
    record = read_asset_record(path, Dataset, "dataset is")
    for name in (*record.aliases, *([record.base] if record.base else [])):
        check_name(name, "dataset", str(path))
    for file in record.files:
        if not SHA256.fullmatch(file.pixels_sha256):
            raise HarnessError(f"{path}: '{file.name}' has a checksum that is not 64 lower-case hex digits; correct it")
    if record.mirror_path and not is_safe(record.mirror_path):
        raise HarnessError(f"{path}: the mirror path '{record.mirror_path}' leaves the mirror; correct it")
    if record.supply == "made":
        raise HarnessError(f"{path}: only a plugin's dataset is 'made'; name another supply, such as 'user'")
    if (record.supply == "derived") != bool(record.base and record.crop):
        raise HarnessError(f"{path}: a derived dataset, and no other, has a base and a crop; correct the record")
    for problem in _archive_problems(record):
        raise HarnessError(f"{path}: {problem}")
    return record


def _archive_problems(record: Dataset) -> Iterator[str]:
    """Say what is wrong with a record's archives."""
    if record.archives and (record.supply != "user" or record.files):
        yield "a set has archives only where the user supplies it and no file is registered; take them out"
    names = [archive.name for archive in record.archives]
    folders = [archive.unpacked_into for archive in record.archives]
    for archive in record.archives:
        told = f"the archive '{archive.name}'"
        for name in (archive.name, archive.unpacked_into):
            if "/" in name or name.startswith(".") or not is_safe(name):
                yield f"{told}: '{name}' is no plain name of a file; correct it"
        if not all(map(is_plain_address, (*archive.urls, *filter(None, [archive.page])))):
            yield f"{told} has an address that is no plain http or https one; correct it"
        if not (archive.urls or archive.page):
            yield f"{told} has neither an address nor a page; name one"
        if archive.bytes < 0 or not (
            SHA256.fullmatch(archive.sha256 or "0" * 64) and _SHA1.fullmatch(archive.sha1 or "0" * 40)
        ):
            yield f"{told} has a size or checksum that cannot be one (SHA-256: 64 lower-case hex digits, SHA-1: 40)"
        if names.count(archive.name) > 1 or (archive.packed and folders.count(archive.unpacked_into) > 1):
            yield f"{told} shares its name or its folder with another one; rename it"


def dataset_names() -> list[str]:
    """List the canonical names of all datasets, sorted."""
    return asset_names("datasets")


def dataset(name: str) -> Dataset:
    """Look a dataset up by its name or an alias.

    Raises HarnessError: Nobody knows the name; the nearest known ones are in the message.
    """
    path = places.record_path("datasets", name)
    if path is not None or name in REGISTRIES.get("dataset", ()):
        return _known(name)
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
    path = places.record_path("datasets", name)
    if path is None and name in REGISTRIES.get("dataset", ()):
        made: Dataset = REGISTRIES["dataset"][name].record
        return made
    if path is None:
        raise HarnessError(
            f"'{name}.json' is no name for a dataset's record; use lower-case letters, digits and hyphens"
        )
    return read_record(path)
