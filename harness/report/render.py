"""Rendering a table's results to Markdown, LaTeX, CSV and JSON, and to the files of the results folder."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from harness.errors import HarnessError, printable
from harness.files import json_numbers, write_json, write_text
from harness.report.grid import (
    GridCell,
    Mark,
    PartGrid,
    choices,
    evidence,
    grids,
    legend,
    marks_text,
    prints_numbers,
    reasons_not_run,
    recorded_text,
    remarks,
    signatures_of,
    spans,
    summary,
    unlike,
)
from harness.tables.collected import place_of, table_results
from harness.tables.comparison import Comparison
from harness.tables.diff import CellResult, as_record
from harness.tables.measurements import Measurement
from harness.tables.ordering import orderings
from harness.tables.paired import SIGNIFICANCE
from harness.tables.published import Table
from harness.tables.workspace import Workspace

CSV_FIELDS = (
    *("table", "row", "dataset", "level", "metric", "printed", "measured", "delta", "verdict", "reason"),
    *("protocol", "degradation", "method", "policy", "origin", "images", "noise", "recorded", "differs"),
)

# Greek letters in the order of Unicode; omicron looks like an o and has no command.
_GREEK = dict(
    zip(
        "αβγδεζηθικλμνξπρςστυφχψω",
        (
            *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"),
            *("nu", "xi", "pi", "rho", "varsigma", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
        ),
        strict=True,
    )
)

_TEX = {
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\\": r"\textbackslash{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "—": "---",
    "−": "$-$",
    "‘": "`",
    "’": "'",
    "“": "``",
    "”": "''",
    "…": r"\ldots{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "≈": r"$\approx$",
    "→": r"$\to$",
    "↓": r"$\downarrow$",
    "·": r"$\cdot$",
    "°": r"$^\circ$",
    "∞": r"$\infty$",
    "†": r"$^{\dagger}$",
    "²": r"$^2$",
    "³": r"$^3$",
    "µ": r"$\mu$",
    "✓": r"$\checkmark$",
    **{letter: rf"$\{name}$" for letter, name in _GREEK.items()},
}

# Letters that pdfLaTeX knows although they are no letter with an accent.
_LATIN = frozenset("ßæœøåłÆŒØÅŁ")

# Letters (5 pt) that fit the width of an article's text (345 pt) and of the gap between columns (12 pt); a wider table
# is scaled down to that width.
WIDEST = 66
_GAP = 2.4

_FENCES = {"best": "**", "second": "*", "": ""}

_TEX_SIGNS = {
    "✓": r"$\checkmark$",
    "≃": r"$\simeq$",
    "◇": r"$\diamond$",
    "≈": r"$\approx$",
    "✗": r"$\times$",
    "∥": r"$\parallel$",
    "◦": r"$\circ$",
    "": "",
}

_DAGGERS = {"not separable": r"$^{\dagger}$", "refused": r"$^{\ddagger}$"}

_DAGGER_MEANINGS = {
    "not separable": rf"$\dagger$ not separable (two-sided sign-flip test, $p > {SIGNIFICANCE}$)",
    "refused": r"$\ddagger$ not comparable (other inputs, protocol or images, or no values by image)",
}


def render(workspace: Workspace, table: Table) -> list[CellResult]:
    """Write results/<table>.md, .csv, .json and .tex, and what DVC shows as metrics; return the results.

    Raises HarnessError: Rows are damaged: what is rendered without them would stand until somebody notices.
    """
    found = table_results(workspace, table)
    if found.damaged_rows:
        raise HarnessError(found.damaged_rows[0])
    for suffix, text in forms(table, found.results).items():
        write_text(workspace.results / f"{table.name}.{suffix}", text)
    metrics: dict[str, dict[str, float]] = {}
    for result in found.results:
        if isinstance(result.measured, Measurement):
            metrics.setdefault(result.request.row, {})[result.request.key] = result.measured.value
    write_json(workspace.results / "metrics" / f"{table.name}.json", metrics)
    return found.results


def forms(table: Table, results: list[CellResult]) -> dict[str, str]:
    """Render in every form, by the ending of its file."""
    return {
        "md": markdown(table, results),
        "tex": latex(table, results),
        "csv": csv_text(results),
        "json": json_text(results),
    }


def markdown(table: Table, results: list[CellResult]) -> str:
    """Render as GitHub Markdown."""
    environment = markdown_environment()
    text = environment.get_template("table.md.j2").render(
        table=table,
        grids=grids(table, results),
        summary=summary(table, results),
        published=prints_numbers(results),
        legend=legend(results),
        signatures=signatures_of(results),
        unlike=unlike(results),
        recorded=recorded_text(results, "are of the run that wrote this file"),
        choices=choices(table, results),
        ordering=[ordering.text for ordering in orderings(table, results)],
        remarks=remarks(results),
        evidence=evidence(results),
        not_run=reasons_not_run(results),
    )
    return few_empty_lines(text)


def latex(table: Table, results: list[CellResult], compared: Sequence[Comparison] = ()) -> str:
    """Render as a LaTeX table (booktabs).

    `compared`: Cells compared with the reference of their column (`harness.tables.comparison.compare_rows`): those that
        are not separable from it get a dagger, those that cannot be compared with it a double one, and the caption says
        so.
    """
    found = {comparison.outcome for comparison in compared}
    references = {comparison.reference.request.row for comparison in compared}
    text = (
        tex_environment()
        .get_template("table.tex.j2")
        .render(
            table=table,
            grids=grids(table, results),
            published=prints_numbers(results),
            legend=legend(results),
            signatures=signatures_of(results),
            unlike=unlike(results),
            daggers={place_of(c.cell.request): _DAGGERS.get(c.outcome, "") for c in compared},
            explained=[outcome for outcome in _DAGGERS if outcome in found],
            compared=bool(found - {"reference"}),
            reference=references.pop() if len(references) == 1 else "the best measured value of its column",
        )
    )
    return few_empty_lines(text)


def csv_text(results: list[CellResult]) -> str:
    """Render one line a cell; measured values with every digit, what a cell was made otherwise in as words."""
    records = []
    for result in results:
        differs = "; ".join(f"{d.kind}: {d.own} ({d.beside}: {d.others})" for d in result.differs)
        records.append(as_record(result) | {"differs": differs})
    return csv_lines(records, CSV_FIELDS)


def csv_lines(records: Iterable[dict[str, Any]], fields: Sequence[str]) -> str:
    """Write some fields of records as CSV, headings first."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(fields)
    writer.writerows([csv_value(record[field]) for field in fields] for record in records)
    return text.getvalue()


