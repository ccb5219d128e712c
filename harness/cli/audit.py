"""Commands `harness audit`, `harness claim` and `harness report findings`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import click

from harness.audit.settings import INPUTS, AuditSettings
from harness.cli.options import (
    Option,
    dataset_option,
    examples,
    format_option,
    row_option,
    table_argument,
    table_option,
)
from harness.cli.printing import echo, echo_json, echo_text
from harness.errors import HarnessError
from harness.tables.published import Table
from harness.tables.workspace import Workspace

_seconds_option = click.option(
    "--seconds",
    "budget",
    cls=Option,
    formerly="--budget",
    type=click.FloatRange(min=0),
    default=180.0,
    show_default=True,
    help="Seconds of slow restoring, per row.",
)


@click.command(
    epilog=examples(
        "harness audit panet-table3 --row ARCNN",
        "harness audit mine --seconds 600 --format json",
        "harness audit panet-table3 --digits --dataset classic5",
    )
)
@table_argument()
@row_option
@dataset_option()
@click.option(
    "--inputs",
    type=click.Choice(INPUTS),
    default="screened",
    show_default=True,
    help="Restored images: of stored inputs only; of others on a few images first; of every one on every image.",
)
@_seconds_option
@click.option("--seeds", type=click.IntRange(1, 100), default=3, show_default=True, help="Noise seeds that are tried.")
@click.option("--top", type=click.IntRange(0, 12), default=5, show_default=True, help="Variants of the ranking shown.")
@click.option("--write", is_flag=True, help="Write what was found beside the row in the table's file.")
@click.option(
    "--digits",
    is_flag=True,
    help="Restore the matched numbers again with other threads, batches and precision: do their digits last? With "
    "--write into docs/digits.md.",
)
@format_option("text", "json")
@click.option("--json", "as_json", is_flag=True, hidden=True, help="Older spelling of --format json.")
def audit(
    name: str,
    rows: tuple[str, ...],
    datasets: tuple[str, ...],
    inputs: str,
    budget: float,
    seeds: int,
    top: int,
    write: bool,
    digits: bool,
    form: str,
    as_json: bool,
) -> None:
    """Find the protocol that makes the published numbers of TABLE, row by row.

    Evaluates the variants of protocol, input and saving for every row whose restored images are available, and ranks
    them by the printed digits that they explain; what counts is the cells that match whole.
    """
    from harness.audit.evidence import write_audits
    from harness.audit.rows import audit_table
    from harness.audit.wording import audit_as_plain, print_audits
    from harness.tables.published import select

    workspace = Workspace.find()
    table = select(workspace.table(name), row=rows, dataset=datasets)
    as_json = as_json or form == "json"  # --json: its older spelling
    if digits:
        _digits(workspace, table, write, as_json)
        return
    if write and datasets:
        raise HarnessError("--write needs the whole row; leave --dataset away")
    settings = AuditSettings(inputs=inputs, budget=budget, seeds=seeds)
    audits = audit_table(workspace, table, settings, _progress(as_json))
    if as_json:
        echo_json([audit_as_plain(found) for found in audits])
    else:
        print_audits(audits, top)
    if write:
        for line in write_audits(workspace, name, audits):
            echo(line, err=as_json)


def _digits(workspace: Workspace, table: Table, write: bool, as_json: bool) -> None:
    from harness.audit.digits import examine
    from harness.tables.lasting import lasting_text, summary, write_digits

    cells, left_out = examine(workspace, table, _progress(as_json))
    if as_json:
        echo_json({"cells": cells, "left_out": left_out})
    else:
        for cell in cells:
            echo_text(f"{cell.row}, {cell.key}, {cell.printed}: {lasting_text(cell)}")
        for row, reason in left_out.items():
            echo_text(f"{row}: not tried: {reason}")
        if not cells:
            raise HarnessError(f"{table.name} has no matched number of a network that was measured here")
        echo_text(summary(cells))
    for path in write_digits(workspace.root, cells) if write else ():
        echo(f"written: {path}", err=as_json)


@click.command(epilog=examples("harness claim 'PANet > RNAN on Urban100 sigma 50'", "harness claim panet-table1"))
@click.argument("claims", nargs=-1, metavar="CLAIM…")
@format_option("text", "json")
@click.option("--page", is_flag=True, help="Settle what the papers' tables claim; write docs/claims.json and .md.")
def claim(claims: tuple[str, ...], form: str, page: bool) -> None:
    """Settle whether one row is better than another, image by image.

    CLAIM is a sentence, the name of a table whose bold marks are meant, or a YAML file of claims and of tables (marks).
    The exit status is 0 if all are supported, 1 if one is not, 2 if one cannot be tested and none failed.
    """
    from harness.audit.settling import exit_status, read_claim, read_claims, settle, settle_marks, settled_text
    from harness.tables.collected import collect
    from harness.tables.measurements import Measurements

    workspace = Workspace.find()
    if page:
        from harness.audit.claims_page import write_page

        for path in write_page(workspace):
            echo(f"written: {path}")
        return
    if not claims:
        raise HarnessError("nothing is claimed; write harness claim 'PANet > RNAN on Urban100 sigma 50'")
    sentences: list[str] = []
    marks: list[str] = []
    for text in claims:
        if Path(text).suffix in (".yaml", ".yml"):
            of_file, of_marks = read_claims(Path(text))
            sentences += of_file
            marks += of_marks
        else:
            (sentences if ">" in text else marks).append(text)
    read = [read_claim(text) for text in sentences]
    measurements = Measurements(workspace.work)
    every = collect(workspace) if read else []
    found = [one for claim in read for one in settle(claim, every, measurements, workspace.root)]
    for item in collect(workspace, marks) if marks else []:
        found += settle_marks(item, measurements, workspace.root)
    if form == "json":
        echo_json(found)
    else:
        echo_text(settled_text(found))
    sys.exit(exit_status(found))


@click.command(epilog=examples("harness report findings --render"))
@click.option("--render", "only_render", is_flag=True, help="Render the pages again, from committed files.")
@click.option("--check", is_flag=True, help="Change nothing; exit status 1 if a page is not what the data say.")
@click.option(
    "--only",
    type=click.Choice(("controls", "hold-out")),
    help="Measure only the controls, or only the cells of held-out sets under the protocols that are fixed.",
)
@click.option(
    "--inputs",
    type=click.Choice(INPUTS),
    default="stored",
    show_default=True,
    help="Restored images of slow methods, as for harness audit.",
)
@_seconds_option
@table_option("Audit the rows of these tables again, and keep the rest as it is.")
@row_option
def findings(
    only_render: bool,
    check: bool,
    only: str | None,
    inputs: str,
    budget: float,
    tables: tuple[str, ...],
    rows: tuple[str, ...],
) -> None:
    """Audit every table of the papers; write docs/findings.json, the pages made of it, and a sheet of LaTeX."""
    from msgspec.structs import replace

    from harness.audit.controls import measure_controls, measure_held_out
    from harness.audit.findings import DATA, check_pages, collect, refresh, write_findings, write_pages
    from harness.audit.outcomes import Findings
    from harness.records.loading import load_json
    from harness.tables.published import select

    if only and tables:
        raise HarnessError("--only measures no rows; leave --table away")
    if rows and not tables:
        raise HarnessError("--row needs --table")
    workspace = Workspace.find()
    if (only or tables or check or only_render) and not (workspace.root / DATA).is_file():
        raise HarnessError(f"{DATA} is not here; run harness report findings first, which makes it")
    if check:
        check_pages(workspace)
        echo("the findings are up to date")
    elif only_render:
        for path in write_pages(workspace):
            echo(f"written: {path}")
    else:
        progress, settings = _progress(False), AuditSettings(inputs=inputs, budget=budget, seeds=2)
        if only:
            known = load_json(workspace.root / DATA, Findings)
            if only == "controls":
                updated = replace(known, controls=measure_controls(workspace, known.controls, progress))
            else:
                cells = measure_held_out(workspace, known.audits, known.held_out, progress)
                updated = replace(known, held_out=cells)
        elif tables:
            updated = load_json(workspace.root / DATA, Findings)
            for table in tables:
                chosen = select(workspace.table(table), row=rows)
                names = [row.name for part in chosen.parts for row in part.rows] if rows else [""]
                for name in dict.fromkeys(names):
                    updated = refresh(workspace, updated, table, name, settings, progress)
        else:
            updated = collect(workspace, settings, progress)
        progress("")
        for path in write_findings(workspace, updated):
            echo(f"written: {path}")


def _progress(quiet: bool) -> Callable[[str], None]:
    """Show a line on a terminal that is replaced; nothing elsewhere."""
    if quiet or not sys.stderr.isatty():
        return lambda text: None

    def show(text: str) -> None:
        sys.stderr.write(f"\r\x1b[2K{text[:100]}")
        sys.stderr.flush()

    return show
