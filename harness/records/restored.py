"""The record of a folder of restored images: what it holds and what made it."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, Missing
from harness.images import read_fine_png, read_image
from harness.names import is_safe
from harness.records.cells import Group
from harness.records.loading import load_json

RECORD = "restored.json"


class OwnFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of the user's own that a method loads or depends on, as it was when the method ran."""

    sha256: str
    bytes: int

    def __str__(self) -> str:
        """Give both for readers."""
        return f"SHA-256 {self.sha256}, {self.bytes:,} bytes"


class LevelRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is known of the restored images of one level.

    `reason`: Why the level was not run; empty where it was.
    `weights`: SHA-256 of every weights file used, by its name in the registry; of a user's own by its path.
    `own_files`: The user's own files among them, and those that the method depends on, by path in the workspace; those
        that lie elsewhere by name.
    `missing`: What the reason names, as data.
    """

    reason: str
    weights: dict[str, str]
    missing: Missing | None = None
    own_files: dict[str, OwnFile] = {}


class RestoredRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a folder of restored images holds and what made it.

    `group`: Task, dataset, degradation, method, policy.
    `origin`: ``none``, ``released`` or ``trained``.
    `code`: Fingerprint of the code that restored.
    `reason`: Why nothing was run at all; empty otherwise.
    `images`: SHA-256 of the pixels, by relative file name.
    `missing`: What the reason names, as data.
    """

    group: Group
    origin: str
    degradation_version: int
    code: str
    reason: str
    levels: dict[int, LevelRecord]
    images: dict[str, str]
    missing: Missing | None = None

    @property
    def all_missing(self) -> set[Missing]:
        """Everything that is named as missing."""
        return {missing for missing in (self.missing, *(of.missing for of in self.levels.values())) if missing}


def read_restored(folder: Path) -> RestoredRecord:
    """Read the record of a folder of restored images; HarnessError where it names files outside."""
    record = load_json(folder / RECORD, RestoredRecord)
    for name in record.images:
        if not is_safe(name):
            raise HarnessError(f"{folder / RECORD}: the file name '{name}' leaves the folder; delete it, run again")
    return record


def read_pixels(file: Path, saving: str) -> NDArray[np.uint8] | NDArray[np.float64]:
    """Read a restored image: 8-bit, or float64 in units of 0..255 where it was saved unrounded."""
    return read_fine_png(file) if saving == "unrounded" else read_image(file)