def csv_value(value: object) -> object:
    """Give a value for a CSV file: a text that a spreadsheet would take for a formula gets an apostrophe before it.

    Texts of digits (``-0.02``) stay; None is empty.
    """
    if not isinstance(value, str):
        return "" if value is None else value
    try:
        float(value)
    except ValueError:
        return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
    return value


def finalize(value: object) -> object:
    """Show control characters in what a template writes as escapes."""
    return printable(value) if type(value) is str else value


def json_text(results: list[CellResult]) -> str:
    """Render a list of objects, one a cell (`harness.tables.diff.as_record`)."""
    return json_lines(map(as_record, results))


def json_lines(records: Iterable[dict[str, Any]]) -> str:
    """Write records as JSON with every digit."""
    return json.dumps(json_numbers(list(records)), indent=1, ensure_ascii=False) + "\n"


@functools.cache
def markdown_environment() -> Any:
    """Templates of Markdown, with the filters that escape for it."""
    made = _environment()
    made.filters |= {"cell": _markdown_text, "place": _markdown_place, "one_protocol": _markdown_one_protocol}
    made.filters["marks"] = lambda marks: f" <sup>{marks_text(marks)}</sup>" if marks else ""
    return made


@functools.cache
def tex_environment() -> Any:
    """Templates of LaTeX, with the filters that escape for it."""
    made = _environment(
        block_start_string="<%", block_end_string="%>", variable_start_string="<<", variable_end_string=">>"
    )
    made.tests["wide"] = _is_wide
    made.filters |= {
        "tex": _tex_text,
        "spans": marked_spans,
        "marks_tex": lambda marks: rf"\textsuperscript{{{marks_text(marks)}}}" if marks else "",
        # Below every heading that spans several columns.
        "rules": lambda heads, corner: _span_rules(spans(heads), corner),
        "published_tex": lambda place: _gray_tex(_tex_text(place.printed), place.mark),
        "gray_tex": lambda place: _gray_tex(_tex_text(place.printed)),
        "ranked_tex": lambda place: _marked_tex(_tex_text(place.measured), place.mark),
        "span_rules": _span_rules,
        "paper_tex": _paper_tex,
        "sign_tex": _TEX_SIGNS.__getitem__,
        "dagger_tex": _DAGGER_MEANINGS.__getitem__,
        "measured_tex": lambda place, dagger: f"{_tex_text(place.measured)}{dagger} {_TEX_SIGNS[place.sign]}".strip(),
    }
    return made


