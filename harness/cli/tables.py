"""Commands `harness tables`, `harness diff`, `harness table`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.failing import check_results, failing_options
from harness.cli.options import dataset_option, examples, format_option, row_option, table_argument
from harness.cli.printing import echo, echo_json, echo_table, echo_text
from harness.errors import CheckFailedError, HarnessError, plural
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.tables.diff import CellResult
    from harness.tables.published import Table

DIFF_FIELDS = ("row", "dataset", "level", "metric", "published", "measured", "delta", "verdict", "reason")
COMPARED_FIELDS = ("published", "delta")


@click.command(epilog=examples("harness tables", "harness tables --own --format json"))
@format_option("text", "json", "md")
@click.option("--systems", is_flag=True, help="List the systems in the papers' tables instead.")
@click.option("--own", is_flag=True, help="List the project's own tables and yours, too.")
@click.option(
    "--write-counts",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Write the counts over all papers into this Markdown file, between its marks.",
)
@click.option("--check", is_flag=True, help="With --write-counts: only compare; exit status 1 if they differ.")
@click.option("--schema", is_flag=True, help="Print the JSON Schema of table files instead, for editors.")
def tables(form: str, systems: bool, own: bool, file: Path | None, check: bool, schema: bool) -> None:
    """List the published tables: how many numbers they print, how many were measured, what the others take."""
    from harness.report.coverage import counts_block, coverage_text, papers_coverage, write_counts
    from harness.report.grid import recorded_text
    from harness.tables.collected import collect
    from harness.tables.counting import coverage, of_papers
    from harness.tables.measurements import Measurement
    from harness.tables.published import published_tables
    from harness.tables.reach import MEANINGS, REACHES

    if schema:
        from harness.tables.schema import schema_text

        echo(schema_text(), nl=False)
        return
    workspace = Workspace.find(needed=False)
    if file is not None:
        changed = write_counts(file, counts_block(papers_coverage(workspace, here=False)), check=check)
        echo(f"{'written' if changed else 'up to date'}: {file}")
        return
    if check:
        raise HarnessError("--check goes with --write-counts")
    if systems:
        _list_systems(workspace, form)
        return
    known, papers, methods = workspace.tables(), published_tables(), workspace.methods()
    others = [name for name in known if name not in papers]
    records: list[dict[str, Any]] = []
    collected = collect(workspace, known if own else papers)
    for item in collected:
        found, table = coverage([item], methods), item.table
        places = found.all.places
        records.append(
            {
                "table": table.name,
                "paper": table.paper,
                "title": table.title,
                "kind": table.kind,
                "published": table.name in papers,
                "rows": sum(len(part.rows) for part in table.parts),
                "cells": table.cell_count(),
                "numbers": found.all.all_places,
                "match": places["match"],
                # Of a table that is no paper's what counts are its own rows, too.
                "measured": found.all.all_places - places["not run"]
                if table.name in papers
                else sum(isinstance(result.measured, Measurement) for result in item.results),
            }
            | {reach: counts.places["not run"] for reach, counts in found.by_reach.items()}
        )
    if form == "json":
        echo_json(records)
        return
    shown = ("table", "title", "numbers", "match", "measured", *REACHES)
    # Columns about printed numbers stay empty where there are none.
    lines = [
        [record[key] if record["numbers"] or key in ("table", "title", "measured") else "" for key in shown]
        for record in records
    ]
    echo_table(lines, shown, form)
    echo()
    echo_text("Not run, by what it takes: " + "; ".join(f"{name} = {MEANINGS[name]}" for name in REACHES) + ".")
    echo_text(coverage_text(coverage(of_papers(collected), methods)))
    if text := recorded_text([r for item in collected for r in item.results if r.request.printed is not None]):
        echo_text(text)
    if not any((workspace.results / f"{name}.json").is_file() for name in papers):
        echo_text(
            "What the project recorded is in its repository and not in the package: numbers are those of this folder."
        )
    if not own and others:
        others_text = f"And {plural(len(others), 'table')} of the project and of yours (--own lists them)"
        echo_text(f"{others_text}: {', '.join(others)}")


def _list_systems(workspace: Workspace, form: str) -> None:
    from harness.tables.collected import collect
    from harness.tables.published import published_tables
    from harness.tables.reach import REACHES
    from harness.tables.systems import markdown, systems

    # What results/ recorded: the same on every machine.
    found = systems(collect(workspace, published_tables(), here=False), workspace.methods())
    if form == "md":
        echo(markdown(found), nl=False)
    elif form == "json":
        echo_json(found)
    else:
        heads = ("system", "methods", "measured", "numbers", *REACHES)
        lines = [
            [s.name, ", ".join(s.methods), s.measured, s.numbers, *(s.open[reach] for reach in REACHES)] for s in found
        ]
        echo_table(lines, heads)


@click.command(
    epilog=examples("harness diff panet-table3 --dataset live1", "harness diff panet-table3 --strict --junit cells.xml")
)
@table_argument()
@row_option
@dataset_option()
@format_option("text", "json", "csv", "md", "tex")
@click.option("--all", "everything", is_flag=True, help="In text form, list cells that were not run too.")
@click.option("--why", is_flag=True, help="Show reasons whole; on a terminal they are folded to a line.")
@click.option(
    "--against",
    metavar="ROW",
    default="",
    help="Compare the measured rows with this one instead, image by image: difference, 95 % interval, p. 'best': with "
    "the best of each column. With --format tex the table marks what is not separable.",
)
@failing_options("off")
def diff(
    name: str,
    rows: tuple[str, ...],
    datasets: tuple[str, ...],
    form: str,
    everything: bool,
    why: bool,
    against: str,
    fail_on: tuple[str, ...],
    strict: bool,
    junit: Path | None,
) -> None:
    """Compare TABLE with what was measured.

    The exit status is 1 if a printed number is `off`, or if nothing could be compared. With --against, which compares
    measured rows with each other, it is 1 only with --strict, and only if nothing could be compared.
    """
    from harness.report.columns import folded
    from harness.report.grid import (
        off_advice,
        prints_numbers,
        reasons_not_run,
        recorded_text,
        signatures_of,
        summary,
        unlike,
    )
    from harness.tables.collected import results_of
    from harness.tables.diff import as_record, measured_text
    from harness.tables.ordering import orderings
    from harness.tables.published import select

    workspace = Workspace.find()
    table = select(workspace.table(name), row=rows, dataset=datasets)
    if against:
        if junit is not None:
            raise HarnessError("--junit tells of printed numbers, --against compares measured ones; leave one out")
        _diff_rows(workspace, select(workspace.table(name), dataset=datasets), against, table, bool(rows), form, strict)
        return
    results = results_of(workspace, table)
    if form != "text":
        echo(_written(table, results, form), nl=False)
    else:
        lines = []
        # Columns may differ in the method alone, as the hash rounds of KiT's Table 4 do.
        places = Counter(_place(result) for result in results)
        for result in results:
            if result.verdict == "not run" and not everything:
                continue
            record = as_record(result)
            delta = record["delta"]
            lines.append(
                [
                    record["row"] if places[_place(result)] == 1 else f"{record['row']} ({record['method']})",
                    record["dataset"],
                    record["level"],
                    record["metric"],
                    record["printed"],
                    measured_text(result),
                    "" if delta is None else f"{delta:+.4f}",
                    record["verdict"],
                    record["reason"],
                ]
            )
        if lines:
            # Rows of one's own have nothing to be compared with.
            fields = [i for i, name in enumerate(DIFF_FIELDS) if prints_numbers(results) or name not in COMPARED_FIELDS]
            cut = [[line[i] for i in fields] for line in lines]
            heads = [DIFF_FIELDS[i] for i in fields]
            echo_table(cut, heads)
        if signed := signatures_of(results):
            echo_text(f"measured as {', '.join(signed)}")
        for note in unlike(results):
            echo_text(f"not alike: {', '.join(note.rows)}: {note.text}")
        for ordering in orderings(table, results):
            echo_text(f"ordering: {ordering.text}")
        short = False
        for reason in reasons_not_run(results):
            text = f"not run: {', '.join(reason.rows)} ({plural(reason.cells, 'cell')}): {reason.reason}"
            echo_text(text if why else folded(text))
            short |= not why and folded(text) != text
        if short:
            echo_text("(--why shows the reasons whole)")
        echo_text(summary(table, results))
        if recorded := recorded_text(results):
            echo_text(recorded)
        if advice := off_advice(table, results):
            echo_text(advice)
    check_results({name: results}, fail_on, strict, junit)


def _written(table: Table, results: list[CellResult], form: str) -> str:
    """Write a table's results in a form that is not for the terminal."""
    from harness.report.render import csv_text, json_text, latex, markdown

    if form == "json":
        return json_text(results)
    if form == "csv":
        return csv_text(results)
    return markdown(table, results) if form == "md" else latex(table, results)


