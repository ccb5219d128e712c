"""Commands `harness repro`, `pipeline`, `pipeline revalidate`, `stage code`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import click

from harness.cli.groups import Index, LazyGroup
from harness.cli.options import check_results, dataset_option, examples, failing_options, row_option, tables_argument
from harness.cli.printing import echo
from harness.errors import CheckFailedError, HarnessError
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.tables.diff import CellResult


class _Pipeline(LazyGroup):
    index: ClassVar[Index] = {
        "revalidate": ("harness.cli.pipeline:revalidate", "Keep results whose code changed, if a sample is equal."),
    }


@click.group(
    cls=_Pipeline, invoke_without_command=True, epilog=examples("harness pipeline", "harness pipeline --check")
)
@click.option("--check", is_flag=True, help="Change nothing; exit status 1 if a file is out of date.")
@click.pass_context
def pipeline(context: click.Context, check: bool) -> None:
    """Write the dvc.yaml files of every table (after a table, method or import has changed)."""
    if context.invoked_subcommand is not None:
        return
    from harness.run.pipeline import write_stage_files

    changed = write_stage_files(Workspace.find(), check=check)
    for path in changed:
        echo(f"{'out of date' if check else 'written'}: {path}")
    if not changed:
        echo("every dvc.yaml is up to date")
    elif check:
        raise CheckFailedError("run harness pipeline")


@click.command()
def code() -> None:
    """Write the fingerprint of the code behind every kind of stage to work/code."""
    from harness.run.sources import write_fingerprints

    write_fingerprints(Workspace.find())


@click.command(epilog=examples("harness pipeline revalidate panet-table3"))
@tables_argument()
@click.option("--sample", default=2, show_default=True, type=click.IntRange(1), help="Images of each level to try.")
def revalidate(names: tuple[str, ...], sample: int) -> None:
    """Keep the restored images of tables (default: all) whose code has changed, if a sample is equal.

    For an edit of shared code that should change no pixel: some images of each outdated group are restored again, and
    where all are equal DVC is told that the rest stands. Groups that differ are restored by the next `harness repro`.
    """
    from harness.run.revalidation import RevalidatedGroup, revalidate

    workspace = Workspace.find()

    def say(outcome: RevalidatedGroup) -> None:
        echo(f"{outcome.verdict}: {outcome.group.place}: {outcome.detail}")

    outcomes = revalidate(workspace, names or sorted(workspace.tables()), images=sample, say=say)
    if not outcomes:
        echo("nothing is outdated")
    differing = sum(outcome.verdict == "differs" for outcome in outcomes)
    if differing:
        raise CheckFailedError(f"{differing} of {len(outcomes)} groups differ; harness repro restores them again")


@click.command(
    epilog=examples("harness repro panet-table3", "harness repro embedded mine --row Bicubic,my-net --fail-on off")
)
@tables_argument(required=True)
@row_option
@dataset_option("Only these datasets. With this or --row nothing is written to results/.")
@click.option("--jobs", "-j", type=click.IntRange(1), default=1, show_default=True, help="Stages side by side.")
@click.option("--cluster", type=click.Path(dir_okay=False, path_type=Path), help="Run on the cluster of this file.")
@click.option("--per-gpu", type=click.IntRange(1), default=1, show_default=True, help="Stages that share a GPU.")
@click.option("--keep-going", "-k", is_flag=True, help="Go on with what does not depend on a stage that failed.")
@click.option("--pull", is_flag=True, help="Take results that were made elsewhere from the DVC remote.")
@click.option("--push", is_flag=True, help="Send the results to the DVC remote.")
@click.option("--force", is_flag=True, help="Run every stage again, also those that did not change.")
@click.option("--verbose", "-v", is_flag=True, help="Name every stage, also those that did not change.")
@click.option("--why", is_flag=True, help="Show reasons whole; on a terminal they are folded to a line.")
@failing_options()
def repro(
    names: tuple[str, ...],
    rows: tuple[str, ...],
    datasets: tuple[str, ...],
    jobs: int,
    cluster: Path | None,
    per_gpu: int,
    keep_going: bool,
    pull: bool,
    push: bool,
    force: bool,
    verbose: bool,
    why: bool,
    fail_on: tuple[str, ...],
    strict: bool,
    junit: Path | None,
) -> None:
    """Make tables: everything they need that is not there yet, then print them.

    The same as `dvc repro pipelines/tables/TABLE/dvc.yaml` for each TABLE (`dvc repro TABLE` for your own in a
    workspace that `harness init` made), with stages side by side where --jobs or --cluster says so. Interrupt it at any
    time; the next run goes on.
    """
    from harness.report.terminal import print_table
    from harness.run.execution import RunSettings
    from harness.run.reproduction import make_tables, results_after
    from harness.tables.published import select

    workspace = Workspace.find()
    tables = [select(workspace.table(name), row=rows, dataset=datasets) for name in dict.fromkeys(names)]
    whole, parts = ([], tables) if rows or datasets else (tables, [])
    settings = RunSettings(jobs, cluster, per_gpu, keep_going, force, pull)
    failed = make_tables(workspace, settings, whole=whole, parts=parts, verbose=verbose, push=push)
    results = results_after(workspace, tables, settings)
    for table in tables:
        print_table(table, results[table.name], why=why)
    if failed:
        sys.stdout.flush()
        which = " and ".join(table.name for table in tables) + (" is" if len(tables) == 1 else " are")
        raise HarnessError(
            f"{failed}. {which} not complete, and numbers above may be those of an earlier run; what was finished is "
            "kept, run the same command again to go on"
        )
    check_results(results, fail_on, strict, junit)


# Published rows that need no weights, on the two smallest sets (3 MB): a newcomer sees `match` at once.
FIRST_ROWS = (("panet-table3", "JPEG", "classic5"), ("rnan-table6", "Bicubic", "set5"))


@click.command("first-table")
def first_table() -> None:
    """Make the table on embedded images through DVC, then two published rows if their images can be obtained."""
    from harness.report.terminal import print_table
    from harness.run.execution import RunSettings
    from harness.run.reproduction import make_tables
    from harness.tables.collected import results_of
    from harness.tables.counting import count
    from harness.tables.published import select

    workspace = Workspace.find()
    embedded = workspace.table("embedded")
    published = [select(workspace.table(name), row=row, dataset=dataset) for name, row, dataset in FIRST_ROWS]
    failed = make_tables(workspace, RunSettings(keep_going=True), whole=[embedded], parts=published)
    shown: list[CellResult] = []
    for table in (embedded, *published):
        results = results_of(workspace, table)
        if results and all(result.verdict == "not run" for result in results):
            echo(f"\n{table.name} is left out: {results[0].judgement.reason}")
            continue
        print_table(table, results)
        if table in published:
            shown += results
    if shown:
        echo(f"\n{count(shown).text()}. Next: harness repro panet-table3")
    else:
        echo("\nNext: set HARNESS_MIRROR or connect to the network, then harness repro panet-table3")
    if failed:
        raise HarnessError(f"{failed}; what was finished is kept, run the same command again")
