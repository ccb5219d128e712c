"""Commands `harness report`, `report badge`, `report attention-maps`."""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from harness.cli.groups import Index, LazyGroup
from harness.cli.options import (
    Option,
    argument,
    complete_tables,
    examples,
    format_option,
    level_option,
    method_argument,
    one_of,
    table_option,
    task_option,
)
from harness.cli.printing import echo, echo_json, echo_table
from harness.errors import HarnessError
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.tables.collected import TableResults


class _Report(LazyGroup):
    index: ClassVar[Index] = {
        "badge": ("harness.cli.report:badge", "Say in one line how much of a table is reproduced."),
        "findings": ("harness.cli.audit:findings", "Audit every table of the papers; write the findings."),
        "curves": ("harness.cli.training:curves", "Plot loss and PSNR of what was trained."),
        "attention-maps": ("harness.cli.report:attention_maps", "Show what a network's attention compares."),
    }


@click.group(
    cls=_Report,
    invoke_without_command=True,
    epilog=examples("harness report", "harness report --summary --format md", "harness report --compare HEAD~1 ."),
)
@table_option()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the site (default results/site); with --compare, an HTML file.",
)
@click.option(
    "--megabytes",
    "budget",
    cls=Option,
    formerly="--budget",
    type=float,
    help="Megabytes of pictures on compare pages; default: 7, or less where the site would exceed 20.",
)
@click.option("--all-images", is_flag=True, help="Show every image of every scene whole; may become gigabytes.")
@click.option("--serve", is_flag=True, help="Then show the site at an address of this machine, until Ctrl+C.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="Of --serve; 0: a free one."
)
@click.option("--summary", is_flag=True, help="Write nothing; print how much of each table is reproduced.")
@click.option(
    "--compare",
    nargs=2,
    metavar="RUN_A RUN_B",
    help="Show what changed between two runs: git revisions, or folders with results.",
)
@format_option("text", "json", "md", help="Form of what --summary and --compare print.")
@click.pass_context
def report(
    context: click.Context,
    tables: tuple[str, ...],
    out: Path | None,
    budget: float | None,
    all_images: bool,
    serve: bool,
    port: int,
    summary: bool,
    compare: tuple[str, str] | None,
    form: str,
) -> None:
    """Write a site of every table, cell and image to results/site; or compare two runs.

    Open results/site/index.html; it needs no server and no network.
    """
    if context.invoked_subcommand is not None:
        return
    if serve and (summary or compare):
        raise HarnessError("--serve shows the site, --summary and --compare write none; leave one of them out")
    workspace = Workspace.find()
    if compare:
        from harness.report.changes import changes_json, changes_text, compare_runs, write_page

        changes = compare_runs(workspace, compare[0], compare[1], tables)
        if out is not None:
            write_page(changes, out)
            echo(f"written: {out}", err=True)
        if form == "json":
            echo(changes_json(changes), nl=False)
        else:
            echo(changes_text(changes, "github" if form == "md" else "simple"), nl=False)
        return
    if summary:
        from harness.report.terminal import coverage_records, print_coverage
        from harness.tables.collected import collect

        found = collect(workspace, tables)
        if form == "text":
            print_coverage(found)
        else:
            records = coverage_records(found)
            if form == "json":
                echo_json(records)
            else:
                echo_table([list(record.values()) for record in records], list(records[0]) if records else [], form)
        _tell(found)
        return
    if form != "text":
        raise HarnessError("--format goes with --summary or --compare")
    from harness.report.site import build_site

    if budget is not None and budget < 0:
        raise HarnessError(f"--megabytes {budget:g}: they cannot be negative")
    target = out or workspace.results / "site"
    made = build_site(
        workspace,
        target,
        names=tables,
        budget=None if budget is None else int(budget * 1e6),
        all_images=all_images,
        progress=lambda text: echo(f"  {text}", err=True) if sys.stderr.isatty() else None,
    )
    for note in made.notes:
        echo(f"note: {note}", err=True)
    echo(
        f"{target / 'index.html'}: {made.pages} pages, {made.bytes / 1e6:.1f} MB; {made.images_shown} images of "
        f"{made.scenes_shown} scenes"
        + (f", {made.images_left_out} more with --all-images" if made.images_left_out else "")
    )
    if serve:
        from harness.report.site.serving import server

        with server(target, port) as serving:
            echo(f"http://localhost:{serving.server_port}/ (Ctrl+C ends)")
            with contextlib.suppress(KeyboardInterrupt):
                serving.serve_forever()


