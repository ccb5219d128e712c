"""What made a number, as pairs of a label and a text: read from the files that the stages left beside their results.

Files are read as plain JSON, so that facts which a later version records are shown too.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from harness.records.cells import FIRST_DRAW, Group
from harness.records.runs import Confirmation, wrote
from harness.run.chain import confirmation_words, revision_words
from harness.tables.workspace import Workspace

Fact = tuple[str, str]

# Below work/: what `Group.place` names in each of these is no description of a run.
_NOT_FACTS = frozenset({"inputs", "restored", "rows", "partial", "code", "cost"})

_SHOWN_ELSEWHERE = frozenset(
    {"group", "levels", "images", "protocols", "reason", "seconds", "record_sha256", "kept", "before"}
)

# A fact that fills more than a few lines is for its file, not for a page.
_LONGEST = 400

_TIME = "time"
_FINISHED = "finished (UTC)"
_CODE = "code fingerprint"
_WEIGHTS = "weights "

# What is known of a run, in the order in which it is told; what later versions add comes after it.
_ORDER = (
    *("code", "degradation_version", "rows_sha256", "revision", "command", "started", "finished", "wall_seconds"),
    *("device", "processor", "cores", "memory", "machine", "peak_memory", "gpu_memory", "python", "libraries"),
    *("precision", "seed", "retries", "confirmed"),
)

# Names of fields that say more than the field's own.
_LABELS = {
    "code": _CODE,
    "rows_sha256": "SHA-256 of the rows",
    "started": "started (UTC)",
    "finished": _FINISHED,
    "wall_seconds": "wall time of the run",
    "gpu_memory": "peak memory on the GPU",
    "python": "Python",
    "retries": "out of memory",
}

# Records of earlier versions have zero where nothing was recorded.
_ZERO_IS_UNKNOWN = frozenset({"cores", "memory", "peak_memory", "gpu_memory", "wall_seconds"})

# Of all libraries those that most results pass through.
_TELLING_LIBRARIES = ("restoration-harness", "numpy", "torch")

_TELLING = frozenset({"revision", _FINISHED, _TIME, _CODE})


def run_facts(workspace: Workspace, group: Group, level: int) -> list[Fact]:
    """List what restored and measured a group's images at a level; empty where nothing was computed here."""
    rows = _record(workspace, "rows", group)
    found: list[Fact] = []
    if rows:
        about = rows.get("levels", {}).get(str(level), {})
        found += [(_WEIGHTS + name, digest) for name, digest in sorted(about.get("weights", {}).items())]
        found += [
            (f"own file {name}", f"{of['sha256']}, {of['bytes']:,} bytes")
            for name, of in sorted(about.get("own_files", {}).items())
        ]
        versions = sorted(rows.get("protocols", {}).values())
        found += [("protocol versions", ", ".join(versions))] if versions else []
        found += _facts(rows)
    folders = sorted(path.name for path in workspace.work.iterdir() if path.is_dir()) if workspace.work.is_dir() else []
    for kind in folders:
        plain = {} if kind in _NOT_FACTS else _of_level(_record(workspace, kind, group), level)
        if took := _seconds(plain, f"{level}/"):
            found.append((_TIME, f"{math.fsum(took) / len(took):.3g} s an image ({len(took)} images)"))
        found += _facts(plain)
    return list(dict.fromkeys(found))


def telling_facts(facts: Iterable[Fact]) -> list[Fact]:
    """Choose of a run's facts those that tell numbers apart: weights, code, revision, date, time, versions."""
    found = []
    for label, text in facts:
        if label in _TELLING or label.startswith(_WEIGHTS):
            found.append((label, text))
        elif label == "libraries":
            versions = [item for item in text.split(", ") if item.rpartition(" ")[0] in _TELLING_LIBRARIES]
            found += [("versions", ", ".join(versions))] if versions else []
    return found


