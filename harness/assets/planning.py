"""What a fetch would do: which files are here, which would be downloaded from where, and which only the user has."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.assets.datasets.archives import archive_text
from harness.assets.hosts import mirrors
from harness.assets.kinds import KINDS, size_text
from harness.assets.places import AssetPaths, Kind
from harness.assets.registry import AssetFile, AssetRecord
from harness.errors import plural


class PlannedSet(msgspec.Struct, frozen=True):
    """What fetching one set would take.

    `here`, `mirrored`, `downloads`, `supplied`: Files that are here, in a folder named by HARNESS_MIRROR, at a public
        source, and nowhere but with the user.
    `bytes`: Known sizes of the downloads, together.
    `unknown`: Downloads of unknown size: nothing but git's id of their bytes is registered.
    `note`: How files without a public source are to be had.
    `archives`: The owner's archives of what is missing, with their sizes: fetched with ``--archives``, and with it
        alone.
    """

    name: str
    licence: str
    here: int
    mirrored: int
    downloads: int
    supplied: int
    bytes: int
    unknown: int
    repositories: tuple[str, ...]
    note: str
    archives: tuple[str, ...] = ()


def plan(kind: Kind, names: Iterable[str], data: Path) -> list[PlannedSet]:
    """Find out what fetching sets would take; no host is asked and no file is hashed.

    `kind`: ``datasets`` or ``weights``.
    Raises HarnessError: A name is unknown, or a record or HARNESS_MIRROR is not valid.
    """
    folders = [folder for folder in mirrors()[0] if folder.is_dir()]
    return [_plan(kind, KINDS[kind].find(name), data, folders) for name in names]


def _plan(kind: Kind, record: AssetRecord, data: Path, folders: list[Path]) -> PlannedSet:
    # The files of a dataset that is made from another one are the other one's.
    base = getattr(record, "base", "")
    own = KINDS[kind].find(base) if base else record
    manifest = KINDS[kind].manifest.find(AssetPaths(data, kind, own.name))
    have = {file.name for file in manifest.files} if manifest else set()
    mirrored: list[AssetFile] = []
    downloads: list[AssetFile] = []
    supplied: list[AssetFile] = []
    for file in own.files:
        if file.name in have:
            continue
        in_mirror = any((folder / path).is_file() for folder in folders for path in own.in_mirror(file))
        (mirrored if in_mirror else downloads if file.at else supplied).append(file)
    # Of a set that the user supplies no file is registered: its images count.
    unregistered = 0 if own.files or have else getattr(own, "count", 0)
    there = any((folder / path).is_dir() for folder in folders for path in own.mirror_paths)
    missing = len(supplied) + (0 if there else unregistered)
    return PlannedSet(
        name=record.name,
        licence=record.licence,
        here=len(have),
        mirrored=len(mirrored) + (unregistered if there else 0),
        downloads=len(downloads),
        supplied=missing,
        bytes=sum(file.bytes for file in downloads),
        unknown=sum(not file.bytes for file in downloads),
        repositories=tuple(dict.fromkeys(own.sources[index].repo for file in downloads for index, _ in file.at)),
        note=(getattr(own, "obtain", "") or f"get it from {own.homepage}") if missing else "",
        archives=tuple(map(archive_text, getattr(own, "archives", ()))) if missing else (),
    )


def plan_text(planned: list[PlannedSet], *, archives: bool = False) -> str:
    """Write a plan for a terminal: one set a paragraph, and the sum; `archives` are asked for, or only named."""
    lines = []
    for one in planned:
        lines.append(f"{one.name} (licence: {one.licence})")
        lines += [f"  {plural(one.here, 'file')} here"] if one.here else []
        lines += [f"  {plural(one.mirrored, 'file')} in the mirror"] if one.mirrored else []
        if one.downloads:
            size = _sizes(one.bytes, one.unknown)
            lines.append(f"  {one.downloads} to download, {size}, from {', '.join(one.repositories)}")
        lines += [f"  {one.supplied} you supply: {one.note}"] if one.supplied else []
        lines += [f"  {'archive' if archives else 'or with --archives'}: {archive}" for archive in one.archives]
    downloads, unknown = sum(one.downloads for one in planned), sum(one.unknown for one in planned)
    total = f"{plural(downloads, 'file')} to download"
    if downloads:
        total += f", {_sizes(sum(one.bytes for one in planned), unknown)}"
    lines.append(f"In all: {total}, {sum(one.supplied for one in planned)} that you supply. Nothing was fetched.")
    return "\n".join(lines) + "\n"


def _sizes(known: int, unknown: int) -> str:
    if not unknown:
        return size_text(known)
    text = f"{unknown} of unknown size (blob id only)"
    return f"{size_text(known)} and {text}" if known else text
