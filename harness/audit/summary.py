"""The opening of the page of findings: what authors and reviewers should know, said from the data alone.

Every sentence is made of what was measured; a finding that the data do not hold is not said.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from harness.audit.outcomes import RowAudit
from harness.audit.wording import listed, mixture_sentence, strength

if TYPE_CHECKING:
    from harness.audit.findings import Findings, OverlapFinding, ParameterFinding, Shift, TableFindings

EQUAL_PARAMETERS = 0.001
"""Relative difference up to which a printed number of parameters (three or four digits) is the counted one."""

FEW_SHARED = 0.25
"""Part of a test set from which on its overlap with a training set is named in the opening."""


def summary(found: Findings, trained: Iterable[OverlapFinding]) -> list[str]:
    """Say the strongest findings in Markdown, one paragraph each.

    Parameters
    ----------
    found : Findings
        The data.
    trained : iterable of OverlapFinding
        The overlaps of test sets with training sets.
    """
    return [
        *_explained(found),
        *_mixed_metrics(found.tables),
        *_mixed_noise(found.tables),
        *_mixed_rows(found.audits),
        *_unsaid_makings(found),
        *_wrong_parameters(found.parameters),
        *_seen_in_training(list(trained)),
    ]


def _explained(found: Findings) -> list[str]:
    audits = found.audits
    if not audits:
        return []
    digits, printed = sum(a.best.digits for a in audits if a.best), sum(a.digits for a in audits)
    whole = [a for a in audits if a.explained]
    strong = [a for a in whole if a.chance is not None and strength(a.chance, True) == "strong"]
    text = (
        f"**Most numbers are reproducible, once the protocol is known.** {digits} of {printed} printed digits of the "
        f"{len(audits)} rows that could be audited are explained, {len(whole)} rows to the last digit; for "
        f"{len(strong)} of these the match is strong evidence, for the others too few cells or variants were tried to "
        "exclude an accident."
    )
    rest = [f"{a.row} ({a.table}, {a.best.digits} of {a.digits})" for a in audits if a.best and not a.explained]
    return [text + (f" Digits stay unexplained in {listed(rest)}." if rest else "")]


def _mixed_rows(audits: Iterable[RowAudit]) -> list[str]:
    """One paragraph on rows whose columns two protocols explain better than one."""
    cases = [
        f"{audit.row} of {audit.table}: {mixture_sentence(audit.mixture, len(audit.cells))}"
        for audit in audits
        if audit.mixture is not None
    ]
    return [f"**Rows that look put together from two sources.** {' '.join(cases)}"] if cases else []


def _mixed_metrics(tables: Iterable[TableFindings]) -> list[str]:
    """One paragraph on all columns that mix protocols; tables that print the same rows share a sentence."""
    groups: dict[tuple[object, ...], list[TableFindings]] = {}
    for table in tables:
        visible = _visible(table.shifts)
        if visible:
            key = tuple(sorted((s.row, s.cell, s.printed, s.own, s.column) for s in visible))
            groups.setdefault(key, []).append(table)
    cases = []
    for members in sorted(groups.values(), key=lambda group: -len(_visible(group[0].shifts))):
        visible = _visible(members[0].shifts)
        for metric in dict.fromkeys(_metric(shift) for shift in visible):
            of_metric = [shift for shift in visible if _metric(shift) == metric]
            cases.append(_mixed_case(members, metric, of_metric))
    return [f"**Columns that mix definitions of a metric.** {' '.join(cases)}"] if cases else []


def _mixed_case(tables: list[TableFindings], metric: str, shifts: list[Shift]) -> str:
    gaps = [shift.under_column - shift.measured for shift in shifts]
    rows = list(dict.fromkeys(shift.row for shift in shifts))
    verb = "prints" if len(rows) == 1 else "print"
    own, column = _names(f"`{s.own}`" for s in shifts), _names(f"`{s.column}`" for s in shifts)
    text = (
        f"{metric.upper()} of {listed(t.table for t in tables)}: {listed(rows)} {verb} {own} in a column of {column}; "
        f"from the one to the other the same images move by {_range(min(gaps, key=abs), max(gaps, key=abs))}"
    )
    changed = [change for change in tables[0].changes if change.split(":")[0].endswith(f"/{metric}")]
    if changed:
        count = len({shift.cell for shift in shifts})
        text += f", and the rows stand in another order in {len(changed)} of {count} columns ({changed[0]})"
    return text + "."


def _visible(shifts: Iterable[Shift]) -> list[Shift]:
    """Shifts that change a printed digit."""
    return [s for s in shifts if abs(s.under_column - s.measured) > 10.0 ** -len(s.printed.partition(".")[2])]


def _metric(shift: Shift) -> str:
    return shift.cell.rpartition("/")[2]


def _names(names: Iterable[str]) -> str:
    return listed(dict.fromkeys(names))


def _range(low: float, high: float) -> str:
    return f"{high:+.4f}" if f"{low:+.4f}" == f"{high:+.4f}" else f"{low:+.4f} to {high:+.4f}"


def _mixed_noise(tables: Iterable[TableFindings]) -> list[str]:
    from harness.degradations import Noise, degradation

    mixed: dict[str, dict[str, None]] = {}
    for table in tables:
        for gray in ("", "rgb2gray", "luma"):
            clipped: list[str] = []
            unclipped: list[str] = []
            for name, rows in table.inputs.items():
                made = degradation(name)
                if isinstance(made, Noise) and made.gray == gray:
                    (unclipped if "float" in name else clipped).extend(rows)
            if clipped and unclipped:
                said = f"{listed(clipped)} on 8-bit noisy images, {_few(unclipped)} on unclipped noise"
                mixed.setdefault(said, {})[table.table] = None
    if not mixed:
        return []
    cases = "; ".join(f"{listed(tables)}: {said}" for said, tables in mixed.items())
    return [
        f"**Two noises in one denoising table.** {cases}. At high noise levels these are different problems, and "
        "differences in dB between the two groups are not differences of the networks alone."
    ]


def _few(rows: list[str]) -> str:
    """Name up to two rows, count more."""
    return listed(rows) if len(rows) < 3 else f"{len(rows)} rows from {rows[0]} to {rows[-1]}"


def _unsaid_makings(found: Findings) -> list[str]:
    """Rows whose match is strong and needs what hardly any paper says: the clipping, the rounding, the window."""
    cases = []
    for audit in found.audits:
        if audit.best is None or audit.chance is None or strength(audit.chance, audit.explained) != "strong":
            continue
        needs = _needs(audit)
        if needs:
            cases.append(f"{audit.row} ({audit.table}) needs {listed(needs)}")
    if not cases:
        return []
    return [
        "**Last digits hang on what papers do not tell.** "
        + "; ".join(cases)
        + ". Every other value that was tried explains fewer digits."
    ]


def _needs(audit: RowAudit) -> list[str]:
    """What is decided by the digits and is not the field's usual way."""
    decided = {d.name: d.admitted[0] for d in audit.dimensions if len(d.admitted) == 1}
    needs = []
    if decided.get("kind of SSIM", "ssim-gauss") != "ssim-gauss":
        needs.append(f"`{decided['kind of SSIM']}`")
    if "input" in decided and ("y8" in decided["input"] or "bayer" in decided["input"]):
        needs.append(f"the input `{decided['input']}`")
    if decided.get("range") == "16..235":
        needs.append("a luma clipped to 16..235")
    if decided.get("saved", "8-bit, rounded") != "8-bit, rounded":
        needs.append(f"images {decided['saved']}")
    return needs