def _diff_rows(
    workspace: Workspace, table: Table, against: str, chosen: Table, some: bool, form: str, strict: bool
) -> None:
    """Compare the measured rows of a table, or `some` that were chosen, with one of them."""
    from harness.report.comparisons import FIELDS, comparisons_text
    from harness.report.render import csv_lines, json_lines, latex
    from harness.tables.collected import results_of
    from harness.tables.comparison import as_record, compare_rows
    from harness.tables.measurements import Measurements

    results = results_of(workspace, table)
    compared = compare_rows(table, results, Measurements(workspace.work), against)
    if form == "tex":
        if some:
            raise HarnessError("--row and --against cannot make a LaTeX table together: it marks every row")
        echo(latex(table, results, compared), nl=False)
    names = {row.name for part in chosen.parts for row in part.rows}
    shown = [
        comparison
        for comparison in compared
        if comparison.outcome != "reference" and comparison.cell.request.row in names
    ]
    if form == "json":
        echo(json_lines(map(as_record, shown)), nl=False)
    elif form == "csv":
        echo(csv_lines(map(as_record, shown), FIELDS), nl=False)
    elif form != "tex":
        echo(comparisons_text(shown, "github" if form == "md" else "simple"), nl=False)
    if strict and all(comparison.difference is None for comparison in shown):
        why = next((comparison.refused for comparison in shown), "no other row was measured")
        raise CheckFailedError(f"nothing of {table.name} could be compared with '{against}': {why}")


