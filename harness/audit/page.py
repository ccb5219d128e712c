"""The page of findings: what was found, rendered for researchers, what they should know first.

Every sentence is made of what was measured; a finding that the data do not hold is not said. Rendering restores and
measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from harness.assets.datasets.registry import dataset
from harness.audit.findings import (
    DATA,
    TRAINED_ON,
    Committed,
    Findings,
    OverlapFinding,
    ParameterFinding,
    Shift,
    TableFindings,
    read_committed,
)
from harness.audit.outcomes import Results, RowAudit, counted_cells, distinct_cells, recounted
from harness.audit.overlap import CORRELATION
from harness.audit.wording import (
    STRONG,
    SUGGESTIVE,
    chance_sentence,
    headline,
    listed,
    mixture_sentence,
    percent,
    screened_sentences,
    strength,
    values_by_score,
)
from harness.degradations import Noise, degradation
from harness.errors import CheckFailedError, HarnessError
from harness.files import write_json, write_text
from harness.records.loading import load_json
from harness.report.render import few_empty_lines
from harness.tables.published import published_tables
from harness.tables.workspace import Workspace

PAGE = Path("docs") / "findings.md"

EQUAL_PARAMETERS = 0.001
"""Relative difference up to which a printed number of parameters (three or four digits) is the counted one."""

FEW_SHARED = 0.25
"""Part of a test set from which on its overlap with a training set is named in the opening."""


def summary(findings: Findings, committed: Committed) -> list[str]:
    """Say the strongest findings in Markdown, one paragraph each.

    The cells of the findings are counted as `harness.audit.outcomes.recounted` does.
    """
    paragraphs = {
        "Numbers that match": _matches(findings.audits, committed.results),
        "Columns that mix definitions of a metric": _mixed_metrics(committed.tables),
        "Two noises in one denoising table": _mixed_noise(committed.tables),
        "Rows of which another variant matches some columns better": _mixed_rows(findings.audits),
        "Strong matches that depend on how the input was made": _particular_makings(findings.audits),
        "Printed sizes that no count made here gives": _other_parameters(committed.parameters),
        "Test images that are training images": _seen_in_training(findings.overlaps),
    }
    return [f"**{title}.** {text}" for title, text in paragraphs.items() if text]


def _matches(audits: tuple[RowAudit, ...], results: Results) -> str:
    if not audits:
        return ""
    matched, measured = distinct_cells(audits, results)
    whole = [a for a in audits if a.explained]
    strengths = [strength(audit) for audit in whole]
    words = [f"{strengths.count(word)} {word}" for word in ("strong", "suggestive", "weak") if word in strengths]
    evidence = f"; as evidence for the protocol that is {listed(words)}" if words else ""
    text = (
        f"Of the {measured} different printed numbers of the {len(audits)} rows that could be "
        f"audited, {matched} match in every printed digit under the best variant found for the row. {len(whole)} of "
        f"the rows match whole{evidence}."
    )
    rest = []
    for audit in audits:
        if not audit.explained:
            cells = counted_cells(audit, results)
            rest.append(f"{audit.row} ({audit.table}, {sum(c.matches for c in cells)} of {len(cells)})")
    return text + (f" Some cells do not match in {listed(rest)}." if rest else "")


def _mixed_rows(audits: Iterable[RowAudit]) -> str:
    return " ".join(
        f"{audit.row} of {audit.table}: {mixture_sentence(audit.mixture, len(audit.cells))}"
        for audit in audits
        if audit.mixture is not None
    )


def _mixed_metrics(tables: Iterable[TableFindings]) -> str:
    """Columns that mix protocols; tables that print the same rows share a sentence."""
    groups: dict[tuple[object, ...], list[TableFindings]] = {}
    for table in tables:
        visible = visible_shifts(table.shifts)
        if visible:
            key = tuple(sorted((s.row, s.cell, s.printed, s.own, s.column) for s in visible))
            groups.setdefault(key, []).append(table)
    cases = []
    for members in sorted(groups.values(), key=lambda group: -len(visible_shifts(group[0].shifts))):
        visible = visible_shifts(members[0].shifts)
        for metric in dict.fromkeys(_metric(shift) for shift in visible):
            of_metric = [shift for shift in visible if _metric(shift) == metric]
            cases.append(_mixed_case(members, metric, of_metric))
    return " ".join(cases)


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


def visible_shifts(shifts: Iterable[Shift]) -> list[Shift]:
    """Keep the shifts that change a printed digit."""

    def at_print(value: float, shift: Shift) -> str:
        return f"{value:.{len(shift.printed.partition('.')[2])}f}"

    return [s for s in shifts if at_print(s.measured, s) != at_print(s.under_column, s)]


def comparison_sentence(table: TableFindings, metric: str) -> str:
    """Say whether the protocols that share a column give different printed digits on the same images."""
    shifts = [shift for shift in table.shifts if _metric(shift) == metric]
    changed = len(visible_shifts(shifts))
    if not shifts:
        return "By how much they differ is not measured."
    both = f"the {len(shifts)} cells that were measured under their own protocol and the column's"
    if not changed:
        return f"In none of {both} does a printed digit change."
    return f"In {changed} of {both} a printed digit changes: these values are not comparable."


def _metric(shift: Shift) -> str:
    return shift.cell.rpartition("/")[2]


def _names(names: Iterable[str]) -> str:
    return listed(dict.fromkeys(names))


def _range(low: float, high: float) -> str:
    return f"{high:+.4f}" if f"{low:+.4f}" == f"{high:+.4f}" else f"{low:+.4f} to {high:+.4f}"


def _mixed_noise(tables: Iterable[TableFindings]) -> str:
    mixed: dict[str, dict[str, None]] = {}
    for table in tables:
        for gray in ("", "rgb2gray", "luma"):
            clipped: list[str] = []
            unclipped: list[str] = []
            for name, rows in table.inputs.items():
                noise = degradation(name)
                if isinstance(noise, Noise) and noise.gray == gray:
                    (unclipped if "float" in name else clipped).extend(rows)
            if clipped and unclipped:
                count, first, last = len(unclipped), unclipped[0], unclipped[-1]
                rows_named = listed(unclipped) if count < 3 else f"{count} rows from {first} to {last}"
                said = f"{listed(clipped)} on 8-bit noisy images, {rows_named} on unclipped noise"
                said += " (as measured, or by lineage where nothing was)"
                mixed.setdefault(said, {})[table.table] = None
    return "; ".join(f"{listed(names)}: {said}" for said, names in mixed.items()) + "." if mixed else ""


def _particular_makings(audits: Iterable[RowAudit]) -> str:
    """Rows whose match is strong and needs another clipping, rounding, window or input than the usual one."""
    cases = [
        f"{audit.row} ({audit.table}) needs {listed(needs)}"
        for audit in audits
        if audit.best is not None and strength(audit) == "strong" and (needs := _needs(audit))
    ]
    return f"{'; '.join(cases)}. Every other value tried loses matches." if cases else ""


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


def _other_parameters(parameters: Iterable[ParameterFinding]) -> str:
    wrong: dict[tuple[float, int], list[ParameterFinding]] = {}
    for item in parameters:
        printed = printed_parameters(item.printed)
        if abs(item.counted / printed - 1) > EQUAL_PARAMETERS:
            wrong.setdefault((printed, item.counted), []).append(item)
    cases = [
        f"{_names(i.row for i in items)}: printed {items[0].printed}, counted {counted:,} "
        f"({100 * (counted / printed - 1):+.1f} %)"
        for (printed, counted), items in sorted(wrong.items(), key=lambda case: -abs(case[0][1] / case[0][0] - 1))
    ]
    return f"{'; '.join(cases)}." if cases else ""


def printed_parameters(text: str) -> float:
    """Read a printed number of parameters such as ``7,409K``."""
    return float(text.replace(",", "").strip().rstrip("Kk")) * 1000


def _seen_in_training(overlaps: Iterable[OverlapFinding]) -> str:
    trained = [o for o in overlaps if o.one in TRAINED_ON]
    large = [o for o in trained if o.other_count >= FEW_SHARED * o.other_size]
    if not large:
        return ""
    cases = [f"{o.other_count} of {o.other_size} images of {o.other} are in {o.one}" for o in large]
    few = [f"{o.other_count} of {o.other_size} of {o.other}" for o in trained if o not in large]
    return listed(cases) + (f"; so are {listed(few)}." if few else ".")


def render_page(findings: Findings, committed: Committed) -> str:
    """Render the page from the stored evidence and what the files of the repository say."""
    import jinja2

    results = committed.results
    audits = tuple(recounted(audit, results) for audit in findings.audits)
    findings = msgspec.structs.replace(findings, audits=audits)

    def title(name: str) -> str:
        try:
            return dataset(name).title
        except HarnessError:
            return name

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.audit"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
    )
    environment.filters |= {
        "plain": _plain,
        "title": title,
        "percent": percent,
        "headline": headline,
        "values_by_score": values_by_score,
        "screened_sentences": screened_sentences,
        "summary": lambda name: degradation(name).summary,
        "strength": strength,
        "mixture": lambda audit: mixture_sentence(audit.mixture, len(audit.cells)),
        "sentence": chance_sentence,
        "counted": lambda audit: counted_cells(audit, results),
        "comparison": comparison_sentence,
    }
    papers = {
        paper: [a for a in audits if a.table.startswith(f"{paper}-")]
        for paper in dict.fromkeys(t.paper for t in published_tables().values())
    }
    trained = [overlap for overlap in findings.overlaps if overlap.one in TRAINED_ON]
    text = environment.get_template("findings.md.j2").render(
        found=findings,
        committed=committed,
        summary=summary(findings, committed),
        papers=papers,
        misses=[(a, c) for a in audits for c in counted_cells(a, results) if not c.matches],
        trained=trained,
        tested=[overlap for overlap in findings.overlaps if overlap not in trained],
        here={name: size for name, size in findings.sets.items() if size},
        missing=[name for name, size in findings.sets.items() if not size],
        limits={"strong": STRONG, "suggestive": SUGGESTIVE, "correlation": CORRELATION},
    )
    return few_empty_lines(text)


def _plain(text: object) -> str:
    """Escape what would break a Markdown table."""
    return " ".join(str(text).split()).replace("|", r"\|").replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_")


def write_findings(workspace: Workspace, findings: Findings) -> list[Path]:
    """Write the data and the page; return the paths."""
    data = workspace.root / DATA
    write_json(data, findings)
    return [data, write_page(workspace)]


def _rendered(workspace: Workspace) -> str:
    # The evidence as a reader gets it: JSON keeps its keys sorted.
    return render_page(load_json(workspace.root / DATA, Findings), read_committed(workspace))


def write_page(workspace: Workspace) -> Path:
    """Render the page from the stored evidence and the committed files; return its path."""
    page = workspace.root / PAGE
    write_text(page, _rendered(workspace))
    return page


def check_page(workspace: Workspace) -> None:
    """Check that the page is the rendering of the stored evidence and the committed files.

    Raises
    ------
    CheckFailedError
        It is not, or there is none.
    """
    page, text = workspace.root / PAGE, _rendered(workspace)
    if not page.is_file() or page.read_text(encoding="utf-8") != text:
        raise CheckFailedError(
            f"{page} is not what {DATA}, results/*.json and the published tables say; run harness findings --render"
        )