def _wrong_parameters(parameters: Iterable[ParameterFinding]) -> list[str]:
    wrong: dict[tuple[float, int], list[ParameterFinding]] = {}
    for item in parameters:
        printed = printed_parameters(item.printed)
        if abs(item.counted / printed - 1) > EQUAL_PARAMETERS:
            wrong.setdefault((printed, item.counted), []).append(item)
    if not wrong:
        return []
    cases = [
        f"{_names(i.row for i in items)}: printed {items[0].printed}, counted {counted:,} "
        f"({100 * (counted / printed - 1):+.1f} %)"
        for (printed, counted), items in sorted(wrong.items(), key=lambda case: -abs(case[0][1] / case[0][0] - 1))
    ]
    return [f"**Printed sizes are not those of the released code.** {'; '.join(cases)}."]


def printed_parameters(text: str) -> float:
    """Read a printed number of parameters such as ``7,409K``."""
    return float(text.replace(",", "").strip().rstrip("Kk")) * 1000


def _seen_in_training(overlaps: list[OverlapFinding]) -> list[str]:
    large = [o for o in overlaps if o.other_count >= FEW_SHARED * o.other_size]
    if not large:
        return []
    cases = [f"{o.other_count} of {o.other_size} images of {o.other} are in {o.one}" for o in large]
    few = [f"{o.other_count} of {o.other_size} of {o.other}" for o in overlaps if o not in large]
    text = f"**Test images that are training images.** {listed(cases)}"
    return [text + (f"; so are {listed(few)}." if few else ".")]