def plain_facts(path: Path) -> list[Fact]:
    """List the fields of any JSON file; long lists and tables are left out."""
    return [(name, text) for name, text in _facts(_read(path)) if len(text) <= _LONGEST]


def seconds_of(workspace: Workspace, group: Group, level: int) -> list[float]:
    """Measured wall times of a group's images at a level (draw 0), in seconds; without those of an earlier run."""
    return _seconds(_of_level(_record(workspace, "timing", group), level), f"{level}/draw{FIRST_DRAW}/")


def machine_of(workspace: Workspace, group: Group) -> str:
    """What restored a group's images: the GPU, else the processor; empty where that was not recorded."""
    run = _record(workspace, "timing", group)
    device, processor = str(run.get("device", "")), str(run.get("processor", ""))
    return processor if device in ("", "cpu") else device


def _of_level(run: dict[str, Any], level: int) -> dict[str, Any]:
    """The run that made a level's images, where a later one kept them (`harness.records.runs.RunRecord.of_level`)."""
    while level in run.get("kept", ()) and isinstance(run.get("before"), dict):
        run = run["before"]
    return run


def _seconds(plain: dict[str, Any], start: str) -> list[float]:
    seconds = plain.get("seconds")
    found = seconds.items() if isinstance(seconds, dict) else ()
    return [float(took) for file, took in found if file.startswith(start) and took > 0]


def pixel_hashes(workspace: Workspace, group: Group, level: int) -> dict[str, str]:
    """SHA-256 of the pixels of every restored image of a level (noise draw 0), by image."""
    start = f"{level}/draw{FIRST_DRAW}/"
    images = _read(workspace.work / "restored" / group.place / "restored.json").get("images", {})
    return {
        file.removeprefix(start).removesuffix(".png"): digest
        for file, digest in images.items()
        if file.startswith(start)
    }


def _facts(plain: dict[str, Any]) -> list[Fact]:
    found: list[Fact] = []
    for key in sorted(plain, key=lambda key: _ORDER.index(key) if key in _ORDER else len(_ORDER)):
        value = plain[key]
        if key in _SHOWN_ELSEWHERE or value in ("", None, {}, []) or (key in _ZERO_IS_UNKNOWN and not value):
            continue
        if key == "confirmed":
            with contextlib.suppress(msgspec.ValidationError):
                found += confirmation_words(msgspec.convert(value, tuple[Confirmation, ...]))
        elif key == "revision":
            found.append((key, revision_words(str(value), plain.get("dirty"))))
        elif key == "dirty":
            # Said with the revision; without one it is not known what changed.
            continue
        else:
            found.append((_LABELS.get(key, key.replace("_", " ")), _text(key, value)))
    return found


def _text(key: str, value: Any) -> str:
    if key.endswith("memory") and isinstance(value, int):
        return f"{value / 2**20:,.0f} MiB"
    if key == "wall_seconds" and isinstance(value, float | int):
        return f"{value:.3g} s"
    if key in ("started", "finished"):
        return str(value).removesuffix("+00:00").replace("T", " ")
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(name, item)}" for name, item in value.items())
    if isinstance(value, list):
        return (" " if key == "command" else ", ").join(_text(key, item) for item in value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _record(workspace: Workspace, kind: str, group: Group) -> dict[str, Any]:
    found = _read(workspace.work / kind / group.place.with_name(group.place.name + ".json"))
    # Of a run whose results are not those that lie here nothing is told.
    return found if kind != "timing" or wrote(workspace.work, group, str(found.get("record_sha256", ""))) else {}


def _read(path: Path) -> dict[str, Any]:
    """Read a JSON file; empty where there is none, or none of fields."""
    if not path.is_file():
        return {}
    try:
        plain = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        # A fact like others: one damaged file must not keep every page from being written.
        return {"damaged": f"{path}: not valid JSON ({error}); delete it and run harness repro"}
    return plain if isinstance(plain, dict) else {}
