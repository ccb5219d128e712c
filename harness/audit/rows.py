"""The audit of one row: every variant evaluated on every cell, shared work once, and the outcome as a record.

The order of work makes a grid of thousands of variants cost little more than one evaluation:

1. Restored images are made once for all finishes and readings; PSNR is read under every luma and border at once.
2. SSIM is read only where PSNR leaves a making a chance: its digits by PSNR plus all SSIM digits must reach the best.
3. A network that is slow is tried on a few images first. The difference from the stated making, image by image, says
   how far its mean would lie; what cannot reach the best is ruled out, what can is restored while the budget lasts.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.audit.images import Bench, Source, probes
from harness.audit.ranking import Chance, Scores, Target, chance, distinct, explained_digits, score, target
from harness.audit.variants import (
    INDEPENDENT,
    SAVING_LABELS,
    SSIM_READINGS,
    Finish,
    Making,
    NoiseDraw,
    Reading,
    makings,
    reading_of,
    set_readings,
)
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.metrics.signal_noise import PEAK
from harness.pipeline.requests import IMAGE_METRICS, Request, requests
from harness.tables.published import Table
from harness.tables.verdicts import NOISE_DEVIATIONS

INPUTS = ("stored", "screened", "all")
"""Which restored images are used: those in work/restored (and what needs no network); others on a few images first,
then on all while the budget lasts; every one on every image."""

# Of a mean over few images: 4 standard errors, for with 3 images a Student's t of 99.7 % is about 13, of 94 % about 4.
# Only used to leave a variant aside, never to accept one.
SCREEN_ERRORS = 4.0
OUT_OF_BUDGET = "the budget was spent before it could be tried; run again to go on, or give --budget"

STATED_SHARE = 5
"""Budgets that the stated making may use up by itself."""
BATCH = 4

SSIM_PROBES = 5
SMALL_SET = 8
"""SSIM is read under every reading on this many images of a set first; on sets up to this size on all at once."""


class Settings(msgspec.Struct, frozen=True):
    """What an audit may cost.

    Attributes
    ----------
    inputs : str
        One of `INPUTS`.
    budget : float
        Seconds of restoring with slow methods, per row.
    seeds : int
        Seeds of independent noise that are tried with fast methods; slow ones get the first.
    probe : int
        Images of a set that a slow making is tried on first.
    """

    inputs: str = "screened"
    budget: float = 180.0
    seeds: int = 3
    probe: int = 4


class CellAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One cell under the best variant.

    Attributes
    ----------
    key, dataset, level, metric : str, str, int, str
        Which cell.
    printed : str
        As printed.
    measured : float
        Under the variant.
    explained, digits : int
        Printed digits explained, and printed.
    tolerance : float
        Noise term; 0 where nothing is random.
    images : int
        Images of the set.
    """

    key: str
    dataset: str
    level: int
    metric: str
    printed: str
    measured: float
    explained: int
    digits: int
    tolerance: float
    images: int


class VariantAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant and what it explains.

    Attributes
    ----------
    choices : dict
        Value in each dimension.
    protocols : dict
        Protocol by metric.
    digits, whole : int
        Digits explained; cells whose digits are all explained.
    exact : int
        Digits explained without a noise term.
    misfit : float
        Sum over the cells of what lies beyond half a unit, in units of the last digit.
    largest : float
        Largest difference from a printed number, in units of its last digit.
    estimated : bool
        Whether its SSIM is an estimate from a few images, for it could not have reached the best.
    """

    choices: dict[str, str]
    protocols: dict[str, str]
    digits: int
    whole: int
    exact: int
    misfit: float
    largest: float
    estimated: bool = False


class ChoiceAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is the most that a variant with this value of a dimension explains.

    Attributes
    ----------
    value : str
        The value.
    digits : int
        The most digits that a variant with it explains.
    bound : bool
        True: not measured on every image, because it could not have reached the best; the digits are estimated from a
        few images, or the most that is left.
    agrees : bool
        Whether the value occurs among the variants that explain the most.
    """

    value: str
    digits: int
    bound: bool
    agrees: bool


class DimensionAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A dimension: which of its values the numbers admit."""

    name: str
    values: tuple[ChoiceAudit, ...]

    @property
    def admitted(self) -> list[str]:
        """Values that occur among the variants that explain the most."""
        return [choice.value for choice in self.values if choice.agrees]


class ScreenedAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A making or finish that was not evaluated on every image.

    Attributes
    ----------
    choices : dict
        What differs from the stated making.
    verdict : str
        ``ruled out``, ``open`` or ``not possible``.
    reason : str
        In words.
    """

    choices: dict[str, str]
    verdict: str
    reason: str


