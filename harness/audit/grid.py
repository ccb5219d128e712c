"""The grid of one row: its cells, the readings of each metric, and the values of restored images under all of them.

A grid knows what is evaluated and how it is scored. What is evaluated when, and at what cost, is decided elsewhere
(`harness.audit.evaluation`, `harness.audit.ssim_reading`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.images import Bench
from harness.audit.ranking import Scores, Target, score
from harness.audit.settings import AuditSettings
from harness.audit.sources import RestoredSet, probes
from harness.audit.variants import INDEPENDENT, Finish, Making, NoiseDraw, Reading, set_readings
from harness.degradations import degradation
from harness.metrics.signal_noise import PEAK
from harness.tables.requests import IMAGE_METRICS, Request
from harness.tables.verdicts import NOISE_DEVIATIONS

NOISE_SEEDS = (0, 1, 2)
"""Draws whose spread gives the noise term."""


class RowCell(msgspec.Struct, frozen=True):
    """A cell of the row: what is asked of the pipeline for it, and what it prints."""

    request: Request
    target: Target

    @property
    def metric(self) -> str:
        """``psnr`` or ``ssim``."""
        return self.request.metric

    @property
    def place(self) -> tuple[str, int]:
        """Dataset and level of its column."""
        return self.request.dataset, self.request.level

    @property
    def printed(self) -> str:
        """As printed."""
        return self.request.printed.text if self.request.printed is not None else ""


class Candidate(msgspec.Struct, frozen=True, eq=False):
    """A making under one finish, measured on every image.

    Attributes
    ----------
    making, finish : Making, Finish
        Which.
    scores : dict
        Scores of every reading, by metric.
    here : bool
        Whether its images were restored here although those of another finish are stored.
    ssim_of : Candidate or None
        The candidate of equal images whose SSIM was read for both.
    """

    making: Making
    finish: Finish
    scores: dict[str, Scores]
    here: bool = False
    ssim_of: Candidate | None = None

    def digits(self, *metrics: str) -> int:
        """Count the most digits that it explains in metrics; those without scores count nothing."""
        return sum(int(self.scores[m].digits.sum(axis=0).max()) for m in metrics if m in self.scores)


class VariantGrid:
    """What is evaluated for one row.

    Parameters
    ----------
    bench : Bench
        Where images come from.
    task : str
        The row's task.
    cells : sequence of RowCell
        At least one; the stated making of each can be had.
    stated : Making
        What the table's file says.
    saving : str
        The stated saving.
    settings : AuditSettings
        What it may cost.

    Attributes
    ----------
    metrics : list of str
        Metrics of the cells.
    places : list of tuple
        Dataset and level of every column.
    total : int
        Printed digits of the cells.
    readings : dict
        Readings of a set, by metric.
    """

    def __init__(
        self, bench: Bench, task: str, cells: Sequence[RowCell], stated: Making, saving: str, settings: AuditSettings
    ) -> None:
        self.bench, self.task, self.cells, self.saving, self.settings = bench, task, tuple(cells), saving, settings
        self.metrics = [metric for metric in IMAGE_METRICS if self.of_metric(metric)]
        self.places = list(dict.fromkeys(cell.place for cell in self.cells))
        evaluated = {dataset for dataset, _ in self.places}
        kept = tuple(pair for pair in stated.datasets if pair[0] in evaluated)
        self.stated = msgspec.structs.replace(stated, datasets=kept)
        self.total = sum(cell.target.digits for cell in self.cells)
        same = all(self.source(self.stated, place).same_size for place in self.places)
        self.readings: dict[str, tuple[Reading, ...]] = {m: set_readings(m, same) for m in IMAGE_METRICS}
        self._noise: dict[tuple[tuple[str, int], str], NDArray[np.float64]] = {}

    def of_metric(self, metric: str) -> list[RowCell]:
        """List the cells of a metric: the rows of its scores."""
        return [cell for cell in self.cells if cell.metric == metric]

    def stated_reading(self, metric: str) -> int | None:
        """Index of the reading that the table's file states; None where it is not among those tried."""
        name = self.of_metric(metric)[0].request.protocol
        known = [reading.label for reading in self.readings[metric]]
        return known.index(name) if name in known else None

    def source(self, making: Making, place: tuple[str, int], here: bool = False) -> RestoredSet:
        """Open the source of a making at a place."""
        dataset, level = place
        return self.bench.whole_source(self.task, making.used(dataset), level, making, here)

    def source_of(self, candidate: Candidate, place: tuple[str, int]) -> RestoredSet:
        """Open the source of a candidate at a place."""
        return self.source(candidate.making, place, candidate.here)

    def set_values(self, source: RestoredSet, finish: Finish, metric: str) -> NDArray[np.float64]:
        """Values of a whole set under every reading of a metric; its images are measured already."""
        values = source.values(metric, finish, source.images)
        return set_values(metric, values, source.pixels(source.images), self.readings[metric])

    def candidate(self, making: Making, finish: Finish, metrics: Sequence[str], here: bool = False) -> Candidate:
        """Score a making under a finish, which is measured on every image under these metrics."""
        plain = Candidate(making, finish, {}, here)
        return Candidate(making, finish, {metric: self.scores(plain, metric) for metric in metrics}, here)

    def scores(self, candidate: Candidate, metric: str) -> Scores:
        """Score every reading of a metric; the candidate's images are measured already."""
        cells = self.of_metric(metric)
        sources = [self.source_of(candidate, cell.place) for cell in cells]
        values = np.array([self.set_values(source, candidate.finish, metric) for source in sources])
        tolerance = np.array([self.tolerance(candidate.making, cell) for cell in cells])
        return score(values, [cell.target for cell in cells], tolerance)

    def images_print(self, candidate: Candidate) -> bytes:
        """The PSNRs of every image under every reading, bit by bit: equal ones belong to equal restored images."""
        parts = []
        for place in self.places:
            source = self.source_of(candidate, place)
            parts.append(source.dataset.encode() + source.values("psnr", candidate.finish, source.images).tobytes())
        return b"".join(parts)

    def tolerance(self, making: Making, cell: RowCell) -> NDArray[np.float64]:
        """Noise term of every reading of a cell: two standard deviations of the difference of two draws."""
        if not degradation(making.degradation).random:
            return np.zeros(len(self.readings[cell.metric]))
        # One estimate for all makings of a kind of noise: it is a small number and needs no second digit.
        key = (cell.place, cell.metric)
        if key not in self._noise:
            made = self.stated if degradation(self.stated.degradation).random else making
            self._noise[key] = self._noise_term(made, cell)
        return self._noise[key]

    def stated_tolerance(self) -> list[float]:
        """Noise term of the stated making by cell, one number for all readings."""
        return [float(np.median(self.tolerance(self.stated, cell))) for cell in self.cells]

    def _noise_term(self, made: Making, cell: RowCell) -> NDArray[np.float64]:
        """Estimate a noise term from the images of which every draw is stored, or from a few restored here."""
        draws = [msgspec.structs.replace(made, noise=NoiseDraw(INDEPENDENT, seed)) for seed in NOISE_SEEDS]
        sources = [self.bench.source(self.task, *cell.place, draw) for draw in draws]
        first, second, _ = sources
        images = second.stored_part() or probes(second.images, self.settings.probe)
        saving = next((f for f in first.finishes() if f.saving == self.saving), Finish(self.saving))
        rows = []
        for source, draw in zip(sources, draws, strict=True):
            if source.stored is None or not set(images) <= set(source.stored_part()):
                source = self.bench.source(self.task, *cell.place, draw, here=True)
            source.measure([cell.metric], images, None if source.stored is None else [saving])
            rows.append(source.values(cell.metric, saving, images))
        variances = np.nan_to_num(np.var(np.array(rows), axis=0, ddof=1)).mean(axis=0)
        # Independent streams: the variance of the mean over N images is the mean variance over N.
        variances = variances / len(first.images)
        term = NOISE_DEVIATIONS * math.sqrt(2.0) * np.sqrt(variances)
        return np.tile(term, len(self.readings[cell.metric]) // len(term))


def set_values(
    metric: str, values: NDArray[np.float64], pixels: NDArray[np.float64], wanted: Sequence[Reading]
) -> NDArray[np.float64]:
    """Make a set's values of its images': mean, PSNR of the mean MSE, PSNR of all pixels together.

    Parameters
    ----------
    metric : str
        ``psnr`` or ``ssim``.
    values : ndarray
        ``(images, readings)``.
    pixels : ndarray
        ``(images, PSNR readings)``: pixels that are compared.
    wanted : sequence of Reading
        Readings of the set, block by block of one average.

    Returns
    -------
    ndarray
        One value a wanted reading.
    """
    blocks = [values.mean(axis=0)]
    if metric == "psnr":
        averages = list(dict.fromkeys(reading.average for reading in wanted))
        errors = PEAK**2 / 10 ** (values / 10)
        with np.errstate(divide="ignore"):
            if "pooled" in averages:
                blocks.append(10 * np.log10(PEAK**2 / errors.mean(axis=0)))
            if "pooled by pixels" in averages:
                weighted = (errors * pixels).sum(axis=0) / np.maximum(pixels.sum(axis=0), 1)
                blocks.append(10 * np.log10(PEAK**2 / weighted))
    return np.concatenate(blocks)
