"""The two kinds of set: how each is found and fetched, and how its registry is listed.

For the terminal, as JSON, and as the generated part of docs/datasets.md and docs/weights.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.assets.datasets.archives import archive_note
from harness.assets.datasets.fetching import fetch as fetch_dataset
from harness.assets.datasets.registry import Archive, Dataset, dataset, datasets
from harness.assets.datasets.supplied import unpacked_text
from harness.assets.hosts import mirrors
from harness.assets.manifest import DatasetManifest, Manifest, WeightsManifest
from harness.assets.places import AssetPaths, Kind
from harness.assets.progress import bytes_text
from harness.assets.verified import still_complete
from harness.assets.weights.fetching import fetch as fetch_weights
from harness.assets.weights.registry import WeightFile, WeightSet, weight_names, weight_set

_SUPPLY = {
    "pinned": "public sources",
    "embedded": "comes with scikit-image",
    "user": "you supply it",
    "derived": "made from",
    "made": "made by a plugin",
}
_KIND = {"images": "images", "pairs": "pairs", "inputs": "inputs, no ground truth"}


@dataclass(frozen=True)
class AssetKind:
    """One kind of set: how its records are found, fetched and written; `data` is always the folder of fetched files.

    `head`, `markdown_head`: Titles of a listing's columns for a terminal and in Markdown.
    `row`: Describes a record by plain values, with its state in `data`.
    `cells`, `markdown_cells`: Write such a row, or a record, as the cells of a line.
    `describe`: Describes a record in Markdown lines.
    `show`: Describes a record for a terminal, with its state in `data`.
    """

    head: tuple[str, ...]
    markdown_head: tuple[str, ...]
    records: Callable[[], list[Any]]
    find: Callable[[str], Any]
    fetch: Callable[..., Manifest]
    manifest: type[Manifest]
    row: Callable[[Any, Path], dict[str, Any]]
    cells: Callable[[dict[str, Any]], tuple[str, ...]]
    markdown_cells: Callable[[Any], tuple[str, ...]]
    describe: Callable[[Any], list[str]]
    show: Callable[[Any, Path], str]

    def rows(self, data: Path) -> list[dict[str, Any]]:
        """List every set as plain values, by name."""
        return [self.row(record, data) for record in self.records()]

    def markdown(self) -> str:
        """Write the registry as Markdown: the same text on every machine."""
        records = self.records()
        cells = [self.markdown_head, ("---",) * len(self.markdown_head), *map(self.markdown_cells, records)]
        lines = [f"| {' | '.join(line)} |" for line in cells]
        for record in records:
            lines += ["", f"### {record.name}", "", *self.describe(record)]
        return "\n".join(lines) + "\n"


def _fetched(manifest: Manifest) -> str:
    return f"fetched: {manifest.status}" + (f", {manifest.reason}" if manifest.reason else "")


def _pinned_copies(record: Dataset | WeightSet) -> list[str]:
    named = ", ".join(f"`{repository}`" for repository in record.repositories)
    return [f"- pinned copies: {named}"] if named else []


def _dataset_row(record: Dataset, data: Path) -> dict[str, Any]:
    return {
        "name": record.name,
        "title": record.title,
        "aliases": list(record.aliases),
        "kind": record.kind,
        "images": _count(record, data),
        "bytes": record.bytes or None,
        "licence": record.licence,
        "supply": record.supply,
        "archives": [archive.name for archive in record.archives],
        "where": _where(record, data),
    }


def _count(record: Dataset, data: Path) -> int:
    """Count the images; those that a function gives once it was called, before that 0."""
    made = None if record.count else DatasetManifest.find(AssetPaths(data, "datasets", record.name))
    return made.images if made else record.count


def _dataset_cells(row: dict[str, Any]) -> tuple[str, ...]:
    images = f"{row['images'] or '?'}{'' if row['kind'] == 'images' else ' ' + row['kind']}"
    return row["name"], row["title"], images, size_text(row["bytes"] or 0), row["licence"], row["where"]


def _dataset_markdown_cells(record: Dataset) -> tuple[str, ...]:
    images = f"{record.count:,}{'' if record.kind == 'images' else ' ' + _KIND[record.kind]}"
    size = size_text(record.bytes)
    return f"`{record.name}`", record.title, images, size, record.licence, _dataset_supply(record)


def _dataset_describe(record: Dataset) -> list[str]:
    lines = [record.description]
    if record.note:
        lines += ["", record.note]
    lines += ["", f"- licence: {record.licence_note}", f"- home page: {record.homepage}"]
    lines.append(f"- cite: {record.citation}")
    if record.aliases:
        lines.append("- also called: " + ", ".join(f"`{alias}`" for alias in record.aliases))
    lines += _pinned_copies(record)
    if record.supply == "user":
        lines.append("- your folder holds " + ", or ".join(_layouts(record)))
    return lines + [f"- archive: {_archive(archive)}" for archive in record.archives]


def _archive(archive: Archive) -> str:
    """Describe an archive; what is known of it elsewhere is no checksum."""
    size = f"{archive.bytes:,} bytes" if archive.bytes else "size not known"
    published = [f"{kind} `{sum}`" for kind, sum in (("SHA-256", archive.sha256), ("SHA-1", archive.sha1)) if sum]
    checksum = f"{' and '.join(published)} published" if published else "SHA-256 recorded when fetched"
    where = " or ".join(archive.urls) if archive.urls else f"a browser, {archive.page}"
    return f"`{archive.name}` ({archive.holds}; {size}; {checksum}) from {where}. {archive.source}"


def _dataset_show(record: Dataset, data: Path) -> str:
    count = _count(record, data)
    head = (
        f"{record.name} ({record.title}): {count:,} {_KIND[record.kind]}" if count else f"{record.name}: not made yet"
    )
    lines = [head, "", *_dataset_describe(record), ""]
    if record.bytes:
        lines.append(f"size: {size_text(record.bytes)} in {len(record.files)} files")
    lines.append(f"where: {_where(record, data)}")
    for archive in record.archives:
        if note := archive_note(data, archive):
            held = "published" if archive.sha256 else "recorded when fetched"
            lines.append(f"{archive.name}: SHA-256 {note['sha256']}, {held}")
    if manifest := DatasetManifest.find(AssetPaths(data, "datasets", record.name)):
        lines.append(_fetched(manifest))
    return "\n".join(lines).replace("`", "") + "\n"


def size_text(size: int) -> str:
    """Write a number of bytes; empty for 0, which stands for unknown."""
    return bytes_text(size) if size else ""


def _dataset_supply(record: Dataset) -> str:
    text = _SUPPLY[record.supply]
    if any(archive.urls for archive in record.archives):
        return f"{text}, or --archives"
    return f"{text} {record.base}" if record.base else text


def _where(record: Dataset, data: Path) -> str:
    """Say whether a dataset is here, or where a fetch would look first."""
    if still_complete(AssetPaths(data, "datasets", record.name)) is not None:
        return "present"
    holder = dataset(record.base) if record.base else record
    for mirror in mirrors()[0]:
        copies = holder.in_mirror(holder.files[0])[len(holder.mirror_paths) :] if holder.files else []
        if any((mirror / path).exists() for path in (*holder.mirror_paths, *copies)):
            return "mirror"
    if (data / "own" / holder.name).is_dir():
        return "own folder"
    return _dataset_supply(record)


def _layouts(record: Dataset) -> list[str]:
    texts = []
    for layout in record.folder_layouts:
        parts = [(layout.input, "degraded"), (layout.target, "ground truth")]
        text = " and ".join(f"`{pattern}` ({what})" for pattern, what in parts if pattern)
        texts.append(f"{text} with `{layout.listed}`" if layout.listed else text)
    return texts + unpacked_text(record)


def _weights_row(record: WeightSet, data: Path) -> dict[str, Any]:
    manifest = WeightsManifest.find(AssetPaths(data, "weights", record.name))
    return {
        "name": record.name,
        "title": record.title,
        "files": len(record.files),
        "bytes": record.bytes or None,
        "licence": record.licence,
        "supply": _weights_supply(record),
        "state": manifest.status if manifest else "not fetched",
    }


def _weights_cells(row: dict[str, Any]) -> tuple[str, ...]:
    return row["name"], row["title"], str(row["files"]), row["licence"], row["supply"], row["state"]


def _weights_markdown_cells(record: WeightSet) -> tuple[str, ...]:
    return f"`{record.name}`", record.title, str(len(record.files)), record.licence, _weights_supply(record)


def _weights_describe(record: WeightSet) -> list[str]:
    lines = [f"{record.title}: {record.citation}."]
    if record.note:
        lines += ["", record.note]
    lines += ["", f"- licence: {record.licence_note}", f"- home page: {record.homepage}", *_pinned_copies(record)]
    if record.obtain:
        lines.append(f"- files without a pinned copy: {record.obtain}")
    lines += ["", "| file | restores | format | SHA-256 |", "| --- | --- | --- | --- |"]
    for file in record.files:
        checksum = "not known"
        if file.pinned:
            checksum = f"`{file.sha256[:16]}…`" if file.sha256 else f"git blob `{file.git_blob[:16]}…`"
        lines.append(f"| {_names(file)} | {file.makes} | {file.format} | {checksum} |")
    return lines


def _weights_show(record: WeightSet, data: Path) -> str:
    lines = [f"{record.title}: {record.citation}", ""]
    lines += [record.note, ""] if record.note else []
    lines += [f"licence: {record.licence_note}", f"home page: {record.homepage}"]
    lines += [f"to obtain: {record.obtain}"] if record.obtain else []
    manifest = WeightsManifest.find(AssetPaths(data, "weights", record.name))
    recorded = {file.name: f"{file.sha256} (recorded when fetched)" for file in manifest.files} if manifest else {}
    files = []
    for file in record.files:
        blob = f"git blob {file.git_blob}" if file.git_blob else "checksum not known"
        files.append(f"  {file.name}  {file.makes}  {file.sha256 or recorded.get(file.name, blob)}")
    lines += ["", *files, "", _fetched(manifest) if manifest else "fetched: not yet"]
    return "\n".join(lines) + "\n"


def _weights_supply(record: WeightSet) -> str:
    pinned = sum(bool(file.at) for file in record.files)
    if pinned == len(record.files):
        return "public sources"
    if pinned:
        return f"{pinned} of {len(record.files)} from public sources, the others from you"
    if all(file.pinned for file in record.files):
        return "a mirror, or you"
    return "you supply it"


def _names(file: WeightFile) -> str:
    return f"`{file.name}`" + (f" (released as `{file.released_as}`)" if file.released_as else "")


KINDS: dict[Kind, AssetKind] = {
    "datasets": AssetKind(
        head=("name", "title", "images", "size", "licence", "where"),
        markdown_head=("name", "in the papers", "images", "size", "licence", "where from"),
        records=datasets,
        find=dataset,
        fetch=fetch_dataset,
        manifest=DatasetManifest,
        row=_dataset_row,
        cells=_dataset_cells,
        markdown_cells=_dataset_markdown_cells,
        describe=_dataset_describe,
        show=_dataset_show,
    ),
    "weights": AssetKind(
        head=("name", "title", "files", "licence", "from", "state"),
        markdown_head=("name", "method", "files", "licence", "from"),
        records=lambda: [weight_set(name) for name in weight_names()],
        find=weight_set,
        fetch=fetch_weights,
        manifest=WeightsManifest,
        row=_weights_row,
        cells=_weights_cells,
        markdown_cells=_weights_markdown_cells,
        describe=_weights_describe,
        show=_weights_show,
    ),
}
