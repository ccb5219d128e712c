"""Command `harness export figure`: crops, curves and scatter plots of a table, for a paper."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from harness.cli.options import (
    dataset_option,
    examples,
    level_option,
    listed,
    one_of,
    row_option,
    table_argument,
    task_option,
)
from harness.cli.printing import echo
from harness.errors import HarnessError, unknown_name
from harness.tables.workspace import Workspace

KINDS = ("crops", "curve", "scatter")
COSTS = ("parameters", "operations", "seconds")

# Which kinds an option goes with.
_OF_KIND = {
    "image": ("crops",),
    "crop": ("crops",),
    "zoom": ("crops",),
    "layout": ("crops",),
    "dataset": ("curve", "scatter"),
    "against": ("curve",),
    "x": ("scatter",),
    "level": ("crops", "scatter"),
}


def _width(text: str) -> float:
    """Read `column`, `text`, or a number of inches."""
    from harness.report.figures.files import WIDTHS

    inches = 0.0
    with suppress(ValueError):
        inches = WIDTHS[text] if text in WIDTHS else float(text)
    if not 1 <= inches <= 40:
        raise click.BadParameter(f"'{text}' is not 'column', 'text' or a number of inches from 1 to 40")
    return inches


@click.command(
    epilog=examples(
        "harness export figure panet-table1 --image kodak24/kodim01 --level 50 \\",
        "    --crop 120,80,96x96 --out fig.pdf",
        "harness export figure panet-table1 --kind curve --dataset kodak24",
    )
)
@table_argument()
@click.option("--kind", type=click.Choice(KINDS), default="crops", show_default=True, help="What to draw.")
@click.option("--image", metavar="DATASET/IMAGE", default="", help="Crops: the image.")
@task_option("Only this task, where the table has several.")
@level_option("Sigma, quality or scale, where the table has several.")
@click.option(
    "--crop",
    multiple=True,
    metavar="LEFT,TOP,WIDTHxHEIGHT",
    help="Crops: the part to show (repeat for more, up to 4 of one size); default: where the rows differ most.",
)
@row_option
@listed("metric", help="Whose numbers are shown (crops: several); default: psnr.")
@click.option(
    "--zoom", type=click.IntRange(1, 100), help="Crops: pixels a side that each pixel gets; default: as fits."
)
@click.option("--layout", type=click.Choice(["classic", "row"]), help="Crops: in lines (classic), or all in one line.")
@dataset_option("Curve, scatter: only this dataset.")
@click.option("--against", metavar="ROW", default="", help="Curve: draw the distance to this row.")
@click.option("--x", type=click.Choice(COSTS), help="Scatter: the cost to draw against; default: parameters.")
@click.option(
    "--width",
    type=_width,
    metavar="column|text|INCHES",
    default="text",
    show_default=True,
    help="Width: column (3.3 in), text (6.9 in) or inches.",
)
@click.option("--dpi", type=click.IntRange(50, 2400), default=600, show_default=True, help="Pixels an inch.")
@click.option(
    "--out",
    "output",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="File ending in .pdf, .png, .svg or .tex (with a .pdf beside it); repeat for more. Default: .tex and .pdf in "
    "results/.",
)
def figure(
    name: str,
    kind: str,
    task: str,
    levels: tuple[int, ...],
    rows: tuple[str, ...],
    metrics: tuple[str, ...],
    datasets: tuple[str, ...],
    output: tuple[Path, ...],
    **options: Any,
) -> None:
    """Draw a figure of table NAME for a paper.

    Crops of an image as every measured row restored it, PSNR over the levels (curve), or PSNR against cost (scatter).
    """
    from harness.report.figures.charts import curve_figure, scatter_figure
    from harness.report.figures.crops import crop_figure, parse_crop
    from harness.report.figures.files import check_outputs, chosen_rows, write_figure
    from harness.tables.collected import results_of

    level = one_of(levels, "--level", "figure", None)
    options |= {"dataset": one_of(datasets, "--dataset", "figure"), "level": level}
    for option, kinds in _OF_KIND.items():
        if options[option] and kind not in kinds:
            raise HarnessError(f"--{option} goes with --kind {' or '.join(kinds)}")
    if kind != "crops" and len(metrics) > 1:
        raise HarnessError(f"--kind {kind} shows one --metric")
    check_outputs(output)
    workspace = Workspace.find()
    table = workspace.table(name)
    results = results_of(workspace, table)
    if task:
        if task not in (tasks := {result.request.task for result in results}):
            raise unknown_name(f"task of {name}", task, tasks)
        results = [result for result in results if result.request.task == task]
    chosen = chosen_rows(name, results, ",".join(rows)) if rows else []
    against = chosen_rows(name, results, options["against"]) if options["against"] else []
    if len(against) > 1:
        raise HarnessError(f"--against {options['against']}: name one row")
    width, dpi = options["width"], options["dpi"]
    if kind == "crops":
        made = crop_figure(
            workspace,
            table,
            results,
            image=options["image"],
            level=level,
            rows=chosen,
            metrics=metrics,
            crops=[parse_crop(text) for text in options["crop"]],
            zoom=options["zoom"],
            layout=options["layout"] or "classic",
            width=width,
            dpi=dpi,
        )
    elif kind == "curve":
        made = curve_figure(
            table,
            results,
            dataset=options["dataset"],
            rows=chosen,
            metric=metrics[0] if metrics else "psnr",
            against=against[0] if against else "",
            width=width,
        )
    else:
        made = scatter_figure(
            workspace,
            table,
            results,
            dataset=options["dataset"],
            level=level,
            rows=chosen,
            metric=metrics[0] if metrics else "psnr",
            cost=options["x"] or "parameters",
            width=width,
        )
    written, problems = write_figure(made, output or [workspace.results / f"{made.name}.tex"], dpi)
    for remark in (*made.remarks, *problems):
        echo(remark, err=True)
    for path in written:
        echo(f"written: {path}")
    if not any(path.suffix == ".tex" for path in written):
        echo(f"caption: {made.caption_text}")
