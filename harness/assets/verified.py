"""What was verified before: file stats beside checksums, so that a second look at a set takes milliseconds.

A file counts as unchanged while its size, modification time (ns) and inode are what they were when it was hashed. That
is a reason not to hash it again before every table, not a proof: reading an image or loading weights always hashes the
bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.assets.places import ADVICE, AssetPaths, record_path
from harness.files import file_sha256, git_blob, update_text
from harness.registries import REGISTRIES

_VERSION = 1


def _key(stat: os.stat_result) -> str:
    return f"{stat.st_ino}-{stat.st_size}-{stat.st_mtime_ns}"


class Hashes:
    """Checksums of files by their stats.

    `seen`: What an earlier run learned: ``{stats: [sha256, pixels_sha256 or None, shape or None]}``.
    """

    def __init__(self, seen: dict[str, list[Any]]) -> None:
        self._seen = seen
        self._blobs: dict[str, str] = {}
        self._used: dict[str, list[Any]] = {}
        self._lock = threading.Lock()

    @property
    def used(self) -> dict[str, list[Any]]:
        """What this run looked up or learned: what is worth keeping."""
        with self._lock:
            return dict(self._used)

    def _look(self, path: Path, entry: int, learn: Callable[[], list[Any]]) -> list[Any]:
        key = _key(os.stat(path))
        with self._lock:
            known = self._used.get(key) or self._seen.get(key)
        if known is None or known[entry] is None:
            known = learn()
        with self._lock:
            self._used[key] = known
        return known

    def sha256(self, path: Path) -> str:
        """SHA-256 of a file's bytes; OSError where it cannot be read."""
        return str(self._look(path, 0, lambda: [file_sha256(path), None, None])[0])

    def git_blob(self, path: Path) -> str:
        """Give git's id of a file's bytes; OSError where it cannot be read."""
        key = _key(os.stat(path))
        if key not in self._blobs:
            self._blobs[key] = git_blob(path)
        return self._blobs[key]

    def image(self, path: Path) -> tuple[str, str, tuple[int, ...]]:
        """SHA-256 of a file's bytes and of its pixels, and its shape.

        Raises HarnessError: Not an 8-bit image.
        Raises OSError: The file cannot be read.
        """

        def learn() -> list[Any]:
            from harness.images import decode_image, pixels_sha256

            data = path.read_bytes()
            pixels = decode_image(data, str(path))
            return [hashlib.sha256(data).hexdigest(), pixels_sha256(pixels), list(pixels.shape)]

        sha256, pixels, shape = self._look(path, 1, learn)
        return sha256, pixels, tuple(shape)


def read_state(paths: AssetPaths) -> dict[str, Any]:
    """Read what is remembered of a set; an empty dict where that is nothing or damaged."""
    try:
        state = json.loads(paths.state.read_bytes())
        if isinstance(state, dict) and state.get("version") == _VERSION and isinstance(state["seen"], dict):
            return state
    except (OSError, ValueError, KeyError):
        pass
    return {}


def write_state(paths: AssetPaths, manifest: str, hashes: Hashes, held: dict[str, str]) -> None:
    """Remember verified files, the text of the manifest (empty where it is not complete), and each file's SHA-256."""
    state = {
        "version": _VERSION,
        "record": _record_sha256(paths),
        "manifest": manifest,
        "base": _base_sha256(paths, manifest),
        "seen": hashes.used,
        "held": held,
    }
    update_text(paths.state, json.dumps(state, separators=(",", ":")), ADVICE)


def forget(paths: AssetPaths) -> None:
    """Drop what is remembered of a set, so that the next fetch hashes every file."""
    with contextlib.suppress(OSError):
        paths.state.unlink(missing_ok=True)


def _record_sha256(paths: AssetPaths) -> str:
    path = record_path(paths.kind, paths.name)
    if path is None:
        made = REGISTRIES.get("dataset") if paths.kind == "datasets" else None
        return made.known_by.get(paths.name, "") if made is not None else ""
    return file_sha256(path)


def _base_sha256(paths: AssetPaths, manifest: str) -> str:
    """Hash the manifest of the dataset that this one is derived from; empty where it is not derived."""
    base = json.loads(manifest).get("base") if manifest else ""
    return file_sha256(paths._replace(name=base).manifest) if base else ""


def still_complete(paths: AssetPaths) -> dict[str, Any] | None:
    """Find out quickly whether a set is complete and unchanged, and put its manifest back if it was removed.

    DVC removes the outputs of a stage before it runs; what the manifest said is kept beside the file stats.

    Returns: The manifest as plain values; None where a proper fetch has to decide.
    """
    state = read_state(paths)
    text, record = state.get("manifest"), _record_sha256(paths)
    # Of a set that a function gives nothing is known before its plugin is loaded.
    if not text or not record or state.get("record") != record:
        return None
    try:
        manifest = json.loads(text)
        if base := manifest.get("base"):
            if still_complete(paths._replace(name=base)) is None or _base_sha256(paths, text) != state.get("base"):
                return None
        else:
            folder, seen = os.path.join(paths.folder, ""), state["seen"]
            for file in manifest["files"]:
                if seen[_key(os.stat(folder + file["name"]))][0] != file["sha256"]:
                    return None
    except (OSError, ValueError, KeyError, TypeError, IndexError, AttributeError):
        return None
    update_text(paths.manifest, text, ADVICE)
    return dict(manifest)