class RowAudit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The outcome for one row of a table.

    Attributes
    ----------
    table, row, task, method : str
        Which row, and how it is made here.
    part : int
        Index of the table's part.
    reason : str
        Why nothing could be evaluated; empty otherwise.
    cells : tuple of CellAudit
        Under the best variant.
    left_out : dict
        Reason by cell that could not be evaluated.
    digits : int
        Printed digits of the evaluated cells.
    best, stated : VariantAudit or None
        The best variant, and the one that the table's file says.
    policy : str
        Inference policy.
    saving, span : str
        The best variant's finish.
    noise : str
        The best variant's noise, such as ``independent/0``; empty where nothing is random.
    datasets : dict
        Datasets that stand in for the columns' own under the best variant.
    dimensions : tuple of DimensionAudit
        Those with more than one value.
    ranking : tuple of VariantAudit
        The best variants that give different numbers.
    screened : tuple of ScreenedAudit
        What was left aside, and why.
    not_tried : tuple of str
        In words.
    chance : Chance or None
        How surprising the match is.
    random : bool
        Whether the best variant's input is random, so that a noise term was allowed.
    witnesses : dict
        Value of the smallest image by cell, which can be checked in seconds: ``{key: [image, value]}``.
    """

    table: str
    part: int
    row: str
    task: str
    method: str
    reason: str = ""
    cells: tuple[CellAudit, ...] = ()
    left_out: dict[str, str] = {}
    digits: int = 0
    best: VariantAudit | None = None
    stated: VariantAudit | None = None
    dimensions: tuple[DimensionAudit, ...] = ()
    ranking: tuple[VariantAudit, ...] = ()
    screened: tuple[ScreenedAudit, ...] = ()
    not_tried: tuple[str, ...] = ()
    chance: Chance | None = None
    random: bool = False
    witnesses: dict[str, tuple[str, float]] = {}
    policy: str = ""
    saving: str = "round"
    span: str = "full"
    noise: str = ""
    datasets: dict[str, str] = {}

    @property
    def explained(self) -> bool:
        """Whether a variant explains every digit."""
        return self.best is not None and self.best.digits == self.digits


class _Cell(msgspec.Struct, frozen=True):
    request: Request
    target: Target

    @property
    def place(self) -> tuple[str, int]:
        return self.request.dataset, self.request.level


class _Candidate(msgspec.Struct):
    """A making under one finish, measured on every image: scores of every reading of each metric."""

    making: Making
    finish: Finish
    scores: dict[str, Scores]
    same_as: int = -1

    def best(self, metric: str) -> int:
        return int(self.scores[metric].digits.sum(axis=0).max()) if metric in self.scores else 0


def row_names(table: Table) -> list[tuple[int, str]]:
    """List the rows of a table: part and name; lines of one name (scales) are one row."""
    return list(dict.fromkeys((index, row.name) for index, part in enumerate(table.parts) for row in part.rows))


def audit_row(
    bench: Bench,
    table: Table,
    part: int,
    name: str,
    settings: Settings | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> RowAudit:
    """Audit one row of a table.

    Parameters
    ----------
    bench : Bench
        Where images come from.
    table : Table
        The table, perhaps what `harness.tables.published.select` left of it.
    part : int
        Index of the part.
    name : str
        The row's printed name; its lines at several levels are audited together.
    settings : Settings
        What it may cost.
    progress : callable
        Called with what is being done.

    Returns
    -------
    RowAudit
        With a reason and nothing else where no cell can be evaluated.
    """
    return _Row(bench, table, part, name, settings or Settings(), progress).audit()


class _Row:
    def __init__(
        self,
        bench: Bench,
        table: Table,
        part: int,
        name: str,
        settings: Settings,
        progress: Callable[[str], None],
    ) -> None:
        self.bench, self.table, self.part, self.name = bench, table, part, name
        self.settings, self.progress = settings, progress
        of_row = [r for r in requests(table, bench.methods) if (r.part, r.row) == (part, name)]
        self.requests = [r for r in of_row if r.metric in IMAGE_METRICS and r.printed is not None]
        self.task = table.parts[part].task
        self.left_out: dict[str, str] = {}
        self.screened: list[ScreenedAudit] = []
        self.not_tried: list[str] = []
        self.spent = 0.0

    # --- what is evaluated

    def audit(self) -> RowAudit:
        stated = self._stated()
        if stated is None:
            reason = next((r.reason for r in self.requests if r.reason), "nothing of this row is measured on images")
            return self._nothing(reason)
        self.stated = stated
        self.cells = self._cells(stated)
        if not self.cells:
            return self._nothing(next(iter(self.left_out.values())))
        self.metrics = [m for m in IMAGE_METRICS if any(c.request.metric == m for c in self.cells)]
        self.places = list(dict.fromkeys(cell.place for cell in self.cells))
        here = {dataset for dataset, _ in self.places}
        kept = tuple(pair for pair in stated.datasets if pair[0] in here)
        self.stated = stated = msgspec.structs.replace(stated, datasets=kept)
        self.total = sum(cell.target.digits for cell in self.cells)
        self.candidates: list[_Candidate] = []
        self.bounded: list[tuple[Making, Finish, int]] = []
        self.same: dict[tuple[Making, Finish], tuple[Making, Finish]] = {}
        self.read_as: dict[tuple[Making, Finish], tuple[Making, Finish]] = {}
        self._noise: dict[tuple[Any, ...], NDArray[np.float64]] = {}
        same = all(self._source(stated, *place).same_size for place in self.places)
        self.readings = {metric: set_readings(metric, same) for metric in IMAGE_METRICS}
        self._evaluate()
        if not self.candidates:
            return self._nothing(self.screened[0].reason if self.screened else "nothing could be evaluated")
        return self._outcome()

    def _nothing(self, reason: str) -> RowAudit:
        method = next((r.method for r in self.requests), "")
        return RowAudit(self.table.name, self.part, self.name, self.task, method, reason, left_out=self.left_out)

    def _stated(self) -> Making | None:
        found = [r for r in self.requests if r.group is not None]
        for request in self.requests:
            if request.group is None:
                self.left_out[request.key] = request.reason
        self.requests = found
        if not found:
            return None
        group = found[0].group
        assert group is not None
        self.saving = group.saving
        noise = NoiseDraw(INDEPENDENT) if degradation(group.degradation).random else NoiseDraw()
        datasets = tuple(dict.fromkeys((r.dataset, r.dataset) for r in found))
        return Making(group.degradation, group.method, group.policy, noise, datasets)

    def _cells(self, stated: Making) -> list[_Cell]:
        """Keep the cells whose stated making can be had; the reasons of the others are kept."""
        reasons: dict[tuple[str, int], str] = {}
        cells = []
        for request in self.requests:
            place = request.dataset, request.level
            if place not in reasons:
                reasons[place] = self._obstacle(stated, *place)
            if reasons[place]:
                self.left_out[request.key] = reasons[place]
            else:
                assert request.printed is not None
                cells.append(_Cell(request, target(request.printed)))
        return cells

    def _obstacle(self, stated: Making, dataset: str, level: int) -> str:
        try:
            source = self.bench.source(self.task, dataset, level, stated)
            part = source.stored_part()
            if source.stored is not None and len(part) < len(source.images):
                source = self.bench.source(self.task, dataset, level, stated, here=True)
            if self.settings.inputs == "stored" and source.stored is None and not self.bench.light(stated.method):
                return "its restored images are not in work/restored; run harness repro, or leave --inputs stored away"
            source.measure(["psnr"], source.images[:1])
        except HarnessError as error:
            return str(error)
        return ""

    def _source(self, making: Making, dataset: str, level: int, here: bool = False) -> Source:
        source = self.bench.source(self.task, making.used(dataset), level, making, here)
        if source.stored is not None and len(source.stored_part()) < len(source.images):
            return self.bench.source(self.task, making.used(dataset), level, making, here=True)
        return source

    def _evaluate(self) -> None:
        everything = makings(
            self.stated,
            self.task,
            self.bench.methods,
            self.settings.seeds if self.bench.light(self.stated.method) else 1,
        )
        self.everything = everything
        if any(making.noise.scheme for making in everything) and not self.bench.light(self.stated.method):
            self.not_tried.append(
                "other seeds of independent noise: the method is slow; the noise term stands for them"
            )
        self.progress(f"{self.name}: the stated making")
        if not self._complete(self.stated):
            return
        self.spent = 0.0
        self._add(self.stated)
        slow = not self._light(self.stated) or self._source(self.stated, *self.places[0]).stored is not None
        finishes_due = slow
        for making in everything:
            if making == self.stated:
                continue
            if finishes_due and len(_differences(making, self.stated)) > 1:
                finishes_due = False
                self._screen_finishes()
            self.progress(f"{self.name}: {_difference(making, self.stated)}")
            if self._light(making):
                if self._complete(making):
                    self._add(making)
            else:
                self._screen(making)
        if finishes_due:
            self._screen_finishes()
        self._drop_same_images()
        self._read_ssim()

    def _drop_same_images(self) -> None:
        """Keep one of the methods that restore the same images, the plain one before its variants."""
        first: dict[bytes, _Candidate] = {}
        for candidate in sorted(self.candidates, key=lambda c: "(" in self.bench.method(c.making.method).title):
            known = first.setdefault(self._images_print(candidate), candidate)
            if known.making.method != candidate.making.method:
                self.same[candidate.making, candidate.finish] = (known.making, known.finish)
        self.candidates = [c for c in self.candidates if (c.making, c.finish) not in self.same]

    def _light(self, making: Making) -> bool:
        return self.bench.light(making.method) or all(
            self._opened(making, place) is not None and self._source(making, *place).stored is not None
            for place in self.places
        )

    def _opened(self, making: Making, place: tuple[str, int]) -> Source | None:
        try:
            return self._source(making, *place)
        except HarnessError:
            return None

    def _first_metrics(self, making: Making) -> list[str]:
        """Fast methods are read under PSNR first; an output of a slow one is read under everything at once."""
        return ["psnr"] if self._light(making) else list(dict.fromkeys(("psnr", *self.metrics)))

    def _complete(self, making: Making) -> bool:
        """Measure every image of a making; False where it cannot be, with the reason kept."""
        metrics = self._first_metrics(making)
        try:
            for place in self.places:
                source = self._source(making, *place)
                if self._light(making):
                    source.measure(metrics, source.images)
                elif not self._spend(source, metrics, making):
                    return False
        except HarnessError as error:
            self._aside(making, "not possible", str(error))
            return False
        return True

    def _spend(self, source: Source, metrics: Sequence[str], making: Making, finish: Finish | None = None) -> bool:
        """Restore a slow source while the budget lasts; what an earlier audit kept costs nothing."""
        # Without the stated making there is no audit: it may take longer than any other.
        allowed = self.settings.budget * (STATED_SHARE if making == self.stated and finish is None else 1)
        for first in range(0, len(source.images), BATCH):
            if self.spent > allowed and self.settings.inputs != "all":
                self._aside(
                    making,
                    "open",
                    f"the budget ended at image {first + 1} of {len(source.images)} of {source.dataset}, level "
                    f"{source.level}; run again to go on, or give --budget or --inputs all",
                    finish,
                )
                return False
            start = time.monotonic()
            source.measure(metrics, source.images[first : first + BATCH])
            self.spent += time.monotonic() - start
        return True

    def _aside(self, making: Making, verdict: str, reason: str, finish: Finish | None = None) -> None:
        choices = _differences(making, self.stated)
        if finish is not None:
            choices |= {"saving": finish.label}
        self.screened.append(ScreenedAudit(choices or {"making": "as stated"}, verdict, reason))

    # --- scores

    def _add(self, making: Making, here: bool = False) -> None:
        finishes = None
        for place in self.places:
            source = self._source(making, *place, here)
            whole = [f for f in source.finishes() if len(source.done("psnr", f)) == len(source.images)]
            finishes = whole if finishes is None else [f for f in finishes if f in whole]
        for finish in finishes or []:
            scores = {m: self._scores(making, finish, m, here) for m in self._scored(making, finish, here)}
            self.candidates.append(_Candidate(making, finish, scores))

    def _scored(self, making: Making, finish: Finish, here: bool) -> list[str]:
        sources = [self._source(making, *place, here) for place in self.places]
        return [m for m in self.metrics if all(len(s.done(m, finish)) == len(s.images) for s in sources)]

    def _scores(self, making: Making, finish: Finish, metric: str, here: bool = False) -> Scores:
        cells = [cell for cell in self.cells if cell.request.metric == metric]
        values = np.array([self._set_values(making, finish, metric, cell, here=here) for cell in cells])
        tolerance = np.array([self._tolerance(making, finish, metric, cell) for cell in cells])
        return score(values, [cell.target for cell in cells], tolerance)

    def _set_values(
        self,
        making: Making,
        finish: Finish,
        metric: str,
        cell: _Cell,
        images: Sequence[str] | None = None,
        here: bool = False,
    ) -> NDArray[np.float64]:
        source = self._source(making, *cell.place, here)
        chosen = source.images if images is None else images
        return set_values(metric, source.values(metric, finish, chosen), source.pixels(chosen), self.readings[metric])

    def _tolerance(self, making: Making, finish: Finish, metric: str, cell: _Cell) -> NDArray[np.float64]:
        """Noise term of every reading of a cell: two standard deviations of the difference of two draws."""
        if not degradation(making.degradation).random:
            return np.zeros(len(self.readings[metric]))
        # One estimate for all makings of a kind of noise: it is a small number and needs no second digit.
        key = (cell.place, metric)
        if key not in self._noise:
            made = self.stated if degradation(self.stated.degradation).random else making
            self._noise[key] = self._spread(made, metric, cell)
        return self._noise[key]

    def _spread(self, made: Making, metric: str, cell: _Cell) -> NDArray[np.float64]:
        draws = []
        images: list[str] = []
        for seed in (0, 1, 2):
            making = msgspec.structs.replace(made, noise=NoiseDraw(INDEPENDENT, seed))
            source = self.bench.source(self.task, cell.request.dataset, cell.request.level, making)
            if seed == 1:
                images = source.stored_part() or probes(source.images, self.settings.probe)
            draws.append((source, making))
        saving = next((f for f in draws[0][0].finishes() if f.saving == self.saving), Finish(self.saving))
        rows = []
        for source, making in draws:
            if source.stored is None or not set(images) <= set(source.stored_part()):
                source = self.bench.source(self.task, cell.request.dataset, cell.request.level, making, here=True)
            source.measure([metric], images, None if source.stored is None else [saving])
            rows.append(source.values(metric, saving, images))
        variances = np.nan_to_num(np.var(np.array(rows), axis=0, ddof=1)).mean(axis=0)
        # Independent streams: the variance of the mean over N images is the mean variance over N.
        variances = variances / len(draws[0][0].images)
        term = NOISE_DEVIATIONS * math.sqrt(2.0) * np.sqrt(variances)
        return np.tile(term, len(self.readings[metric]) // len(term))

    # --- slow makings

    def _best_digits(self) -> int:
        """The most digits that a completed candidate is known, or still able, to explain."""
        best = 0
        for candidate in self.candidates:
            best = max(best, sum(candidate.best(metric) for metric in self.metrics))
        return best

    def _screen(self, making: Making) -> None:
        if self.settings.inputs == "stored":
            self._aside(making, "open", "not in work/restored, and --inputs stored restores nothing")
            return
        if self.settings.inputs == "all":
            if self._complete(making):
                self._add(making)
            return
        bound, reason = self._bound(making, None)
        if reason:
            self._aside(making, "open" if reason == OUT_OF_BUDGET else "not possible", reason)
        elif bound < self._known_digits():
            self._aside(making, "ruled out", self._screen_words)
        elif self._complete(making):
            self._add(making)

    def _known_digits(self) -> int:
        """Digits of the stated making, SSIM included where it was read already."""
        return self._best_digits()

    def _bound(self, making: Making, finish: Finish | None) -> tuple[int, str]:
        """The most digits that a making can explain, from a few images of each set, level by level.

        The mean over the set is estimated as the stated making's plus the mean difference on the probed images.
        """
        known = self._known_digits()
        sums: dict[Finish, dict[str, NDArray[np.int64]]] = {}
        left = self.total
        bound = self.total
        closest: dict[str, str] = {}
        for place in reversed(self.places):
            of_place = [cell for cell in self.cells if cell.place == place]
            try:
                source = self._source(making, *place, here=finish is not None)
                base = self._source(self.stated, *place)
                # Paired differences need the same images: a crop of a set has the same names.
                names = [i for i in probes(base.images, self.settings.probe) if i in source.images]
                if self.spent > self.settings.budget:
                    return self.total, OUT_OF_BUDGET
                start = time.monotonic()
                source.measure(list(dict.fromkeys(("psnr", *self.metrics))), names)
                self.spent += time.monotonic() - start
            except HarnessError as obstacle:
                return 0, str(obstacle)
            for cell in of_place:
                metric = cell.request.metric
                left -= cell.target.digits
                for tried in source.finishes() if finish is None else [finish]:
                    estimate, error = self._estimate(making, tried, metric, cell, names, here=finish is not None)
                    loose = self._tolerance(making, tried, metric, cell) + error
                    of = sums.setdefault(tried, {})
                    digits = explained_digits(estimate, cell.target, loose)
                    of[metric] = of[metric] + digits if metric in of else digits
                    if tried.saving == self.saving and tried.span == "full":
                        index = self._stated_index(metric)
                        closest[cell.request.key] = (
                            f"{cell.request.key} about {_decimals(estimate[index], cell.target)} "
                            f"(± {error[index]:.1g}), printed {_printed(cell.request)}"
                        )
            bound = left + max(sum(int(digits.max()) for digits in of.values()) for of in sums.values())
            if bound < known:
                break
        self._screen_words = (
            f"on {self.settings.probe} images a level it can explain at most {bound} of {self.total} digits: "
            + "; ".join(list(closest.values())[:2])
        )
        return bound, ""

    def _stated_index(self, metric: str) -> int:
        name = next(c.request.protocol for c in self.cells if c.request.metric == metric)
        known = [reading.label for reading in self.readings[metric]]
        return known.index(name) if name in known else 0

    def _estimate(
        self, making: Making, finish: Finish, metric: str, cell: _Cell, names: Sequence[str], here: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        source = self._source(making, *cell.place, here)
        base = self._source(self.stated, *cell.place)
        plain = next((f for f in base.finishes() if f == finish), None) or base.finishes()[0]
        base.measure([metric], base.images, [plain])
        whole = set_values(
            metric, base.values(metric, plain, base.images), base.pixels(base.images), self.readings[metric]
        )
        difference = source.values(metric, finish, names) - base.values(metric, plain, names)
        mean = difference.mean(axis=0)
        count = len(names)
        if count < 2:
            error = np.full(mean.shape, np.inf)
        else:
            error = SCREEN_ERRORS * difference.std(axis=0, ddof=1) / math.sqrt(count)
        times = len(whole) // len(mean)
        return whole + np.tile(mean, times), np.tile(error, times)

    def _screen_finishes(self) -> None:
        """Try the savings that are not stored on a few images; complete those that might explain more."""
        stored = {candidate.finish for candidate in self.candidates if candidate.making == self.stated}
        if self.settings.inputs == "stored":
            self.not_tried.append("other ways of saving: only stored images were used (--inputs stored)")
            return
        try:
            source = self._source(self.stated, *self.places[0], here=True)
            source.measure(["psnr"], source.images[:1])
        except HarnessError as error:
            self.not_tried.append(f"other ways of saving: {error}")
            return
        for finish in source.finishes():
            if finish in stored:
                continue
            bound, reason = self._bound(self.stated, finish)
            if reason:
                self._aside(self.stated, "open", reason, finish)
            elif bound <= self._known_digits() and bound < self.total:
                self._aside(self.stated, "ruled out", self._screen_words, finish)
            elif self._complete_finish(finish):
                self._add_finish(finish)

    def _complete_finish(self, finish: Finish) -> bool:
        metrics = list(dict.fromkeys(("psnr", *self.metrics)))
        sources = [self._source(self.stated, *place, here=True) for place in self.places]
        return all(self._spend(source, metrics, self.stated, finish) for source in sources)

    def _add_finish(self, finish: Finish) -> None:
        scores = {metric: self._scores(self.stated, finish, metric, here=True) for metric in self.metrics}
        self.candidates.append(_Candidate(self.stated, finish, scores))

    # --- SSIM where PSNR leaves a chance

    def _read_ssim(self) -> None:
        if "ssim" not in self.metrics:
            return
        possible = sum(c.target.digits for c in self.cells if c.request.metric == "ssim")
        order = sorted(range(len(self.candidates)), key=lambda i: (-self.candidates[i].best("psnr"), i))
        best = 0
        seen: dict[bytes, int] = {}
        anchor: _Candidate | None = None
        for index in order:
            candidate = self.candidates[index]
            if "ssim" not in candidate.scores:
                by_psnr = candidate.best("psnr")
                print_of = self._images_print(candidate)
                if print_of in seen:
                    first = self.candidates[seen[print_of]]
                    candidate.scores["ssim"] = first.scores["ssim"]
                    self.read_as[candidate.making, candidate.finish] = (first.making, first.finish)
                elif by_psnr + possible < best:
                    self.bounded.append((candidate.making, candidate.finish, by_psnr + possible))
                    continue
                else:
                    self.progress(f"{self.name}: SSIM, {_difference(candidate.making, self.stated)}")
                    anchor = anchor or candidate
                    candidate.scores["ssim"] = self._read_likely(candidate, anchor, max(0, best - by_psnr))
                    seen[print_of] = index
            best = max(best, sum(candidate.best(metric) for metric in self.metrics))
        self.candidates = [c for c in self.candidates if all(m in c.scores for m in self.metrics)]

    def _read_likely(self, candidate: _Candidate, anchor: _Candidate, needed: int) -> Scores:
        """Read SSIM on a few images of every set under every reading, and on all images where it can still reach.

        The mean over a set under a reading is estimated from the anchor's Gaussian SSIM on all images, and from the
        differences from it on the few. A reading that cannot explain `needed` digits in all keeps its estimate.
        """
        cells = [cell for cell in self.cells if cell.request.metric == "ssim"]
        sets = {place: self._source(candidate.making, *place) for place in self.places}
        if all(len(source.images) <= SMALL_SET for source in sets.values()):
            for source in sets.values():
                source.measure(["ssim"], source.images, [candidate.finish])
            return self._scores(candidate.making, candidate.finish, "ssim")
        reading = self._anchor_reading(anchor)
        only = np.zeros(len(SSIM_READINGS), dtype=bool)
        only[reading] = True
        few = {place: probes(source.images, SSIM_PROBES) for place, source in sets.items()}
        for place, source in sets.items():
            base = self._source(anchor.making, *place)
            base.measure(["ssim"], base.images, [anchor.finish], only)
            source.measure(["ssim"], few[place], [candidate.finish])
        estimates, errors = [], []
        for cell in cells:
            base, source = self._source(anchor.making, *cell.place), sets[cell.place]
            names = few[cell.place]
            on_few = source.values("ssim", candidate.finish, names)
            if set(names) <= set(base.images):
                known = base.values("ssim", anchor.finish, names)[:, [reading]]
                gaps = on_few - known
                whole = base.values("ssim", anchor.finish, base.images)[:, reading].mean()
            else:
                gaps, whole = on_few, 0.0
            estimates.append(whole + gaps.mean(axis=0))
            errors.append(SCREEN_ERRORS * gaps.std(axis=0, ddof=1) / math.sqrt(len(names)))
        loose = np.array([self._tolerance(candidate.making, candidate.finish, "ssim", cell) for cell in cells])
        scores = score(np.array(estimates), [cell.target for cell in cells], loose + np.array(errors))
        exact = np.zeros(len(SSIM_READINGS), dtype=bool)
        while True:
            # The likeliest reading first: what it explains rules out others.
            bounds = scores.digits.sum(axis=0)
            open_readings = np.flatnonzero(~exact & (bounds >= max(needed, 1)))
            if not len(open_readings):
                break
            least = scores.misfit[open_readings]
            chosen = open_readings[np.argsort(least, kind="stable")[: 1 if not exact.any() else None]]
            mask = np.zeros(len(SSIM_READINGS), dtype=bool)
            mask[chosen] = True
            for source in sets.values():
                source.measure(["ssim"], source.images, [candidate.finish], mask)
            found = self._scores(candidate.making, candidate.finish, "ssim")
            for name in ("values", "digits", "exact"):
                getattr(scores, name)[:, chosen] = getattr(found, name)[:, chosen]
            scores.misfit[chosen] = found.misfit[chosen]
            exact |= mask
            needed = max(needed, int(scores.digits[:, exact].sum(axis=0).max()))
        # What stays an estimate is shown as such, without the tolerance that kept it in the race.
        point = score(scores.values, [cell.target for cell in cells], loose)
        scores.digits[:, ~exact] = point.digits[:, ~exact]
        scores.exact[:, ~exact] = point.exact[:, ~exact]
        scores.estimated = ~exact
        return scores

    def _anchor_reading(self, anchor: _Candidate) -> int:
        """The Gaussian SSIM on the luma and border that explain the most in PSNR."""
        if "psnr" in anchor.scores:
            best = self.readings["psnr"][int(np.argmax(anchor.scores["psnr"].digits.sum(axis=0)))]
            return SSIM_READINGS.index(Reading("ssim-gauss", best.luma, best.border))
        return SSIM_READINGS.index(Reading("ssim-gauss", "", ""))

    def _images_print(self, candidate: _Candidate) -> bytes:
        """The PSNRs of every image under every reading, bit by bit: equal ones belong to equal restored images."""
        parts = []
        for place in self.places:
            source = self._source(candidate.making, *place)
            parts.append(source.dataset.encode() + source.values("psnr", candidate.finish, source.images).tobytes())
        return b"".join(parts)

    # --- the outcome

    def _outcome(self) -> RowAudit:
        best_digits = max(sum(c.best(m) for m in self.metrics) for c in self.candidates)
        best_exact = max(sum(int(c.scores[m].exact.sum(axis=0).max()) for m in self.metrics) for c in self.candidates)
        # If something explains every digit without a noise term, what needs the term is behind it.
        by_exact = best_exact == self.total
        members = self._members(best_digits, by_exact)
        chosen, picks = self._choose(members, whole=best_digits == self.total)
        best = self._variant(chosen, picks)
        return RowAudit(
            table=self.table.name,
            part=self.part,
            row=self.name,
            task=self.task,
            method=self.stated.method,
            cells=self._cell_audits(chosen, picks),
            left_out=self.left_out,
            digits=self.total,
            best=best,
            stated=self._stated_variant(),
            dimensions=self._dimensions(members, by_exact),
            ranking=self._ranking(),
            screened=tuple(self.screened),
            not_tried=tuple(self.not_tried),
            chance=self._chance(best),
            random=bool(chosen.making.noise.scheme),
            witnesses=self._witnesses(chosen, picks),
            policy=chosen.making.policy,
            saving=chosen.finish.saving,
            span=chosen.finish.span,
            noise=f"{chosen.making.noise.scheme}/{chosen.making.noise.seed}" if chosen.making.noise.scheme else "",
            datasets={column: used for column, used in chosen.making.datasets if used != column},
        )

    def _members(self, best_digits: int, by_exact: bool) -> list[tuple[_Candidate, dict[str, NDArray[np.int64]]]]:
        """The variants that explain the most: candidates, and the readings of each metric that do."""
        members = []
        for candidate in self.candidates:
            total, chosen = 0, {}
            for metric in self.metrics:
                of = candidate.scores[metric]
                digits = (of.exact if by_exact else of.digits).sum(axis=0)
                chosen[metric] = np.flatnonzero(digits == digits.max())
                total += int(digits.max())
            if total == (self.total if by_exact else best_digits):
                members.append((candidate, chosen))
        return members

    def _choose(
        self, members: list[tuple[_Candidate, dict[str, NDArray[np.int64]]]], whole: bool
    ) -> tuple[_Candidate, dict[str, int]]:
        """Pick one of the variants that explain the most.

        Where every digit is explained they cannot be told apart: the one that is nearest to what the table says of its
        columns is named, and one luma and border for both metrics before two. Otherwise the smallest misfit counts.
        """
        column = {
            r.metric: reading_of(r.column_protocol) for r in (cell.request for cell in self.cells) if r.column_protocol
        }
        ranked = []
        for order, (candidate, chosen) in enumerate(members):
            away = len(_differences(candidate.making, self.stated)) + (candidate.finish != Finish(self.saving))
            for picked in itertools.product(*(chosen[metric] for metric in self.metrics)):
                picks = dict(zip(self.metrics, (int(p) for p in picked), strict=True))
                read = {metric: self.readings[metric][index] for metric, index in picks.items()}
                mixed = len({(r.luma, r.border) for r in read.values()}) - 1
                changed = sum(_parts_changed(read[metric], column[metric]) for metric in read)
                misfit = sum(float(candidate.scores[m].misfit[i]) for m, i in picks.items())
                tie = (0.0 if whole else round(misfit, 6), mixed, changed + away, order, tuple(picks.values()))
                ranked.append((tie, candidate, picks))
        _, candidate, picks = min(ranked, key=lambda entry: entry[0])
        return candidate, picks

    def _variant(self, candidate: _Candidate, picks: dict[str, int]) -> VariantAudit:
        digits = exact = whole = 0
        misfit = largest = 0.0
        for metric, index in picks.items():
            of = candidate.scores[metric]
            cells = [cell for cell in self.cells if cell.request.metric == metric]
            digits += int(of.digits[:, index].sum())
            exact += int(of.exact[:, index].sum())
            misfit += float(of.misfit[index])
            for row, cell in enumerate(cells):
                whole += bool(of.digits[row, index] == cell.target.digits)
                largest = max(largest, abs(float(of.values[row, index]) - cell.target.value) / cell.target.unit)
        read = {metric: self.readings[metric][index] for metric, index in picks.items()}
        return VariantAudit(
            choices=_choices(candidate.making, candidate.finish, read),
            protocols={metric: reading.label for metric, reading in read.items()},
            digits=digits,
            whole=whole,
            exact=exact,
            misfit=round(misfit, 3),
            largest=round(largest, 3) if math.isfinite(largest) else 1e9,
            estimated=any(bool(candidate.scores[metric].estimated[index]) for metric, index in picks.items()),
        )

    def _stated_variant(self) -> VariantAudit | None:
        stated = self.same.get((self.stated, Finish(self.saving)), (self.stated, Finish(self.saving)))
        for candidate in self.candidates:
            if (candidate.making, candidate.finish) == stated:
                picks = {}
                for metric in self.metrics:
                    name = next(c.request.protocol for c in self.cells if c.request.metric == metric)
                    known = [reading.label for reading in self.readings[metric]]
                    if name not in known:
                        return None
                    picks[metric] = known.index(name)
                return self._variant(candidate, picks)
        return None

    def _cell_audits(self, candidate: _Candidate, picks: dict[str, int]) -> tuple[CellAudit, ...]:
        found = []
        rows: dict[str, int] = dict.fromkeys(picks, 0)
        for cell in self.cells:
            request = cell.request
            of = candidate.scores[request.metric]
            row, index = rows[request.metric], picks[request.metric]
            rows[request.metric] += 1
            tolerance = self._tolerance(candidate.making, candidate.finish, request.metric, cell)[index]
            found.append(
                CellAudit(
                    key=request.key,
                    dataset=request.dataset,
                    level=request.level,
                    metric=request.metric,
                    printed=_printed(request),
                    measured=round(float(of.values[row, index]), 6),
                    explained=int(of.digits[row, index]),
                    digits=cell.target.digits,
                    tolerance=round(float(tolerance), 6),
                    images=len(self._source(candidate.making, *cell.place).images),
                )
            )
        return tuple(found)

    def _witnesses(self, candidate: _Candidate, picks: dict[str, int]) -> dict[str, tuple[str, float]]:
        """The smallest image of each cell with its value: what a test can check in seconds."""
        found = {}
        for cell in self.cells:
            request = cell.request
            here = self._here(candidate)
            # SSIM of images that are equal was read once.
            making, finish = candidate.making, candidate.finish
            if request.metric == "ssim":
                making, finish = self.read_as.get((making, finish), (making, finish))
            source = self._source(making, *cell.place, here)
            sizes = source.pixels(source.images)[:, 0]
            image = source.images[int(np.argmin(sizes))]
            reading = self.readings[request.metric][picks[request.metric]]
            plain = msgspec.structs.replace(reading, average="mean")
            single = [msgspec.structs.replace(r, average="mean") for r in self.readings[request.metric]].index(plain)
            value = source.values(request.metric, finish, [image])[0, single]
            found[request.key] = (image, round(float(value), 6))
        return found

    def _here(self, candidate: _Candidate) -> bool:
        """Whether a candidate's values were restored here although others of its making are stored."""
        source = self._source(candidate.making, *self.places[0])
        return source.stored is not None and candidate.finish not in source.finishes()

    def _dimensions(
        self, members: list[tuple[_Candidate, dict[str, NDArray[np.int64]]]], by_exact: bool
    ) -> tuple[DimensionAudit, ...]:
        most: dict[str, dict[str, tuple[int, bool]]] = {}
        admitted: dict[str, set[str]] = {}

        def note(name: str, value: str, digits: int, bound: bool = False) -> None:
            known = most.setdefault(name, {}).get(value)
            if known is None or (digits, not bound) > (known[0], not known[1]):
                most[name][value] = (digits, bound)

        for candidate in self.candidates:
            sums = {m: candidate.scores[m].digits.sum(axis=0) for m in self.metrics}
            total = sum(int(digits.max()) for digits in sums.values())
            for name, value in _making_choices(candidate.making, candidate.finish).items():
                note(name, value, total)
            for metric, digits in sums.items():
                rest = total - int(digits.max())
                estimated = candidate.scores[metric].estimated
                for index, reading in enumerate(self.readings[metric]):
                    for name, value in _reading_choices(metric, reading).items():
                        note(name, value, rest + int(digits[index]), bool(estimated[index]))
        for making, finish, bound in self.bounded:
            for name, value in _making_choices(making, finish).items():
                note(name, value, bound, bound=True)
        for candidate, chosen in members:
            for name, value in _making_choices(candidate.making, candidate.finish).items():
                admitted.setdefault(name, set()).add(value)
            for metric, indices in chosen.items():
                for index in indices:
                    for name, value in _reading_choices(metric, self.readings[metric][index]).items():
                        admitted.setdefault(name, set()).add(value)
        return tuple(
            DimensionAudit(
                name,
                tuple(
                    ChoiceAudit(value, digits, bound, value in admitted.get(name, set()))
                    for value, (digits, bound) in sorted(values.items(), key=lambda item: -item[1][0])
                ),
            )
            for name, values in most.items()
            if len(values) > 1
        )

    def _consistent(self) -> list[tuple[int, int]]:
        """Pairs of readings of PSNR and SSIM with one luma and border; or the readings of the one metric there is."""
        if len(self.metrics) == 1:
            return [(index, index) for index in range(len(self.readings[self.metrics[0]]))]
        return [
            (p, s)
            for p, one in enumerate(self.readings["psnr"])
            for s, other in enumerate(self.readings["ssim"])
            if (one.luma, one.border) == (other.luma, other.border)
        ]

    def _vectors(
        self, candidates: Iterable[_Candidate]
    ) -> tuple[NDArray[np.float64], list[tuple[_Candidate, tuple[int, int]]]]:
        pairs = self._consistent()
        blocks, labels = [], []
        of_metric = {m: [i for i, cell in enumerate(self.cells) if cell.request.metric == m] for m in self.metrics}
        for candidate in candidates:
            block = np.empty((len(pairs), len(self.cells)))
            for metric, rows in of_metric.items():
                picked = [pair[0] if metric == self.metrics[0] else pair[1] for pair in pairs]
                block[:, rows] = candidate.scores[metric].values[:, picked].T
            blocks.append(block)
            labels += [(candidate, pair) for pair in pairs]
        return np.concatenate(blocks), labels

    def _picks(self, pair: tuple[int, int]) -> dict[str, int]:
        return dict(zip(self.metrics, pair, strict=False))

    def _ranking(self, count: int = 12) -> tuple[VariantAudit, ...]:
        vectors, labels = self._vectors(self.candidates)
        first = distinct(vectors, [cell.target.unit for cell in self.cells])
        variants = [self._variant(labels[i][0], self._picks(labels[i][1])) for i in self._promising(first, labels)]
        return tuple(sorted(variants, key=lambda v: (-v.digits, -v.whole, -v.exact, v.misfit))[:count])

    def _promising(self, indices: NDArray[np.int64], labels: list[tuple[_Candidate, tuple[int, int]]]) -> list[int]:
        """The first hundred by digits, so that only these are written out."""

        def digits(index: int) -> tuple[int, float]:
            candidate, pair = labels[index]
            picks = self._picks(pair)
            explained = sum(int(candidate.scores[m].digits[:, i].sum()) for m, i in picks.items())
            return -explained, sum(float(candidate.scores[m].misfit[i]) for m, i in picks.items())

        return sorted((int(i) for i in indices), key=digits)[:100]

    def _chance(self, best: VariantAudit) -> Chance:
        # Other seeds of one noise are no other protocol.
        first = [c for c in self.candidates if c.making.noise in (NoiseDraw(), NoiseDraw(INDEPENDENT))]
        vectors, _ = self._vectors(first or self.candidates)
        tolerance = [
            float(np.median(self._tolerance(self.stated, Finish(self.saving), cell.request.metric, cell)))
            for cell in self.cells
        ]
        return chance(vectors, [cell.target for cell in self.cells], best.digits, best.whole, tolerance)


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