def _tex_text(text: object) -> str:
    """Write any text so that pdfLaTeX prints it; a sign that it has no glyph for becomes a question mark."""
    return "".join(map(_tex_sign, " ".join(str(text).split())))


def _tex_sign(sign: str) -> str:
    if sign in _TEX:
        return _TEX[sign]
    if " " <= sign <= "~" or sign in _LATIN:
        return sign
    letter, accents = (parts := unicodedata.normalize("NFD", sign))[0], parts[1:]
    # Up to U+017F: the accented letters that LaTeX's own tables hold.
    known = len(accents) == 1 and letter.isascii() and letter.isalpha() and ord(sign) <= 0x17F
    return sign if known else "?"


def _is_wide(grid: PartGrid, more: int = 0) -> bool:
    widths = [max([len(grid.corner[i]), *(len(row.heads[i]) for row in grid.rows)]) for i in range(len(grid.corner))]
    # Words that are raised are about two thirds as wide.
    widths[0] = max([widths[0], *(len(row.heads[0]) + 2 * len(marks_text(row.marks)) // 3 for row in grid.rows)])
    for column in range(len(grid.heads[-1])):
        places = [row.places[column] for row in grid.rows]
        widths.append(
            max([len(grid.heads[-1][column]), *(max(len(p.printed), len(p.measured) + 2 + more) for p in places)])
        )
    return sum(widths) + _GAP * len(widths) > WIDEST


def marked_spans(grid: PartGrid, line: int) -> list[tuple[str, int, tuple[Mark, ...]]]:
    """Join headings as `spans` does, each with its marks; the lowest line has one for each column."""
    heads = grid.heads[line]
    joined = spans(heads) if line < len(grid.heads) - 1 else [(text, 1) for text in heads]
    starts = itertools.accumulate((span for _, span in joined), initial=0)
    return [(text, span, grid.head_marks(line, start)) for (text, span), start in zip(joined, starts, strict=False)]


def _span_rules(heads: Sequence[tuple[str, int]], corner: int) -> str:
    rules, column = [], corner + 1
    for text, span in heads:
        if span > 1 and text:
            rules.append(rf"\cmidrule(lr){{{column}-{column + span - 1}}}")
        column += span
    return "".join(rules)


def _environment(**options: Any) -> Any:
    import jinja2

    # Nothing here is HTML; the filters escape for Markdown and LaTeX.
    return jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        finalize=finalize,
        **options,
    )


def _markdown_text(text: object) -> str:
    """Escape what would break a Markdown table or inject markup."""
    plain = " ".join(str(text).split())
    for sign in ("\\", "|", "<", ">", "*", "_", "[", "]", "`"):
        plain = plain.replace(sign, {"<": "&lt;", ">": "&gt;"}.get(sign, "\\" + sign))
    return plain


def _markdown_place(place: GridCell, lines: bool = True) -> str:
    """Write the published number above the measured one; `lines`: the second alone stays in the second line."""
    fence = _FENCES[place.mark]
    printed = f"{fence}{_markdown_text(place.printed)}{fence}"
    measured = f"{place.measured} {place.sign}".strip()
    if not printed and lines:
        return f"<br>{measured}" if measured else ""
    return "<br>".join(filter(None, (printed, measured)))


def _markdown_one_protocol(place: GridCell) -> str:
    fence = _FENCES[place.mark]
    printed = f"<sub>{_markdown_text(place.printed)}</sub>" if place.printed else ""
    measured = f"{fence}{place.measured}{fence}" if place.measured else ""
    return "<br>".join(filter(None, (printed, measured)))


def _marked_tex(text: str, mark: str) -> str:
    command = {"best": r"\textbf", "second": r"\underline"}.get(mark)
    return f"{command}{{{text}}}" if command and text else text


def _paper_tex(cell: Any, known: bool) -> str:
    """Write a number of `harness.report.paper`; `known`: a dagger beside the row's name stands for all of it."""
    dagger = r"\rlap{$^{\dagger}$}" if cell.published and not known else ""
    return _marked_tex(_tex_text(cell.text), cell.mark) + dagger


def _gray_tex(text: str, mark: str = "") -> str:
    return rf"\textcolor{{gray}}{{{_marked_tex(text, mark)}}}" if text else ""


def few_empty_lines(text: str) -> str:
    """Take trailing blanks and doubled empty lines out."""
    lines: list[str] = []
    for line in text.splitlines():
        line = line.rstrip()
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).rstrip() + "\n"
