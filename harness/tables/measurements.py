"""Reading measured rows back: one number a cell, and how far one noise draw may lie from another."""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from pathlib import Path

import msgspec

from harness.errors import HarnessError, Missing
from harness.records.cells import FIRST_DRAW, Group
from harness.records.cost import read_cost
from harness.records.rows import WHOLE_SET, ImageRow, MeasuredRecord, read_rows
from harness.records.training_runs import TrainedRecord, TrainingRun, read_trained, read_training_plans, trained_folder


class Spread(msgspec.Struct, frozen=True):
    """How far the mean over a set lies from draw to draw of independent noise.

    `sd`: Standard deviation of the set's mean, in the unit of the metric.
    `draws`, `images`: Noise draws per image and images it was estimated from.
    """

    sd: float
    draws: int
    images: int


class Measurement(msgspec.Struct, frozen=True):
    """A measured cell.

    `value`: Mean over the images of noise draw 0 (dB, or 0..1).
    `spread`: None where the input is not random, or one draw was made.
    `seeds`: Where the network was trained with several seeds: each seed and its value; `value` is then their mean.
    """

    value: float
    images: int
    spread: Spread | None
    seeds: tuple[tuple[int, float], ...] = ()

    @property
    def seeds_sd(self) -> float | None:
        """Standard deviation of the value between seeds; None where there is one seed."""
        values = [value for _, value in self.seeds]
        return statistics.stdev(values) if len(values) > 1 and all(map(math.isfinite, values)) else None


class NotRun(msgspec.Struct, frozen=True):
    """Why there is no number, and what the reason names as missing, as data."""

    reason: str
    missing: Missing | None = None


class Measurements:
    """Measured rows of a workspace, read once a group; damaged ones count as not run, and are listed.

    `work`: Folder of computed files.
    `damaged`: What is wrong with the files that could not be read so far.
    """

    def __init__(self, work: Path) -> None:
        self._work = work
        self._folder = work / "rows"
        self._groups: dict[Group, _Rows | NotRun] = {}
        self._planned: set[TrainingRun] | None = None
        self.damaged: list[str] = []

    def record(self, group: Group) -> MeasuredRecord | None:
        """What made the rows of a group, or None if they are not there."""
        rows = self._rows(group)
        return None if isinstance(rows, NotRun) else rows.record

    def images(self, group: Group, level: int, protocol: str) -> dict[str, float]:
        """Per-image values of noise draw 0, by image; empty where nothing was measured."""
        rows = self._rows(group)
        if isinstance(rows, NotRun):
            return {}
        return {i: of[FIRST_DRAW] for i, of in rows.values.get((level, protocol), {}).items() if i != WHOLE_SET}

    def draws(self, group: Group, level: int, protocol: str) -> dict[str, dict[int, float]]:
        """Per-image values by image, then by noise draw; empty where nothing was measured."""
        rows = self._rows(group)
        if isinstance(rows, NotRun):
            return {}
        return {i: of for i, of in rows.values.get((level, protocol), {}).items() if i != WHOLE_SET}

    def value(self, group: Group, level: int, protocol: str) -> Measurement | NotRun:
        """Find the number of a cell, or the reason why there is none."""
        rows = self._rows(group)
        if isinstance(rows, NotRun):
            return rows
        if rows.record.reason:
            return NotRun(rows.record.reason, rows.record.missing)
        about = rows.record.levels.get(level)
        if about is not None and about.reason:
            return NotRun(about.reason, about.missing)
        why = rows.record.unmeasured.get(level, {}).get(protocol)
        if why:
            missing = rows.record.unmeasured_missing.get(level, {}).get(protocol)
            return NotRun(f"not measured under {protocol}: {why}", missing)
        draws = rows.values.get((level, protocol))
        if not draws:
            return NotRun(f"not measured under {protocol} at level {level}; run harness repro")
        first = [of_image[FIRST_DRAW] for of_image in draws.values()]
        count = rows.record.images if WHOLE_SET in draws else len(first)
        return Measurement(math.fsum(first) / len(first), count, _spread(list(draws.values())))

    def trained(self, group: Group, level: int) -> TrainedRecord | None:
        """How the weights behind a cell were trained here, or None if they are not there."""
        run = TrainingRun(group.task, group.method, level)
        if self._planned is None:
            self._planned = set(read_training_plans(self._work.parent))
        return read_trained(trained_folder(self._work.parent, run, run in self._planned))

    def parameters(self, method: str, task: str) -> Measurement | NotRun:
        """Find the number of parameters of a method's network for a task."""
        record = read_cost(self._work, method)
        if record is None:
            return NotRun("not counted here yet; run harness repro")
        return Measurement(float(record.of(task).parameters), 0, None)

    def _rows(self, group: Group) -> _Rows | NotRun:
        if group not in self._groups:
            path = self._folder / group.place.with_name(group.place.name + ".csv")
            if path.with_suffix(".json").is_file():
                try:
                    self._groups[group] = _Rows(*read_rows(path))
                except HarnessError as error:
                    self.damaged.append(str(error))
                    self._groups[group] = NotRun(str(error))
            else:
                self._groups[group] = NotRun("not computed here yet; run harness repro")
        return self._groups[group]


class _Rows:
    def __init__(self, record: MeasuredRecord, rows: list[ImageRow]) -> None:
        self.record = record
        self.values: dict[tuple[int, str], dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
        names = {version: name for name, version in record.protocols.items()}
        for row in rows:
            self.values[row.level, names.get(row.protocol, row.protocol)][row.image][row.draw] = row.value


def _spread(draws: list[dict[int, float]]) -> Spread | None:
    """Estimate the spread of the mean from the images that have several draws.

    Images are independent, so the variance of the mean over N images is the mean of their variances over N. The
    images with several draws stand for all.
    """
    several = [list(of_image.values()) for of_image in draws if len(of_image) > 1]
    if not several:
        return None
    variances = []
    for values in several:
        mean = math.fsum(values) / len(values)
        variances.append(math.fsum((v - mean) ** 2 for v in values) / (len(values) - 1))
    variance = math.fsum(variances) / len(variances)
    if not math.isfinite(variance):  # a restored image equals its ground truth
        return None
    return Spread(math.sqrt(variance / len(draws)), len(several[0]), len(several))
