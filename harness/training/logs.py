"""The log of a run: CSV always, and event files that TensorBoard reads where it is installed."""

from __future__ import annotations

import contextlib
import csv
import os
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

from harness.errors import HarnessError
from harness.files import write_text

FILE = "log.csv"

_OF_A_SET = "psnr_"


class LogRow(msgspec.Struct, frozen=True):
    """One line of the log.

    `loss`: Mean over the steps since the line before.
    `rate`: Learning rate of the last step.
    `gradient`: Norm of the last step's gradient, before clipping.
    `psnr`: On the first validation set, dB; None where it was not measured.
    `images_per_second`: Patches, over all processes, since the line before.
    `waiting`: Share of the time since the line before in which the loop waited for samples.
    `psnrs`: PSNR of each set, dB, where validation sets were named; in the file a column ``psnr_<set>`` each.
    """

    iteration: int
    loss: float
    rate: float
    gradient: float
    psnr: float | None
    images_per_second: float
    waiting: float
    seconds: float
    psnrs: dict[str, float] = {}

    @property
    def curves(self) -> dict[str, float]:
        """What is drawn over the iterations, by name; what was not measured is left out."""
        values = {name: getattr(self, name) for name in ("loss", "rate", "gradient", "psnr")}
        values |= {f"{_OF_A_SET}{name}": value for name, value in self.psnrs.items()}
        values |= {"images_per_second": self.images_per_second, "waiting": self.waiting}
        return {name: value for name, value in values.items() if value is not None}


class Tracker(Protocol):
    """What gets a copy of the log."""

    def add(self, row: LogRow) -> None:
        """Take a line."""

    def close(self) -> None:
        """Take note that no more lines come."""


FIELDS = LogRow.__struct_fields__[:-1]


def columns(sets: Iterable[str]) -> tuple[str, ...]:
    """Name the columns of a log: `FIELDS`, and one for each validation set that was named."""
    return (*FIELDS, *(f"{_OF_A_SET}{name}" for name in sets))


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
            psnrs = {
                key.removeprefix(_OF_A_SET): float(text)
                for key, text in line.items()
                if key and key.startswith(_OF_A_SET) and text
            }
            rows.append(LogRow(**{**values, "iteration": int(line["iteration"])}, psnrs=psnrs))  # type: ignore[arg-type]
    return rows


class Log:
    """Appends to the log of a run.

    `start`: Steps made before; later lines of an interrupted run are dropped.
    `sets`: Validation sets that have a column each.
    `notice`: Gets what goes wrong with a copy of the log, a sentence at a time.
    """

    def __init__(
        self, folder: Path, start: int, sets: tuple[str, ...] = (), notice: Callable[[str], None] = lambda text: None
    ) -> None:
        self.path, self._notice = folder / FILE, notice
        self.rows = [row for row in read_log(self.path) if row.iteration <= start]
        # Columns of sets that are watched no more stay, for the lines that have them.
        self.sets = tuple(dict.fromkeys([*sets, *(name for row in self.rows for name in row.psnrs)]))
        write_text(self.path, ",".join(columns(self.sets)) + "\n" + "".join(map(self._line, self.rows)))
        self._copies: list[Tracker] = []
        events = _Events.beginning(folder / "events", start)
        if events is not None:
            self._copies.append(events)

    def also(self, begin: Callable[[list[LogRow]], Tracker]) -> None:
        """Write a copy of the log to a tracker; `begin` gets the lines that are there."""
        self._safely(lambda: self._copies.append(begin(self.rows)), "cannot begin")

    def add(self, row: LogRow) -> None:
        """Write a line now."""
        self.rows.append(row)
        try:
            with open(self.path, "a", encoding="utf-8", newline="") as file:
                file.write(self._line(row))
        except OSError as error:
            raise HarnessError(
                f"{self.path}: cannot be written ({error.strerror or error}); the last checkpoint is kept, "
                "the same command goes on from it"
            ) from error
        for copy in list(self._copies):
            # The CSV file is the record; a run does not end for a copy of it.
            if not self._safely(lambda copy=copy: copy.add(row), "is not written any more"):  # type: ignore[misc]
                self._copies.remove(copy)
                self._safely(copy.close, "")

    def close(self) -> None:
        """Close the copies of the log."""
        copies, self._copies = self._copies, []
        for copy in copies:
            self._safely(copy.close, "was not closed")

    def _safely(self, write: Callable[[], object], problem: str) -> bool:
        """Call a function of a tracker, and say what went wrong; return whether it went well."""
        try:
            write()
        except Exception as error:
            if problem:
                self._notice(f"a copy of the log {problem} ({type(error).__name__}: {error}); the training goes on")
            return False
        return True

    def _line(self, row: LogRow) -> str:
        values = [*(getattr(row, key) for key in FIELDS), *(row.psnrs.get(name) for name in self.sets)]
        return ",".join("" if v is None else str(v) if isinstance(v, int) else f"{v:.8g}" for v in values) + "\n"


class _Events:
    """An event file, written here and now: TensorBoard's own writer does it in a thread, whose errors are lost."""

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

        summary = Summary(value=[Summary.Value(tag=tag, simple_value=value) for tag, value in row.curves.items()])
        self._write(step=row.iteration, summary=summary)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, **fields: Any) -> None:
        from tensorboard.compat.proto.event_pb2 import Event

        self._records.write(Event(wall_time=time.time(), **fields).SerializeToString())
        self._file.flush()
