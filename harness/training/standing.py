"""What is there of a run already, and why an earlier run of the same network does not go on.

A run lies in a folder that is named by all that its weights depend on. Where some of it was changed, by an option that
changes no mathematics for example, a new run begins; then the earlier ones are named, with what differs.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import plural
from harness.files import write_json
from harness.training.checkpoints import FILE, Progress, read_progress

IDENTITY = "identity.json"

# What stands for much: its value says nothing to a reader.
_DIGESTS = {"network": "its network has other weights", "images": "its training images were others"}


def write_identity(folder: Path, identity: Mapping[str, Any]) -> None:
    """Note beside a run what its weights depend on."""
    write_json(folder / IDENTITY, dict(identity))


def progress_of(folder: Path) -> Progress | None:
    """Read how far the checkpoint of a run's folder has come; None where there is none that can be read."""
    from safetensors import SafetensorError

    try:
        return read_progress(folder / FILE)
    except (OSError, SafetensorError, KeyError, TypeError, RecursionError, msgspec.DecodeError):
        return None


def not_continued(folder: Path, identity: Mapping[str, Any]) -> list[str]:
    """Say which other runs of a method, task and level are there, and why they do not go on here.

    `folder`: Of the run that begins; the others lie beside it.
    `identity`: What its weights depend on.
    Returns: A sentence a run, the longest run first.
    """
    found = []
    for other in folder.parent.glob(f"*/{FILE}"):
        progress = progress_of(other.parent)
        if other.parent != folder and progress is not None:
            found.append((-progress.iteration, other.parent, _reasons(other.parent, identity)))
    return [
        f"begins anew: the run of {plural(-iteration, 'iteration')} in {place} does not go on, for {reasons}"
        for iteration, place, reasons in sorted(found)
    ]


def _reasons(other: Path, identity: Mapping[str, Any]) -> str:
    try:
        before = msgspec.json.decode((other / IDENTITY).read_bytes(), type=dict[str, Any])
    except (OSError, RecursionError, UnicodeDecodeError, msgspec.DecodeError):
        return "it was made otherwise (an earlier version did not note how)"
    old, new = dict(_flat(before)), dict(_flat(json.loads(json.dumps(identity))))
    words = [
        _DIGESTS.get(key) or f"its {key} is {_word(old.get(key))}, here {_word(new.get(key))}"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]
    return " and ".join(words) or "it was made otherwise"


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from _flat(inner, f"{before}{key}.")
        else:
            yield before + key, inner


def _word(value: Any) -> str:
    return "not set" if value in (None, "", False) else "on" if value is True else str(value)
