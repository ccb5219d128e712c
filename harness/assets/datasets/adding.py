"""Registering a user's own set: a record beside params.yaml, made from a folder and two patterns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from harness.assets.datasets import folders, layouts
from harness.assets.datasets.registry import Dataset, Layout, dataset_names, read_record
from harness.assets.places import ADVICE, OWN_RECORDS
from harness.errors import HarnessError
from harness.files import write_text
from harness.names import check_name, is_safe

_BRACES = re.compile(r"\{([^}]*)\}")

# Fields of a record of the user's own, in the order in which they are written.
_WRITTEN = (
    *("name", "title", "kind", "count", "supply", "description"),
    *("licence", "licence_note", "homepage", "citation", "layouts"),
)

# Names of pairs in one folder, degraded first.
_USUAL_NAMES = (
    ("rain-{id}.*", "norain-{id}.*"),
    *(
        (f"{{id}}_{degraded}.*", f"{{id}}_{clean}.*")
        for degraded, clean in (
            ("noisy", "clean"),
            ("noisy", "gt"),
            ("real", "mean"),
            ("rain", "clean"),
            ("rain", "norain"),
            ("rain", "gt"),
            ("blur", "sharp"),
            ("blur", "gt"),
            ("input", "target"),
            ("input", "gt"),
            ("lq", "gt"),
        )
    ),
)


def add_dataset(
    name: str, folder: Path, input_pattern: str = "", target_pattern: str = "", title: str = "", licence: str = ""
) -> tuple[Dataset, Path, tuple[str, ...]]:
    """Write the record of a set of the user's own into the project's folder ``datasets``.

    `name`: Its name: lower-case letters and digits, joined by hyphens.
    `input_pattern`, `target_pattern`: Layout of degraded inputs and ground truth
        (`harness.assets.datasets.registry.Layout`); with both empty, the usual names of folders and files are tried.
        One alone makes a set of inputs, or of images.
    Returns `left`: Files that fit one side of the pairs and have no partner: they are no part of the set.
    Raises HarnessError: The name is taken or not plain, the folder is none, a pattern leaves it, or no image fits.
    """
    from harness.records.workspace import Folder

    check_name(name, "dataset")
    target = Folder.find().root / OWN_RECORDS / f"{name}.json"
    if name in dataset_names():
        where = f"{target} describes it: delete the file to add it anew, or" if target.is_file() else "please"
        raise HarnessError(f"a dataset '{name}' is there already; {where} choose another name")
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder; name the one that holds your images")
    given = [pattern for pattern in (input_pattern, target_pattern) if pattern]
    shared = set.intersection(*(_check_pattern(pattern) for pattern in given)) if given else {"id"}
    if not shared:
        raise HarnessError(
            f"patterns '{input_pattern}' and '{target_pattern}' share no placeholder: call what is equal in the names "
            "of a pair by one name, such as {id}"
        )
    names = folders.files_below(folder)
    tried = [Layout(target_pattern, input_pattern)]
    if not given:
        named = [Layout(target=clean, input=degraded) for degraded, clean in _USUAL_NAMES]
        tried = [*layouts.USUAL_PAIRS, *named, Layout(target="{id}.*")]
    candidates = [
        _arranged(_record(name, layout, title or name, licence or "not stated"), folder, names) for layout in tried
    ]
    # The layout that takes most files; the first of equals.
    best, left = max(candidates, key=lambda one: one[0].count * (2 if one[0].kind == "pairs" else 1))
    if not best.count:
        raise HarnessError(f"{folder}: {_nothing(tried, names)}")
    if same := layouts.alike_but_for_case(image for image, _ in layouts.arrange(best, folder, names).found):
        raise HarnessError(
            f"{folder}: {same[0]} and {same[1]} differ by case only, and many systems take them for one file"
        )
    write_text(target, json.dumps(_plain(best), indent=1, ensure_ascii=False) + "\n", ADVICE)
    try:
        return read_record(target), target, left
    except HarnessError:
        target.unlink()
        raise


def _arranged(record: Dataset, folder: Path, names: list[str]) -> tuple[Dataset, tuple[str, ...]]:
    """Count a layout's images in a folder, or else in the subfolder with the most; also give what has no partner."""
    (layout,) = record.layouts
    pairs = record.kind == "pairs"
    # A count that no folder has: every place is looked at, and the one with the most images is taken.
    arranged = layouts.arrange(msgspec.structs.replace(record, count=-1), folder, names)
    here = layouts.apply_layout(record, layout, names) if arranged.root else {}
    if arranged.root and (here or not (pairs or "/" in layout.target + layout.input)):
        return msgspec.structs.replace(record, count=len({image for image, _ in here})), ()
    if pairs and arranged.root and "{" not in arranged.root:  # the record says where they are, and so does the command
        layout = msgspec.structs.replace(
            layout, target=arranged.root + layout.target, input=arranged.root + layout.input
        )
    return msgspec.structs.replace(record, count=arranged.images, layouts=(layout,)), arranged.alone


def _check_pattern(pattern: str) -> set[str]:
    """Refuse a pattern that leaves the folder or has no placeholder; give its placeholders."""
    stem = pattern.removesuffix(".*")
    keys = set(_BRACES.findall(stem))
    odd = sorted(key for key in keys if not re.fullmatch("[a-z]+", key))
    if odd:
        raise HarnessError(f"pattern '{pattern}': write placeholders in lower-case letters, not {{{odd[0]}}}")
    if not is_safe(stem) or not keys:
        raise HarnessError(
            f"pattern '{pattern}': write a path below the folder with a placeholder, such as 'noisy/{{id}}.*'"
        )
    return keys


def _record(name: str, layout: Layout, title: str, licence: str) -> Dataset:
    kind = "pairs" if layout.input and layout.target else ("images" if layout.target else "inputs")
    return Dataset(
        name=name,
        title=title,
        kind=kind,  # type: ignore[arg-type]
        count=0,
        supply="user",
        description="A set of the user's own.",
        licence=licence,
        licence_note=licence,
        homepage="its own folder",
        citation="none",
        layouts=(layout,),
    )


def _plain(record: Dataset) -> dict[str, Any]:
    """Give the fields that `_record` fills, for reading and editing."""
    plain: dict[str, Any] = msgspec.to_builtins(record)
    plain["layouts"] = [{key: value for key, value in layout.items() if value} for layout in plain["layouts"]]
    return {key: plain[key] for key in _WRITTEN}


def _nothing(tried: list[Layout], names: list[str]) -> str:
    if not names:
        return "holds no image files (PNG, BMP, TIFF, JPEG); name another folder"
    example = f"the first of its {len(names)} image files is {folders.printable(names[0])}"
    if len(tried) > 1:
        return f"holds no pairs under the usual names; say where they are with --input and --target ({example})"
    patterns = " and ".join(pattern for pattern in (tried[0].input, tried[0].target) if pattern)
    return f"holds no images as {patterns}; {example}"
