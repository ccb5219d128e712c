"""Sentences about audits, for the terminal and for documents: a match is said as strongly as it is, and no more."""

from __future__ import annotations

from collections.abc import Iterable

from harness.audit.outcomes import DimensionAudit, MixtureAudit, RowAudit, ScreenedAudit
from harness.audit.ranking import Chance

FEW_CELLS = 4
SURPRISING = 0.02
"""Below this estimated probability of an accident, and from `FEW_CELLS` cells on, a match is called strong."""
SUGGESTIVE = 0.2
"""Up to this one it is called suggestive with any number of cells; above it, weak."""


def strength(chance: Chance, explained: bool) -> str:
    """Name the strength of a match: ``strong``, ``suggestive``, ``weak``, or ``partial`` where digits are missing."""
    if not explained:
        return "partial"
    if chance.accident <= SURPRISING and chance.whole >= FEW_CELLS:
        return "strong"
    return "suggestive" if chance.accident <= SUGGESTIVE else "weak"


def percent(share: float) -> str:
    """Write a probability."""
    return f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def chance_sentence(chance: Chance, explained: bool) -> str:
    """Say how surprising a match is.

    The number of decoys bounds what can be said: none of 36 fooled means below 2.7 %.
    """
    first = (
        f"{chance.tried} variants were tried; {chance.distinct} of them give different numbers, "
        f"{chance.as_good} of these {'explains' if chance.as_good == 1 else 'explain'} as many digits as the best. "
    )
    if not chance.decoys:
        return first + "Too few to say how surprising that is."
    below = "below " if not chance.fooled else "about "
    second = (
        f"If the true protocol were another one of this kind and not on the list, one of the list would explain a row "
        f"of {chance.cells} cells as well in {below}{percent(chance.accident)} of the cases "
        f"({chance.fooled} of {chance.decoys} decoys)"
    )
    words = {
        "strong": ": the match is strong evidence",
        "suggestive": ": the match is suggestive, not proof",
        "weak": ": the match is weak evidence; other protocols fit as well",
        "partial": "; not every digit is explained",
    }
    return first + second + words[strength(chance, explained)] + "."


def mixture_sentence(mixture: MixtureAudit, cells: int) -> str:
    """Say which columns a second variant explains, and how surprising that is."""
    how = ", ".join(f"{name} {value}" for name, value in mixture.choices.items())
    said = (
        f"{listed(mixture.places)}: explained better by another variant ({how}): {mixture.whole} of "
        f"{mixture.chance.cells} cells; with it {mixture.row_whole} of the row's {cells} cells are explained"
    )
    if not mixture.chance.decoys:
        return said + "."
    below = "below " if not mixture.chance.fooled else "about "
    return said + (
        f". If these columns were of a protocol that is not on the list, one of the list would explain them as well in "
        f"{below}{percent(mixture.chance.accident)} of the cases."
    )


def headline(audit: RowAudit) -> str:
    """Say in one sentence what makes the row's numbers."""
    if audit.best is None:
        return audit.reason
    best = audit.best
    protocols = " and ".join(best.protocols.values())
    how = [best.choices["input"]]
    if best.choices["method"] != audit.method:
        how.append(f"method {best.choices['method']}")
    dataset = best.choices.get("dataset", "")
    columns = ", ".join(dict.fromkeys(cell.dataset for cell in audit.cells))
    if dataset and dataset != columns:
        how.append(f"on {dataset}")
    if best.choices.get("saved", "") not in ("", "8-bit, rounded"):
        how.append(best.choices["saved"])
    if best.choices.get("range", "") == "16..235":
        how.append("clipped to 16..235")
    count = f"{best.digits} of {audit.digits} digits, {best.whole} of {len(audit.cells)} cells"
    verb = "explained by" if audit.explained else "nearest:"
    return f"{verb} {protocols}; {', '.join(how)}: {count}"


def same_for_readers(dimension: DimensionAudit) -> str:
    """Say that a dimension's values cannot be told apart."""
    values = [choice.value for choice in dimension.values]
    if len(values) > 4:
        return f"any of {len(values)}: no difference at the printed digits"
    return f"any: {', '.join(values)}"


def listed(names: Iterable[str]) -> str:
    """Join names as in a sentence: ``A, B and C``."""
    found = list(names)
    return " and ".join(", ".join(found).rsplit(", ", 1)) if all(", " not in n for n in found) else "; ".join(found)


def digits_by_value(audit: RowAudit) -> list[str]:
    """Say for each dimension that changes something the most digits that each of its values explains."""
    said = []
    for dimension in audit.dimensions:
        if len({(choice.digits, choice.bound) for choice in dimension.values}) < 2:
            continue
        values: dict[str, list[str]] = {}
        for choice in dimension.values:
            values.setdefault(f"{'≤ ' if choice.bound else ''}{choice.digits}", []).append(
                _value(dimension.name, choice.value)
            )
        said.append(f"{dimension.name}: " + "; ".join(f"{', '.join(of)} {digits}" for digits, of in values.items()))
    return said


def screened_sentences(audit: RowAudit) -> list[str]:
    """Say what was left aside, a sentence for each verdict and reason, with the values of each dimension once."""
    groups: dict[tuple[str, str], list[ScreenedAudit]] = {}
    for screened in audit.screened:
        groups.setdefault((screened.verdict, _kind(screened)), []).append(screened)
    said = []
    for (verdict, reason), members in groups.items():
        values: dict[str, dict[str, None]] = {}
        for member in members:
            for name, value in member.choices.items():
                # A draw comes with its input.
                if name != "noise draw" or "input" not in member.choices:
                    values.setdefault(name, {})[_value(name, value)] = None
        what = "; ".join(f"{name} {', '.join(of)}" for name, of in values.items())
        several = len(members) > sum(len(of) for of in values.values())
        count = f" ({len(members)} in all, alone and together)" if several else ""
        said.append(f"{_VERDICTS[verdict]}{f', {reason}' if reason else ''}: {what}{count}")
    return said


def _value(name: str, value: str) -> str:
    """A value without commas, which stand between values: sets that go together are joined by a plus."""
    return value.replace(", ", " + " if name == "dataset" else " ")


_VERDICTS = {"open": "Left open", "ruled out": "Ruled out on a few images", "not possible": "Not possible"}


def _kind(screened: ScreenedAudit) -> str:
    """The reason without what is of one image or cell only."""
    if screened.verdict == "ruled out":
        return ""
    if screened.reason.startswith("the budget"):
        return "the budget ended before"
    return "not in work/restored" if screened.reason.startswith("not in work/restored") else screened.reason
