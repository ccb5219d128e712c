"""Sentences about audits, for the terminal and for documents: a match is said as strongly as it is, and no more."""

from __future__ import annotations

from collections.abc import Iterable

from harness.audit.outcomes import DimensionAudit, MixtureAudit, RowAudit, ScreenedAudit
from harness.audit.ranking import Chance

STRONG = 0.02
"""Up to this probability of an accident a match is called strong."""
SUGGESTIVE = 0.2
"""Up to this one it is called suggestive; above it, weak."""


def accident(audit: RowAudit) -> float:
    """Estimate how easily a match is an accident: what decides the words `strong`, `suggestive` and `weak`.

    The larger of two numbers. One is the chance that some variant matches the row's independent cells by accident
    (`harness.audit.ranking.Chance.coincidence`): it falls with every independent cell and *grows* with every variant
    that gives other numbers. The other is the share of decoys that were fooled. Neither gets smaller because more
    variants were tried, so a longer list alone never makes a stronger word.
    """
    assert audit.chance is not None
    return max(audit.chance.coincidence(audit.independent), audit.chance.share)


def strength(audit: RowAudit) -> str:
    """Name the strength of a match: ``strong``, ``suggestive``, ``weak``, or ``partial`` where cells do not match.

    Where the decoys are too few to say that less than `SUGGESTIVE` of them would be fooled (below 14 if none is), the
    match is not tested, and called weak.
    """
    if not audit.explained:
        return "partial"
    if audit.chance is None or audit.chance.bound > SUGGESTIVE:
        return "weak"
    found = accident(audit)
    return "strong" if found <= STRONG else "suggestive" if found <= SUGGESTIVE else "weak"


def percent(share: float) -> str:
    """Write a probability."""
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.1f} %" if share < 0.1 else f"{100 * share:.0f} %"


def decoy_sentence(chance: Chance) -> str:
    """Say how many decoys were fooled, and the most that this can mean."""
    were = "was" if chance.fooled == 1 else "were"
    bound = f"(with 95 % confidence at most {percent(chance.bound)})"
    return f"{chance.fooled} of {chance.decoys} decoys {were} fooled {bound}"


def chance_sentence(audit: RowAudit) -> str:
    """Say how surprising a match is; of a row that does not match whole, only what was tried."""
    chance = audit.chance
    assert chance is not None
    said = f"{chance.tried} variants were tried; {chance.distinct} of them give different numbers"
    if not audit.explained:
        return said + "; not every cell matches."
    if not chance.decoys:
        return said + ": too few to say how surprising the match is."
    cells = f"{audit.independent} independent cell{'s' * (audit.independent != 1)}"
    words = {
        "strong": "the match is strong evidence",
        "suggestive": "the match is suggestive, not proof",
        "weak": "the match is weak evidence",
    }
    return (
        f"{said}. That one of them matches {cells} by accident has a chance of at most "
        f"{percent(chance.coincidence(audit.independent))}; {decoy_sentence(chance)}: {words[strength(audit)]}."
    )


def mixture_sentence(mixture: MixtureAudit, cells: int) -> str:
    """Say which columns a second variant matches better, and how surprising that is."""
    how = ", ".join(f"{name} {value}" for name, value in mixture.choices.items())
    said = (
        f"{listed(mixture.places)}: another variant ({how}) matches {mixture.whole} of {mixture.chance.cells} cells; "
        f"with it {mixture.row_whole} of the row's {cells} cells match"
    )
    return said + (f"; {decoy_sentence(mixture.chance)}." if mixture.chance.decoys else ".")


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
    verb = "matched by" if audit.explained else "nearest:"
    return f"{verb} {protocols}; {', '.join(how)}: {best.whole} of {len(audit.cells)} cells"


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


def values_by_score(audit: RowAudit) -> list[str]:
    """Order the values of each dimension that changes something, the nearest to the printed numbers first."""
    said = []
    for dimension in audit.dimensions:
        if len({choice.digits for choice in dimension.values}) < 2:
            continue
        values: dict[int, list[str]] = {}
        for choice in dimension.values:
            values.setdefault(choice.digits, []).append(_value(dimension.name, choice.value))
        said.append(f"{dimension.name}: " + "; then ".join(", ".join(values[score]) for score in sorted(values)[::-1]))
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
    return "" if screened.verdict == "ruled out" else screened.kind or screened.reason
