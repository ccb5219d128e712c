"""Listing the registry: for the terminal, as JSON, and as the generated part of docs/datasets.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.assets.datasets import folders, places
from harness.assets.datasets.registry import Dataset, dataset, datasets
from harness.assets.datasets.supplied import unpacked_text
from harness.assets.datasets.verified import still_complete

_SUPPLY = {
    "pinned": "public sources",
    "embedded": "comes with scikit-image",
    "user": "you supply it",
    "derived": "made from",
}
_KIND = {"images": "images", "pairs": "pairs", "inputs": "inputs, no ground truth"}


def size_text(size: int) -> str:
    """Write a number of bytes for readers; empty where it is not known."""
    if not size:
        return ""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def supply_text(record: Dataset) -> str:
    """Say in a few words where a dataset comes from."""
    text = _SUPPLY[record.supply]
    return f"{text} {record.base}" if record.base else text


def where(record: Dataset, data: Path) -> str:
    """Say whether a dataset is here, or where a fetch would look first."""
    if still_complete(record.name, data) is not None:
        return "present"
    holder = dataset(record.base) if record.base else record
    for mirror in folders.mirrors()[0]:
        if any((mirror / path).is_dir() for path in holder.mirror_paths):
            return "mirror"
    if (data / "own" / holder.name).is_dir():
        return "own folder"
    return supply_text(record)


def rows(data: Path) -> list[dict[str, Any]]:
    """List every dataset as plain values, by name.

    Parameters
    ----------
    data : path
        Folder of fetched files.
    """
    return [
        {
            "name": record.name,
            "title": record.title,
            "aliases": list(record.aliases),
            "kind": record.kind,
            "images": record.count,
            "bytes": record.bytes or None,
            "licence": record.licence,
            "supply": record.supply,
            "where": where(record, data),
        }
        for record in datasets()
    ]


def text(data: Path) -> str:
    """Write the table for a terminal."""
    head = ("name", "title", "images", "size", "licence", "where")
    body = [
        (
            row["name"],
            row["title"],
            f"{row['images']}{'' if row['kind'] == 'images' else ' ' + row['kind']}",
            size_text(row["bytes"] or 0),
            row["licence"],
            row["where"],
        )
        for row in rows(data)
    ]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (head, *body)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def markdown() -> str:
    """Write the registry as Markdown: the same text on every machine."""
    records = datasets()
    lines = ["| name | in the papers | images | size | licence | where from |", "| --- | --- | --- | --- | --- | --- |"]
    for record in records:
        kind = "" if record.kind == "images" else f" {_KIND[record.kind]}"
        lines.append(
            f"| `{record.name}` | {record.title} | {record.count:,}{kind} | {size_text(record.bytes)} "
            f"| {record.licence} | {supply_text(record)} |"
        )
    for record in records:
        lines += ["", f"### {record.name}", "", *describe(record)]
    return "\n".join(lines) + "\n"


def describe(record: Dataset) -> list[str]:
    """Describe one dataset in Markdown lines."""
    lines = [record.description]
    if record.note:
        lines += ["", record.note]
    lines += ["", f"- licence: {record.licence_note}", f"- home page: {record.homepage}", f"- cite: {record.citation}"]
    if record.aliases:
        lines.append("- also called: " + ", ".join(f"`{alias}`" for alias in record.aliases))
    if record.sources:
        repositories = dict.fromkeys(source.repo for source in record.sources)
        lines.append("- pinned copies: " + ", ".join(f"`{repository}`" for repository in repositories))
    if record.supply == "user":
        lines.append("- your folder holds " + ", or ".join(_layout_markdown(record)))
    return lines


def _layout_markdown(record: Dataset) -> list[str]:
    texts = []
    for layout in record.folder_layouts:
        parts = [(layout.input, "degraded"), (layout.target, "ground truth")]
        text = " and ".join(f"`{pattern}` ({what})" for pattern, what in parts if pattern)
        texts.append(f"{text} with `{layout.listed}`" if layout.listed else text)
    return texts + unpacked_text(record)


def show(record: Dataset, data: Path) -> str:
    """Describe one dataset for a terminal, with its state here."""
    lines = [f"{record.name} ({record.title}): {record.count:,} {_KIND[record.kind]}", "", *describe(record), ""]
    if record.bytes:
        lines.append(f"size: {size_text(record.bytes)} in {len(record.files)} files")
    lines.append(f"where: {where(record, data)}")
    manifest = places.manifest_path(data, record.name)
    if manifest.is_file():
        from harness.assets.datasets.manifest import read_manifest

        found = read_manifest(manifest)
        lines.append(f"fetched: {found.status}" + (f", {found.reason}" if found.reason else ""))
    return "\n".join(lines).replace("`", "") + "\n"
