"""What was verified before, so that a second look at a weight set takes milliseconds.

A file counts as unchanged while its size, modification time (ns) and inode are what they were when it was hashed. That
is a reason not to hash it again before every table, not a proof: loading weights always hashes the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from harness.assets.weights import places

_VERSION = 1


def stat_key(path: str | os.PathLike[str]) -> str:
    """Name a file's state: inode, size and modification time; OSError where it is not there."""
    stat = os.stat(path)
    return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}"


def write_state(data: Path, name: str, record: str, manifest: str, seen: dict[str, str]) -> None:
    """Remember a complete weight set.

    Parameters
    ----------
    data : path
        Folder of fetched files.
    name : str
        Weight set.
    record : str
        `stat_key` of its registry record.
    manifest : str
        Text of its manifest.
    seen : dict
        `stat_key` by file name.
    """
    from harness.assets.datasets.places import write_whole

    state = {"version": _VERSION, "record": record, "manifest": manifest, "seen": seen}
    write_whole(places.state_path(data, name), json.dumps(state, separators=(",", ":")))


def still_complete(name: str, data: Path) -> dict[str, Any] | None:
    """Find out quickly whether a weight set is complete and unchanged, and put a removed manifest back.

    DVC removes the outputs of a stage before it runs.

    Parameters
    ----------
    name : str
        Weight set.
    data : path
        Folder of fetched files.

    Returns
    -------
    dict or None
        The manifest as plain values; None where a proper fetch has to decide.
    """
    record = places.REGISTRY / f"{name}.json"  # not by `harness.assets.weights.registry`: it imports msgspec
    try:
        state = json.loads(places.state_path(data, name).read_bytes())
        if state["version"] != _VERSION or state["record"] != stat_key(record):
            return None
        manifest = json.loads(state["manifest"])
        folder = os.path.join(places.weights_folder(data, name), "")
        for file in manifest["files"]:
            if stat_key(folder + file["name"]) != state["seen"][file["name"]]:
                return None
        text = state["manifest"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    path = places.manifest_path(data, name)
    try:
        if path.read_bytes() == text.encode("utf-8"):
            return dict(manifest)
    except OSError:
        pass
    from harness.assets.datasets.places import write_whole

    write_whole(path, text)
    return dict(manifest)