@click.command(epilog=examples("harness report badge panet-table3 --svg badge.svg"))
@argument("name", "[TABLE]", complete_tables, required=False, default="")
@click.option(
    "--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw it into this file; the text is printed, too."
)
@format_option("text", "json")
def badge(name: str, svg: Path | None, form: str) -> None:
    """Say in one line how much of TABLE (default: of every published table) is reproduced."""
    from harness.files import write_text
    from harness.report.badge import badge_svg, badge_text
    from harness.tables.collected import collect
    from harness.tables.published import published_tables

    workspace = Workspace.find()
    found = collect(workspace, [name] if name else list(published_tables()))
    text = badge_text(name or "published tables", found)
    if svg is not None:
        write_text(svg, badge_svg(name or "published tables", found))
    if form == "json":
        from harness.tables.counting import count_tables

        counts = count_tables(found)
        echo_json({"text": text, "numbers": counts.numbers, **counts.distinct})
    else:
        echo(text)
    _tell(found)


def _tell(found: Sequence[TableResults]) -> None:
    """Say on the error stream which numbers were not measured here, and what could not be read."""
    from harness.report.grid import recorded_text

    if text := recorded_text([result for item in found for result in item.results]):
        echo(text, err=True)
    for text in dict.fromkeys(text for item in found for text in item.damaged):
        echo(f"note: {text}", err=True)


def _pixel(text: str) -> tuple[int, ...]:
    """Read row and column."""
    if not re.fullmatch(r" *\d+ *, *\d+ *", text):
        raise click.BadParameter(f"'{text}' is not ROW,COLUMN")
    return tuple(map(int, text.split(",")))


def _region(text: str) -> tuple[int, ...]:
    """Read a part of an image, as `export figure --crop` takes it, or in an older form: top, left, height, width."""
    if found := re.fullmatch(r"(\d+),(\d+),(\d+)x(\d+)", text.replace(" ", "")):
        left, top, width, height = map(int, found.groups())
        return top, left, height, width
    if re.fullmatch(r"\d+(, *\d+){3}", text):
        return tuple(map(int, text.split(",")))
    raise click.BadParameter(f"'{text}' is not LEFT,TOP,WIDTHxHEIGHT")


@click.command(
    "attention-maps",
    epilog=examples(
        "harness report attention-maps panet kodak24/kodim08 --level 50 \\",
        "    --at 240,300 --region 250,200,96x96",
    ),
)
@method_argument("method")
@click.argument("image")
@click.option("--at", type=_pixel, metavar="ROW,COLUMN", multiple=True, help="A query pixel as ROW,COLUMN (repeat).")
@task_option("Task of the network; default: the method's first.")
@level_option("Sigma, quality or scale; default: the task's first.")
@click.option("--attention", type=int, default=0, show_default=True, help="Which attention, in the network's order.")
@click.option(
    "--region",
    "crop",
    cls=Option,
    formerly="--crop",
    type=_region,
    metavar="LEFT,TOP,WIDTHxHEIGHT",
    help="Let the network see only this part.",
)
@click.option("--generated-weights", is_flag=True, help="Random weights: a demonstration, marked as one.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default: one below work/attention.")
def attention_maps(
    method: str,
    image: str,
    at: tuple[tuple[int, int], ...],
    task: str,
    levels: tuple[int, ...],
    attention: int,
    crop: tuple[int, int, int, int] | None,
    generated_weights: bool,
    out: Path | None,
) -> None:
    """Show what METHOD's attention compares in IMAGE for chosen pixels, as arrays (npz) and pictures (PNG).

    IMAGE is a file, or DATASET/IMAGE, which is degraded as the task says. The site shows what lies in work/attention.
    """
    from harness.records.in_use import loading_from
    from harness.report.attention import make_attention_maps

    workspace = Workspace.find()
    with loading_from(workspace.root):
        folder = make_attention_maps(
            workspace,
            workspace.method(method),
            image,
            at,
            task_name=task,
            level=one_of(levels, "--level", "attention-maps", None),
            index=attention,
            crop=crop,
            generated=generated_weights,
            target=out,
        )
    echo(f"written: {folder}")
