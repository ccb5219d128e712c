"""The grid of one row: its cells, the readings of each metric, and how restored images score under all of them.

A grid knows what is evaluated and how it is scored: by the printed digits that a value explains. What is evaluated
when, and at what cost, is decided elsewhere (`harness.audit.rows`, `harness.audit.screening`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.images import Bench, RestoredSet, probes
from harness.audit.measuring import set_values, ssim_mask
from harness.audit.settings import AuditSettings
from harness.audit.variants import INDEPENDENT, Finish, Making, NoiseDraw, Reading, set_readings
from harness.degradations import degradation
from harness.tables.published import PublishedNumber
from harness.tables.requests import IMAGE_METRICS, Request
from harness.tables.verdicts import MATCH_UNITS, NOISE_DEVIATIONS, ROUNDING

NOISE_SEEDS = (0, 1, 2)
"""Draws whose spread gives the noise term."""

Place = tuple[str, int]
"""Dataset and level of a column."""


class Target(msgspec.Struct, frozen=True):
    """What a cell prints, as floating-point numbers: the number, and the weight of its last meaningful digit.

    The digits are those that carry information: 4 of ``27.77`` and of ``0.7905``, 3 of ``0.0682``.
    """

    value: float
    unit: float
    digits: int


def target(printed: PublishedNumber) -> Target:
    """Read a printed number as a target."""
    whole = int(abs(printed.value) / printed.unit)
    return Target(float(printed.value), float(printed.unit), max(1, len(str(whole))))


def explained_digits(
    values: NDArray[np.float64], printed: Target, tolerance: NDArray[np.float64] | float = 0.0
) -> NDArray[np.int64]:
    """Count the printed digits that values of any shape explain.

    A value explains the n-th digit when it lies within half a unit of that digit of what is printed, plus a tolerance
    for random inputs, in the unit of the metric. NaN explains nothing.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.maximum(np.abs(values - printed.value) - tolerance - ROUNDING, 0.0)
        lost = np.ceil(np.log10(distance / (MATCH_UNITS * printed.unit)))
        lost = np.where(distance <= MATCH_UNITS * printed.unit, 0.0, np.maximum(lost, 1.0))
    lost = np.where(np.isfinite(values), lost, printed.digits)
    explained: NDArray[np.int64] = np.clip(printed.digits - lost, 0, printed.digits).astype(np.int64)
    return explained


class Scores(msgspec.Struct):
    """Scores of many readings over the cells of one metric.

    `values`: ``(cells, readings)``.
    `digits`, `exact`: ``(cells, readings)``: digits explained with the noise term and without.
    `misfit`: ``(readings,)``: sum over cells of the distance in units, beyond one half; only breaks ties.
    `estimated`: ``(readings,)``: values that are estimates from a few images.
    """

    values: NDArray[np.float64]
    digits: NDArray[np.int64]
    exact: NDArray[np.int64]
    misfit: NDArray[np.float64]
    estimated: NDArray[np.bool_]


def score(
    values: NDArray[np.float64], targets: Sequence[Target], tolerance: NDArray[np.float64] | float = 0.0
) -> Scores:
    """Score values against what the cells print; values and noise terms are ``(cells, readings)``."""
    loose = np.broadcast_to(np.nan_to_num(tolerance), values.shape)
    units = np.array([[printed.unit] for printed in targets])
    distance = np.abs(values - np.array([[printed.value] for printed in targets])) / units
    return Scores(
        values=values,
        digits=np.array([explained_digits(*row) for row in zip(values, targets, loose, strict=True)]),
        exact=np.array([explained_digits(*row) for row in zip(values, targets, strict=True)]),
        misfit=np.nan_to_num(np.maximum(distance - MATCH_UNITS, 0.0), nan=1e6, posinf=1e6).sum(axis=0),
        estimated=np.zeros(values.shape[1], dtype=bool),
    )


class RowCell(msgspec.Struct, frozen=True):
    """A cell of the row: what is asked of the pipeline for it, and what it prints."""

    request: Request
    target: Target

    @property
    def metric(self) -> str:
        """``psnr`` or ``ssim``."""
        return self.request.metric

    @property
    def place(self) -> Place:
        """Dataset and level of its column."""
        return self.request.dataset, self.request.level

    @property
    def printed(self) -> str:
        """As printed."""
        return self.request.printed.text if self.request.printed is not None else ""


class Candidate(msgspec.Struct, frozen=True, eq=False):
    """A making under one finish, measured on every image.

    `scores`: Scores of every reading, by metric.
    `here`: Whether its images were restored here although those of another finish are stored.
    `ssim_of`: The candidate of equal images whose SSIM was read for both.
    """

    making: Making
    finish: Finish
    scores: dict[str, Scores]
    here: bool = False
    ssim_of: Candidate | None = None

    def digits(self, *metrics: str) -> int:
        """Count the most digits that it explains, in all metrics or in these; those without scores count nothing."""
        return sum(int(self.scores[m].digits.sum(axis=0).max()) for m in metrics or self.scores if m in self.scores)


