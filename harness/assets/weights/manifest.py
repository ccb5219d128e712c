"""The manifest of a weight set: what is there, and why the rest is not.

It is what DVC depends on, so it depends on the files alone: no times, no paths of this machine, in registry order.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

import msgspec

from harness.records.loading import load_json


class WeightsManifestFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file that is there.

    Attributes
    ----------
    name : str
        Name in the registry.
    bytes : int
        Size.
    sha256 : str
        Checksum.
    """

    name: str
    bytes: int
    sha256: str


class WeightsManifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is there of a weight set.

    Attributes
    ----------
    weights : str
        Canonical name.
    status : str
        ``complete``, ``partial`` or ``missing``.
    reason : str
        Why files are missing, one sentence; empty where none is.
    files : tuple of WeightsManifestFile
        The files that are there.
    """

    weights: str
    status: Literal["complete", "partial", "missing"]
    reason: str
    files: tuple[WeightsManifestFile, ...]

    @property
    def complete(self) -> bool:
        """Whether every file is there."""
        return self.status == "complete"

    def text(self) -> str:
        """Write the manifest as JSON, one file a line, the same text for the same files."""
        head = {"weights": self.weights, "status": self.status, "reason": self.reason}
        lines = [f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}," for key, value in head.items()]
        files = [json.dumps(msgspec.to_builtins(file)) for file in self.files]
        body = ' "files": [\n  ' + ",\n  ".join(files) + "\n ]" if files else ' "files": []'
        return "\n".join(["{", *lines, body, "}"]) + "\n"


def make_manifest(name: str, files: Iterable[WeightsManifestFile], total: int, reason: str) -> WeightsManifest:
    """Make a manifest; its status follows from how many of `total` files are there."""
    there = tuple(files)
    status: Literal["complete", "partial", "missing"] = (
        "complete" if len(there) == total else "partial" if there else "missing"
    )
    return WeightsManifest(name, status, "" if status == "complete" else reason, there)


def read_manifest(path: Path) -> WeightsManifest:
    """Read a manifest; HarnessError where there is none or it is damaged."""
    return load_json(path, WeightsManifest)