def _place(result: CellResult) -> tuple[int, int, str, int, str]:
    """Where a cell stands, as far as a row, a dataset, a level and a metric tell."""
    asked = result.request
    return asked.part, asked.line, asked.dataset, asked.level, asked.metric


@click.command(epilog=examples("harness table panet-table3", "harness table panet-table3 --style paper"))
@table_argument()
@row_option
@dataset_option()
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into this file; the text is printed, too."
)
@click.option("--why", is_flag=True, help="Show reasons whole; on a terminal they are folded to a line.")
@click.option(
    "--one-protocol",
    "wanted",
    default="",
    help="Measure every row in the same way: 'column' (as the table states), or a protocol such as psnr,ssim-8x8.",
)
@format_option(
    "text", "json", "csv", "md", "tex", default=None, help="Form of the output: text; with --style paper, tex."
)
@click.option(
    "--style",
    type=click.Choice(["reproduction", "paper"]),
    default="reproduction",
    help="'paper': a table for your own paper, one number a cell: measured where it was, else as published.",
)
@click.option("--columns", default="", help="With --style paper: add parameters, seconds or 'parameters,seconds'.")
@click.option(
    "--write",
    is_flag=True,
    help="With --one-protocol: write results/NAME--PROTOCOL.md, .tex, .csv, .json. With --style paper: "
    "results/NAME--paper.tex, .md.",
)
def table(
    name: str,
    rows: tuple[str, ...],
    datasets: tuple[str, ...],
    svg: Path | None,
    why: bool,
    wanted: str,
    form: str | None,
    style: str,
    columns: str,
    write: bool,
) -> None:
    """Print TABLE: published numbers, measured numbers, verdicts."""
    from harness.files import write_text
    from harness.report.terminal import print_table, table_svg
    from harness.tables.collected import results_of
    from harness.tables.published import select

    workspace = Workspace.find()
    chosen = select(workspace.table(name), row=rows, dataset=datasets)
    if style == "paper":
        if wanted or svg:
            raise HarnessError("--style paper goes with --columns, --row, --dataset, --format and --write alone")
        _paper(workspace, chosen, columns, form or "tex", write)
        return
    if columns:
        raise HarnessError("--columns goes with --style paper")
    if wanted:
        _one_protocol(workspace, chosen, wanted, form or "text", write)
        return
    if write:
        raise HarnessError("--write goes with --one-protocol or --style paper; `harness repro` writes results/")
    results = results_of(workspace, chosen)
    if svg is not None:
        write_text(svg, table_svg(chosen, results))
        echo(f"written: {svg}", err=True)
    if form in (None, "text"):
        print_table(chosen, results, why=why)
    else:
        echo(_written(chosen, results, form), nl=False)


def _paper(workspace: Workspace, table: Table, columns: str, form: str, write: bool) -> None:
    """Print, or write, a table for a paper."""
    from harness.files import write_text
    from harness.report.paper import FORMS, forms, paper_tables
    from harness.tables.collected import results_of

    if form not in FORMS:
        raise HarnessError(f"--style paper has the forms {', '.join(FORMS)}; `harness diff` has {form}")
    extra = [name.strip() for name in columns.split(",") if name.strip()]
    texts = forms(paper_tables(workspace, table, results_of(workspace, table), extra))
    if not write:
        echo(texts[form], nl=False)
        return
    for suffix in ("tex", "md"):
        path = workspace.results / f"{table.name}--paper.{suffix}"
        write_text(path, texts[suffix])
        echo(f"written: {path}")


def _one_protocol(workspace: Workspace, table: Table, wanted: str, form: str, write: bool) -> None:
    """Print, or write, a table under one protocol."""
    from harness.files import write_text
    from harness.report.one_protocol import forms
    from harness.report.terminal import print_one_protocol
    from harness.tables.one_protocol import one_protocol

    cells = one_protocol(workspace, table, wanted)
    if form == "text" and not write:
        print_one_protocol(table, cells)
        return
    texts = forms(table, cells)
    if write:
        base = workspace.results / f"{table.name}--{wanted.replace(',', '--')}"
        for suffix, text in texts.items():
            write_text(base.with_name(f"{base.name}.{suffix}"), text)
            echo(f"written: {base}.{suffix}")
    else:
        echo(texts[form], nl=False)