def _making_choices(making: Making, finish: Finish) -> dict[str, str]:
    return {
        "input": making.degradation,
        "method": making.method,
        "dataset": ", ".join(used for _, used in making.datasets),
        "noise draw": making.noise.label,
        "saved": SAVING_LABELS[finish.saving],
        "range": "0..255" if finish.span == "full" else "16..235",
    }


def _reading_choices(metric: str, reading: Reading) -> dict[str, str]:
    name = metric.upper()
    found = {f"luma of {name}": reading.luma or "none", f"border of {name}": reading.border or "none"}
    if metric == "psnr":
        found["average of PSNR"] = reading.average
    else:
        found["kind of SSIM"] = reading.metric
    return found


def _choices(making: Making, finish: Finish, read: dict[str, Reading]) -> dict[str, str]:
    found = _making_choices(making, finish)
    for metric, reading in read.items():
        found |= _reading_choices(metric, reading)
    return {name: value for name, value in found.items() if value}


def _differences(making: Making, stated: Making) -> dict[str, str]:
    one, other = _making_choices(making, Finish()), _making_choices(stated, Finish())
    return {name: value for name, value in one.items() if value != other[name]}


def _difference(making: Making, stated: Making) -> str:
    return ", ".join(_differences(making, stated).values()) or "as stated"


def _parts_changed(reading: Reading, column: Reading) -> int:
    one, other = _reading_choices("psnr", reading), _reading_choices("psnr", column)
    return sum(one[name] != other[name] for name in one) + (reading.metric != column.metric)


def _decimals(value: float, printed: Target) -> str:
    return f"{value:.{max(0, round(-math.log10(printed.unit))) + 1}f}"


def _printed(request: Request) -> str:
    return request.printed.text if request.printed is not None else ""
