"""Verdicts: whether a measured number reproduces a printed one.

======================  ==============================================================================================
match                   within half a unit of the last printed digit, plus the noise term where the input is random
match (3 digits)        the printed number ends in a zero that its source does not print; equal at the three digits
                        that it does
fits                    equal at the printed digits, but only under a choice that was made for this cell, or for these
                        cells, after the number had been seen, and that no other set supports
close                   within five units of the last printed digit, plus the noise term
off                     farther away
incomparable            the printed number was made by something else than what was measured (other weights, another
                        protocol): the numbers stand side by side and are not compared
trained                 the network was trained here, for the share of the full schedule that the reason names;
                        whatever the number is, it reproduces nothing that was printed
not run                 nothing was measured, for the reason given
measured                nothing is printed beside it: a row of one's own
======================  ==============================================================================================

Only `match` counts as reproduced. The noise term is two standard deviations of the difference between two independent
noise draws, ours and the paper's: 2 sqrt(2) times the standard deviation of the set's mean from draw to draw, which is
estimated from further draws on some of the images.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from harness.tables.measurements import Measurement, NotRun, Spread
from harness.tables.published import PublishedNumber

Verdict = Literal["match", "match (3 digits)", "fits", "close", "off", "incomparable", "trained", "not run", "measured"]

# Those of printed numbers, which are counted: of a number beside which nothing is printed there is nothing to count.
VERDICTS: tuple[Verdict, ...] = (
    "match",
    "match (3 digits)",
    "fits",
    "close",
    "off",
    "incomparable",
    "trained",
    "not run",
)

MATCH_UNITS = 0.5
CLOSE_UNITS = 5.0
NOISE_DEVIATIONS = 2.0

# Decimal digits are compared in binary floating point: 27.775 - 27.77 is not exactly 0.005.
ROUNDING = 1e-9


class Judgement(msgspec.Struct, frozen=True):
    """A verdict, the difference measured - published, and the reason in words."""

    verdict: Verdict
    delta: float | None
    reason: str


def noise_term(spread: Spread | None) -> float:
    """Tolerance for two draws of independent noise (see the module's text), in the unit of the metric."""
    return 0.0 if spread is None else NOISE_DEVIATIONS * math.sqrt(2.0) * spread.sd


def is_match(delta: float, unit: float, noise: float = 0.0) -> bool:
    """Whether a measured value is the printed one at the printed digits.

    `delta`: Measured less printed.
    `unit`: Unit of the last printed digit.
    `noise`: See `noise_term`.
    """
    return _within(delta, MATCH_UNITS * unit, noise)


def _within(delta: float, limit: float, noise: float) -> bool:
    return abs(delta) - ROUNDING <= limit + noise


def judge(
    printed: PublishedNumber | None,
    measured: Measurement | NotRun,
    incomparable: str = "",
    trained: str = "",
    fitted: str = "",
) -> Judgement:
    """Compare a measured number with the printed one.

    `printed`: None where the paper prints no number.
    `trained`: How the network was trained here, if it was (``trained: 0.4 % of the released program's iterations``).
    `fitted`: Which choice was made for the cell after its number had been seen, if one was.
    """
    if isinstance(measured, NotRun):
        return Judgement("not run", None, measured.reason)
    if trained:
        reason = "; ".join(text for text in (trained, incomparable) if text)
        return Judgement("trained", None if printed is None else measured.value - float(printed.value), reason)
    if printed is None:
        return Judgement("measured", None, "")
    delta = measured.value - float(printed.value)
    if incomparable:
        return Judgement("incomparable", delta, incomparable)
    unit, noise = float(printed.unit), noise_term(measured.spread)

    def within(units: float, unit: float) -> str:
        limit = units * unit
        return _explain(limit, measured.spread, noise, "within") if _within(delta, limit, noise) else ""

    if reason := within(MATCH_UNITS, unit):
        return Judgement("fits", delta, f"{reason}; {fitted}") if fitted else Judgement("match", delta, reason)
    if printed.source_unit is not None and (reason := within(MATCH_UNITS, float(printed.source_unit))):
        return Judgement("match (3 digits)", delta, f"{reason}, at the three digits of the number's source")
    if reason := within(CLOSE_UNITS, unit):
        return Judgement("close", delta, reason)
    return Judgement("off", delta, _explain(CLOSE_UNITS * unit, measured.spread, noise, "beyond"))


def _explain(limit: float, spread: Spread | None, noise: float, side: str) -> str:
    if spread is None:
        return f"{side} {limit:g}"
    draws = f"; {spread.draws} draws of {spread.images} images" if spread.draws else ""
    return f"{side} {limit:g} + noise {noise:.4f} ({NOISE_DEVIATIONS:g} sd of two draws' difference{draws})"
