"""The log of a run: CSV always, and event files that TensorBoard reads where it is installed."""

from __future__ import annotations

import contextlib
import csv
import importlib.util
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError
from harness.files import write_text

FILE = "log.csv"


class LogRow(msgspec.Struct, frozen=True):
    """One line of the log.

    Attributes
    ----------
    iteration : int
        Steps made.
    loss : float
        Mean over the steps since the line before.
    rate : float
        Learning rate of the last step.
    gradient : float
        Norm of the last step's gradient, before clipping.
    psnr : float or None
        On the validation split, dB; None where it was not measured.
    images_per_second : float
        Patches, over all processes, since the line before.
    waiting : float
        Share of the time since the line before in which the loop waited for samples.
    seconds : float
        Training time so far.
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


def read_log(path: Path) -> list[LogRow]:
    """Read a log; a line that a killed process left half-written is passed over."""
    rows: list[LogRow] = []
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for line in csv.DictReader(file):
                try:
                    values = {key: float(line[key]) if line[key] else None for key in FIELDS}
                    rows.append(LogRow(**{**values, "iteration": int(line["iteration"])}))  # type: ignore[arg-type]
                except (KeyError, TypeError, ValueError):
                    continue
    except FileNotFoundError:
        return []
    return rows


class Log:
    """Appends to the log of a run.

    Parameters
    ----------
    folder : path
        Folder of the run.
    start : int
        Steps made before; later lines of an interrupted run are dropped.
    """

    def __init__(self, folder: Path, start: int) -> None:
        self.path = folder / FILE
        self.rows = [row for row in read_log(self.path) if row.iteration <= start]
        write_text(self.path, ",".join(FIELDS) + "\n" + "".join(map(_line, self.rows)))
        self._writer: Any = None
        if importlib.util.find_spec("tensorboard") is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(folder / "events"), purge_step=start + 1)

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
        if self._writer is not None:
            try:
                for name in ("loss", "rate", "gradient", "psnr", "images_per_second", "waiting"):
                    if getattr(row, name) is not None:
                        self._writer.add_scalar(name, getattr(row, name), row.iteration)
                self._writer.flush()
            except OSError:
                # The CSV file is the record; a run does not end for the copy that TensorBoard reads.
                self.close()

    def close(self) -> None:
        """Close the event file."""
        writer, self._writer = self._writer, None
        if writer is not None:
            with contextlib.suppress(OSError):
                writer.close()


def _line(row: LogRow) -> str:
    values = (getattr(row, key) for key in FIELDS)
    return ",".join("" if v is None else str(v) if isinstance(v, int) else f"{v:.8g}" for v in values) + "\n"
