"""How much of a printed row a variant explains, digit by digit, and which variants cannot be told apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.tables.published import PublishedNumber
from harness.tables.verdicts import MATCH_UNITS, ROUNDING


class Target(msgspec.Struct, frozen=True):
    """What a cell prints, as floating-point numbers.

    Attributes
    ----------
    value, unit : float
        The number, and the weight of its last meaningful digit.
    digits : int
        Printed digits that carry information: 4 of ``27.77`` and of ``0.7905``, 3 of ``0.0682``.
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
    """Count the printed digits that values explain.

    A value explains the n-th digit when it lies within half a unit of that digit of what is printed, plus a tolerance
    for random inputs. NaN explains nothing.

    Parameters
    ----------
    values : ndarray
        Measured values, any shape.
    printed : Target
        What is printed.
    tolerance : ndarray or float
        Noise term, in the unit of the metric.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        distance = np.maximum(np.abs(values - printed.value) - tolerance - ROUNDING, 0.0)
        lost = np.ceil(np.log10(distance / (MATCH_UNITS * printed.unit)))
        lost = np.where(distance <= MATCH_UNITS * printed.unit, 0.0, np.maximum(lost, 1.0))
    lost = np.where(np.isfinite(values), lost, printed.digits)
    found: NDArray[np.int64] = np.clip(printed.digits - lost, 0, printed.digits).astype(np.int64)
    return found


class Scores(msgspec.Struct):
    """Scores of many readings over the cells of one metric.

    Attributes
    ----------
    values : ndarray
        ``(cells, readings)``.
    digits, exact : ndarray
        ``(cells, readings)``: digits explained with the noise term and without.
    misfit : ndarray
        ``(readings,)``: sum over cells of the distance in units, beyond one half; only breaks ties.
    estimated : ndarray of bool
        ``(readings,)``: values that are estimates from a few images.
    """

    values: NDArray[np.float64]
    digits: NDArray[np.int64]
    exact: NDArray[np.int64]
    misfit: NDArray[np.float64]
    estimated: NDArray[np.bool_]


def score(
    values: NDArray[np.float64], targets: Sequence[Target], tolerance: NDArray[np.float64] | None = None
) -> Scores:
    """Score values ``(cells, readings)`` against what the cells print.

    Parameters
    ----------
    values : ndarray
        ``(cells, readings)``.
    targets : sequence of Target
        One a cell.
    tolerance : ndarray, optional
        ``(cells, readings)`` noise terms.
    """
    loose = np.zeros_like(values) if tolerance is None else np.nan_to_num(tolerance)
    digits = np.zeros(values.shape, dtype=np.int64)
    exact = np.zeros(values.shape, dtype=np.int64)
    misfit = np.zeros(values.shape[1])
    for index, printed in enumerate(targets):
        digits[index] = explained_digits(values[index], printed, loose[index])
        exact[index] = explained_digits(values[index], printed)
        distance = np.abs(values[index] - printed.value) / printed.unit
        misfit += np.nan_to_num(np.maximum(distance - MATCH_UNITS, 0.0), nan=1e6, posinf=1e6)
    return Scores(values, digits, exact, misfit, np.zeros(values.shape[1], dtype=bool))


TOLD_APART = 0.05
"""Variants are the same numbers if no cell differs by this much of its last printed digit: a print tells them apart
once in twenty cells at best, and then by luck."""


def distinct(vectors: NDArray[np.float64], units: Sequence[float]) -> NDArray[np.int64]:
    """Give one index, the first, of each group of rows that are the same numbers.

    Parameters
    ----------
    vectors : ndarray
        ``(variants, cells)`` values.
    units : sequence of float
        Printed unit of each cell.
    """
    scaled = np.nan_to_num(vectors, nan=-1.0) / np.asarray(units)
    # Most variants repeat others exactly; what is left is compared with each other.
    _, first = np.unique(np.rint(scaled * 1e6), axis=0, return_index=True)
    kept: list[int] = []
    for index in np.sort(first):
        if not kept or np.abs(scaled[kept] - scaled[index]).max(axis=1).min() >= TOLD_APART:
            kept.append(int(index))
    return np.array(kept, dtype=np.int64)


class Chance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How surprising it is that a variant explains a row.

    Attributes
    ----------
    tried : int
        Variants that were evaluated on every cell.
    distinct : int
        Those that give different numbers (a rounded luma of a gray image is the gray image).
    as_good : int
        Distinct variants that explain as many digits as the best one.
    cells, whole : int
        Cells of the row that could be evaluated, and those whose digits are all explained by the best one.
    decoys, fooled : int
        Of `decoys` rows printed under a variant that is then struck off the list, `fooled` are explained by another
        variant at least as well as the best variant explains the published row.
    """

    tried: int
    distinct: int
    as_good: int
    cells: int
    whole: int
    decoys: int
    fooled: int

    @property
    def share(self) -> float:
        """Share of the decoys that were fooled; 1 where there is none."""
        return self.fooled / self.decoys if self.decoys else 1.0

    @property
    def bound(self) -> float:
        """Most that this share can be in truth, with 95 % confidence (Clopper and Pearson, one-sided).

        None of n fooled says about 3 / n: six decoys exclude nothing below 39 %.
        """
        from scipy.special import betaincinv

        if self.fooled >= self.decoys:
            return 1.0
        return float(betaincinv(self.fooled + 1, self.decoys - self.fooled, CONFIDENCE))

    def coincidence(self, independent: int) -> float:
        """Bound the chance that some variant matches independent cells by accident.

        A number that has nothing to do with the printed one has its last digit in one of ten cases. Each variant that
        gives other numbers is another try, so the chance grows with the list.

        Parameters
        ----------
        independent : int
            Matched cells that are independent of each other.
        """
        return min(1.0, self.distinct / 10.0**independent)


