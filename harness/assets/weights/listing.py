"""Listing the registry of weights: for the terminal, as JSON, and as the generated part of docs/weights.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.assets.weights import places
from harness.assets.weights.manifest import read_manifest
from harness.assets.weights.registry import WeightFile, WeightSet, weight_names, weight_set


def supply_text(record: WeightSet) -> str:
    """Say in a few words where a weight set comes from."""
    pinned = sum(bool(file.at) for file in record.files)
    if pinned == len(record.files):
        return "public sources"
    if pinned:
        return f"{pinned} of {len(record.files)} from public sources, the others from you"
    if all(file.sha256 for file in record.files):
        return "a mirror, or you"
    return "you supply it"


def state(record: WeightSet, data: Path) -> str:
    """Say what an earlier fetch left: ``complete``, ``partial``, ``missing``, or ``not fetched``."""
    path = places.manifest_path(data, record.name)
    return read_manifest(path).status if path.is_file() else "not fetched"


def rows(data: Path) -> list[dict[str, Any]]:
    """List every weight set as plain values, by name."""
    return [
        {
            "name": record.name,
            "title": record.title,
            "files": len(record.files),
            "bytes": sum(file.bytes for file in record.files) or None,
            "licence": record.licence,
            "supply": supply_text(record),
            "state": state(record, data),
        }
        for record in map(weight_set, weight_names())
    ]


def text(data: Path) -> str:
    """Write the table for a terminal."""
    head = ("name", "title", "files", "licence", "from", "state")
    body = [
        (row["name"], row["title"], str(row["files"]), row["licence"], row["supply"], row["state"])
        for row in rows(data)
    ]
    widths = [max(len(line[column]) for line in (head, *body)) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in (head, *body)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def markdown() -> str:
    """Write the registry as Markdown: the same text on every machine."""
    records = [weight_set(name) for name in weight_names()]
    lines = ["| name | method | files | licence | from |", "| --- | --- | --- | --- | --- |"]
    for record in records:
        lines.append(
            f"| `{record.name}` | {record.title} | {len(record.files)} | {record.licence} | {supply_text(record)} |"
        )
    for record in records:
        lines += ["", f"### {record.name}", "", *describe(record)]
    return "\n".join(lines) + "\n"


def describe(record: WeightSet) -> list[str]:
    """Describe one weight set in Markdown lines."""
    lines = [f"{record.title}: {record.citation}."]
    if record.note:
        lines += ["", record.note]
    lines += ["", f"- licence: {record.licence_note}", f"- home page: {record.homepage}"]
    if record.sources:
        repositories = dict.fromkeys(source.repo for source in record.sources)
        lines.append("- pinned copies: " + ", ".join(f"`{repository}`" for repository in repositories))
    if record.obtain:
        lines.append(f"- files without a pinned copy: {record.obtain}")
    lines += ["", "| file | restores | format | SHA-256 |", "| --- | --- | --- | --- |"]
    for file in record.files:
        lines.append(f"| {_names(file)} | {file.makes} | {file.format} | {_checksum(file)} |")
    return lines


def _names(file: WeightFile) -> str:
    return f"`{file.name}`" + (f" (released as `{file.released_as}`)" if file.released_as else "")


def _checksum(file: WeightFile) -> str:
    return f"`{file.sha256[:16]}…`" if file.sha256 else "not known"


def show(record: WeightSet, data: Path) -> str:
    """Describe one weight set for a terminal, with its state here."""
    lines = [f"{record.title}: {record.citation}", ""]
    lines += [record.note, ""] if record.note else []
    lines += [f"licence: {record.licence_note}", f"home page: {record.homepage}"]
    lines += [f"to obtain: {record.obtain}"] if record.obtain else []
    lines += ["", *(f"  {file.name}  {file.makes}  {file.sha256 or 'checksum not known'}" for file in record.files), ""]
    path = places.manifest_path(data, record.name)
    if path.is_file():
        manifest = read_manifest(path)
        lines.append(f"fetched: {manifest.status}" + (f", {manifest.reason}" if manifest.reason else ""))
    else:
        lines.append("fetched: not yet")
    return "\n".join(lines) + "\n"
