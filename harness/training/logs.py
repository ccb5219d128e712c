"""The log of a run: CSV always, and event files that TensorBoard reads where it is installed."""

from __future__ import annotations

import contextlib
import csv
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError
from harness.files import write_text

FILE = "log.csv"


class LogRow(msgspec.Struct, frozen=True):
    """One line of the log.

    `iteration`: Steps made.
    `loss`: Mean over the steps since the line before.
    `rate`: Learning rate of the last step.
    `gradient`: Norm of the last step's gradient, before clipping.
    `psnr`: On the validation split, dB; None where it was not measured.
    `images_per_second`: Patches, over all processes, since the line before.
    `waiting`: Share of the time since the line before in which the loop waited for samples.
    `seconds`: Training time so far.
    """

    iteration: int
    loss: float
    rate: float
    gradient: float
    psnr: float | None
    images_per_second: float
    waiting: float
    seconds: float


FIELDS = LogRow.__struct_fields__


# A line has a hundred signs; a disk that lost its power may leave a block of any length.
_LONGEST = 10_000


def log_lines(path: Path) -> Iterator[dict[str, str | None]]:
    """Read a log line by line, by heading; nothing where there is no file. A damaged line may hold anything."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    lines = [line for line in text.splitlines() if len(line) < _LONGEST]
    yield from csv.DictReader(lines, quoting=csv.QUOTE_NONE)


def read_log(path: Path) -> list[LogRow]:
    """Read a log; a line that a killed process left half-written is passed over."""
    rows: list[LogRow] = []
    for line in log_lines(path):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            values = {key: float(line[key]) if line[key] else None for key in FIELDS}  # type: ignore[arg-type]
            rows.append(LogRow(**{**values, "iteration": int(line["iteration"])}))  # type: ignore[arg-type]
    return rows


class Log:
    """Appends to the log of a run.

    `folder`: Folder of the run.
    `start`: Steps made before; later lines of an interrupted run are dropped.
    """

    def __init__(self, folder: Path, start: int) -> None:
        self.path = folder / FILE
        self.rows = [row for row in read_log(self.path) if row.iteration <= start]
        write_text(self.path, ",".join(FIELDS) + "\n" + "".join(map(_line, self.rows)))
        self._events = _Events.beginning(folder / "events", start)

    def add(self, row: LogRow) -> None:
        """Write a line now."""
        self.rows.append(row)
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(_line(row))
        except OSError as error:
            raise HarnessError(
                f"{self.path}: cannot be written ({error.strerror or error}); the last checkpoint is kept, "
                "the same command goes on from it"
            ) from error
        if self._events is not None:
            try:
                self._events.add(row)
            except OSError:
                # The CSV file is the record; a run does not end for the copy that TensorBoard reads.
                self.close()

    def close(self) -> None:
        """Close the event file."""
        events, self._events = self._events, None
        if events is not None:
            with contextlib.suppress(OSError):
                events.close()


class _Events:
    """An event file, written here and now: TensorBoard's own writer does it in a thread, whose errors are lost."""

    TAGS = ("loss", "rate", "gradient", "psnr", "images_per_second", "waiting")

    def __init__(self, folder: Path, start: int) -> None:
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        # A name of its own for every process that went on with the run; TensorBoard reads them in order.
        self._file = open(folder / f"events.out.tfevents.{time.time_ns():020d}.{os.getpid()}", "wb")  # noqa: SIM115
        self._records = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")
        # What an interrupted process logged after its last checkpoint does not count.
        self._write(step=start + 1, session_log=SessionLog(status=SessionLog.START))

    @classmethod
    def beginning(cls, folder: Path, start: int) -> _Events | None:
        """Begin a file; None where TensorBoard is not installed or the file cannot be made."""
        try:
            return cls(folder, start)
        except (ImportError, OSError):
            return None

    def add(self, row: LogRow) -> None:
        """Write a row's values."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        values = [(tag, getattr(row, tag)) for tag in self.TAGS]
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values if v is not None])
        self._write(step=row.iteration, summary=summary)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), **fields).SerializeToString())
        self._file.flush()


def _line(row: LogRow) -> str:
    values = (getattr(row, key) for key in FIELDS)
    return ",".join("" if v is None else str(v) if isinstance(v, int) else f"{v:.8g}" for v in values) + "\n"