class VariantGrid:
    """What is evaluated for one row.

    `bench`: Where images come from.
    `cells`: At least one; the stated making of each can be obtained.
    `stated`, `saving`: What the table's file says.
    `metrics`, `places`, `targets`: Of the cells: ``psnr``, ``ssim``; dataset and level of every column; what each
        prints.
    `total`: Printed digits of the cells.
    `readings`: Readings of a set, by metric.
    """

    def __init__(
        self, bench: Bench, task: str, cells: Sequence[RowCell], stated: Making, saving: str, settings: AuditSettings
    ) -> None:
        self.bench, self.task, self.cells, self.saving, self.settings = bench, task, tuple(cells), saving, settings
        self.targets = [cell.target for cell in self.cells]
        self.metrics = [metric for metric in IMAGE_METRICS if self.of_metric(metric)]
        self.places = list(dict.fromkeys(cell.place for cell in self.cells))
        evaluated = {dataset for dataset, _ in self.places}
        kept = tuple(pair for pair in stated.datasets if pair[0] in evaluated)
        self.stated = msgspec.structs.replace(stated, datasets=kept)
        self.total = sum(target.digits for target in self.targets)
        same = all(self.source(self.stated, place).same_size for place in self.places)
        self.readings: dict[str, tuple[Reading, ...]] = {m: set_readings(m, same) for m in IMAGE_METRICS}
        self._noise: dict[tuple[Place, str], NDArray[np.float64]] = {}

    def of_metric(self, metric: str) -> list[RowCell]:
        """List the cells of a metric: the rows of its scores."""
        return [cell for cell in self.cells if cell.metric == metric]

    def stated_reading(self, metric: str) -> int | None:
        """Index of the reading that the table's file states; None where it is not among those tried."""
        name = self.of_metric(metric)[0].request.protocol
        known = [reading.label for reading in self.readings[metric]]
        return known.index(name) if name in known else None

    def source(self, making: Making, place: Place, here: bool = False) -> RestoredSet:
        """Open the source of a making at a place."""
        dataset, level = place
        return self.bench.whole_source(self.task, making.used(dataset), level, making, here)

    def source_of(self, candidate: Candidate, place: Place) -> RestoredSet:
        """Open the source of a candidate at a place."""
        return self.source(candidate.making, place, candidate.here)

    def set_values(self, source: RestoredSet, finish: Finish, metric: str) -> NDArray[np.float64]:
        """Values of a whole set under every reading of a metric; its images are measured already."""
        return set_values(metric, source.values(metric, finish), source.pixels(), self.readings[metric])

    def candidate(self, making: Making, finish: Finish, metrics: Sequence[str], here: bool = False) -> Candidate:
        """Score a making under a finish, which is measured on every image under these metrics."""
        plain = Candidate(making, finish, {}, here)
        return msgspec.structs.replace(plain, scores={metric: self.scores(plain, metric) for metric in metrics})

    def scores(self, candidate: Candidate, metric: str) -> Scores:
        """Score every reading of a metric; the candidate's images are measured already."""
        cells = self.of_metric(metric)
        sources = [self.source_of(candidate, cell.place) for cell in cells]
        values = np.array([self.set_values(source, candidate.finish, metric) for source in sources])
        tolerance = np.array([self.tolerance(candidate.making, cell) for cell in cells])
        return score(values, [cell.target for cell in cells], tolerance)

    def with_one_ssim(self, candidate: Candidate, index: int) -> Candidate:
        """Measure and score a candidate's SSIM under one reading."""
        for place in self.places:
            self.source_of(candidate, place).measure(["ssim"], None, candidate.finish, ssim_mask([index]))
        return msgspec.structs.replace(candidate, scores=candidate.scores | {"ssim": self.scores(candidate, "ssim")})

    def images_print(self, candidate: Candidate) -> bytes:
        """The PSNRs of every image under every reading, bit by bit: equal ones belong to equal restored images."""
        sources = [self.source_of(candidate, place) for place in self.places]
        return b"".join(s.dataset.encode() + s.values("psnr", candidate.finish).tobytes() for s in sources)

    def tolerance(self, making: Making, cell: RowCell) -> NDArray[np.float64]:
        """Noise term of every reading of a cell: two standard deviations of the difference of two draws."""
        if not degradation(making.degradation).random:
            return np.zeros(len(self.readings[cell.metric]))
        # One estimate for all makings of a kind of noise: it is a small number and needs no second digit.
        key = (cell.place, cell.metric)
        if key not in self._noise:
            is_random = degradation(self.stated.degradation).random
            self._noise[key] = self._noise_term(self.stated if is_random else making, cell)
        return self._noise[key]

    def stated_tolerance(self) -> list[float]:
        """Noise term of the stated making by cell, one number for all readings."""
        return [float(np.median(self.tolerance(self.stated, cell))) for cell in self.cells]

    def _noise_term(self, making: Making, cell: RowCell) -> NDArray[np.float64]:
        """Estimate a noise term from the images of which every draw is stored, or from a few restored here."""
        draws = [msgspec.structs.replace(making, noise=NoiseDraw(INDEPENDENT, seed)) for seed in NOISE_SEEDS]
        sources = [self.bench.source(self.task, *cell.place, draw) for draw in draws]
        first, second, _ = sources
        images = second.stored_images or probes(second.images, self.settings.probe)
        saving = next((f for f in first.finishes if f.saving == self.saving), Finish(self.saving))
        rows = []
        for source, draw in zip(sources, draws, strict=True):
            if not set(images) <= set(source.stored_images):
                source = self.bench.source(self.task, *cell.place, draw, here=True)
            source.measure([cell.metric], images, saving if source.stored else None)
            rows.append(source.values(cell.metric, saving, images))
        variances = np.nan_to_num(np.var(np.array(rows), axis=0, ddof=1)).mean(axis=0)
        # Independent streams: the variance of the mean over N images is the mean variance over N.
        variances = variances / len(first.images)
        term = NOISE_DEVIATIONS * math.sqrt(2.0) * np.sqrt(variances)
        return np.tile(term, len(self.readings[cell.metric]) // len(term))
