"""Measured rows: one value per image and protocol, as CSV with a record of what made them."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import msgspec

from harness.errors import HarnessError, Missing
from harness.files import write_json, write_text
from harness.records.cells import Group
from harness.records.loading import load_json
from harness.records.restored import LevelRecord

# Stands for the image in rows of a metric that only the whole set has.
WHOLE_SET = "not per image"

FIELDS = ("level", "draw", "image", "protocol", "value")


class ImageRow(msgspec.Struct, frozen=True, order=True):
    """One measured value.

    `level`, `draw`, `image`: Which input; draw 0 is the one that counts. The image is `WHOLE_SET` for metrics of a set.
    `protocol`: Version of the protocol, such as ``ssim-8x8.1`` (the record tells its name).
    `value`: dB for PSNR, 0..1 for SSIM.
    """

    level: int
    draw: int
    image: str
    protocol: str
    value: float


class MeasuredRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a file of rows holds and what made it.

    `group`: Task, dataset, degradation, method, policy.
    `protocols`: Version of every protocol measured, by name.
    `code`: Fingerprint of the code that restored.
    `reason`: Why there are no rows at all.
    `levels`: Weights, or the reason why a level has no rows.
    `images`: Images in the dataset (noise draw 0).
    `unmeasured`: By level: the protocols under which an image could not be measured, and why. They have no rows at that
        level: a mean over the other images would be another number.
    `missing`: What the reason names, as data.
    `unmeasured_missing`: By level and protocol: what the reason in `unmeasured` names, as data.
    `made_with`: By protocol of a plugin's metric: hash of its code, versions of packages, hashes of the files it read.
    `rows_sha256`: Checksum of the file of rows, so that a row that changed on a disk or in a cache is noticed.
    """

    group: Group
    origin: str
    degradation_version: int
    protocols: dict[str, str]
    code: str
    reason: str
    levels: dict[int, LevelRecord]
    images: int
    unmeasured: dict[int, dict[str, str]] = {}
    missing: Missing | None = None
    unmeasured_missing: dict[int, dict[str, Missing]] = {}
    made_with: dict[str, dict[str, str]] = {}
    rows_sha256: str = ""

    @property
    def all_missing(self) -> set[Missing]:
        """Everything that is named as missing."""
        of_levels = (of.missing for of in self.levels.values())
        of_protocols = (missing for of_level in self.unmeasured_missing.values() for missing in of_level.values())
        return {missing for missing in (self.missing, *of_levels, *of_protocols) if missing}


def write_rows(path: Path, record: MeasuredRecord, rows: list[ImageRow]) -> None:
    """Write rows as CSV (every digit of a value) and the record beside it as JSON."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(FIELDS)
    for row in rows:
        writer.writerow((row.level, row.draw, row.image, row.protocol, repr(float(row.value))))
    write_text(path, text.getvalue())
    write_json(path.with_suffix(".json"), msgspec.structs.replace(record, rows_sha256=_sha256(text.getvalue())))


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def read_measured(path: Path) -> MeasuredRecord:
    """Read the record beside a file of rows."""
    return load_json(path.with_suffix(".json"), MeasuredRecord)


def read_rows(path: Path) -> tuple[MeasuredRecord, list[ImageRow]]:
    """Read what `write_rows` wrote; the record comes back as it was given.

    Raises HarnessError: A file is missing or damaged.
    """
    record = read_measured(path)
    try:
        text = path.read_bytes().decode("utf-8")
        reader = csv.reader(io.StringIO(text, newline=""))
        if tuple(next(reader, ())) != FIELDS:
            raise ValueError("the heading is not " + ",".join(FIELDS))
        rows = [ImageRow(int(a), int(b), c, d, float(e)) for a, b, c, d, e in reader]
        if record.rows_sha256 and _sha256(text) != record.rows_sha256:
            raise ValueError("its checksum is not the recorded one")
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such file; run harness repro") from None
    except (ValueError, csv.Error) as error:
        raise HarnessError(f"{path}: damaged ({error}); delete it and run harness repro") from None
    return msgspec.structs.replace(record, rows_sha256=""), rows