DECOYS = 400
"""Decoys are drawn up to this number: the bound cannot fall below 0.75 % and needs to say no more."""

CONFIDENCE = 0.95


def chance(
    vectors: NDArray[np.float64],
    targets: Sequence[Target],
    best_digits: int,
    best_whole: int,
    tolerance: Sequence[float] | None = None,
    seed: int = 0,
) -> Chance:
    """Estimate how easily a row is explained by accident.

    The question is: if the true protocol is not on the list, but is of the kind of those that are, how often does one
    of the list explain the row as well as the best one does? Each decoy is a variant of the list, printed with the
    row's digits and taken off the list with everything that gives the same numbers. This keeps what an independence
    assumption would lose: cells of one row rise and fall together, and variants come in near relations.

    Parameters
    ----------
    vectors : ndarray
        ``(variants, cells)`` values of every variant tried.
    targets : sequence of Target
        What the cells print.
    best_digits, best_whole : int
        Digits, and whole cells, that the best variant explains.
    tolerance : sequence of float, optional
        Noise term of each cell.
    seed : int
        Of the choice of decoys.
    """
    units = [t.unit for t in targets]
    loose = [0.0] * len(targets) if tolerance is None else list(tolerance)
    complete = vectors[np.isfinite(vectors).all(axis=1)]
    found = complete[distinct(complete, units)]
    totals = sum(
        (explained_digits(found[:, i], t, loose[i]) for i, t in enumerate(targets)),
        start=np.zeros(len(found), dtype=np.int64),
    )
    allowed = sum(t.digits for t in targets) - best_digits
    rng = np.random.Generator(np.random.Philox(key=seed))
    chosen = np.arange(len(found))
    if len(found) > DECOYS:
        chosen = rng.choice(len(found), DECOYS, replace=False)
    fooled = 0
    for index in chosen if len(found) > 1 else []:
        lost = np.zeros(len(found))
        for cell, t in enumerate(targets):
            decoy = Target(round(found[index, cell] / t.unit) * t.unit, t.unit, t.digits)
            lost += t.digits - explained_digits(found[:, cell], decoy, loose[cell])
        lost[index] = math.inf
        fooled += bool((lost <= allowed).any())
    return Chance(
        tried=len(vectors),
        distinct=len(found),
        as_good=int((totals >= best_digits).sum()) if len(found) else 0,
        cells=len(targets),
        whole=best_whole,
        decoys=len(chosen) if len(found) > 1 else 0,
        fooled=fooled,
    )
