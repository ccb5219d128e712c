"""Commands `harness repro` and `harness pipeline`."""

from __future__ import annotations

import sys

import click

from harness.errors import CheckFailedError, HarnessError
from harness.workspace import Workspace


@click.command()
@click.option("--check", is_flag=True, help="Change nothing; exit status 1 if a file is out of date.")
def pipeline(check: bool) -> None:
    """Write the dvc.yaml files of every table (after a table, method or import has changed)."""
    from harness.pipeline.stages import write_stage_files

    changed = write_stage_files(Workspace.find(), check=check)
    for path in changed:
        click.echo(f"{'out of date' if check else 'written'}: {path}")
    if not changed:
        click.echo("every dvc.yaml is up to date")
    elif check:
        raise CheckFailedError("run harness pipeline")


@click.command()
def code() -> None:
    """Stage: write the fingerprint of the code behind every kind of stage to work/code."""
    from harness.files import write_json
    from harness.pipeline.code import code_hashes, stage_code

    workspace = Workspace.find()
    folder = workspace.work / "code"
    for name, files in stage_code(workspace.methods()).items():
        write_json(folder / f"{name}.json", code_hashes(files))


@click.command()
@click.argument("names", nargs=-1)
@click.option("--images", default=2, show_default=True, type=click.IntRange(1), help="Images of each level to try.")
def revalidate(names: tuple[str, ...], images: int) -> None:
    """Keep the restored images of tables NAMES (default: all) whose code has changed, if a sample is equal.

    For an edit of shared code that should change no pixel: some images of each outdated group are restored again, and
    where all are equal DVC is told that the rest stands. Groups that differ are restored by the next `harness repro`.
    """
    from harness.pipeline.revalidation import Outcome, revalidate

    workspace = Workspace.find()

    def say(outcome: Outcome) -> None:
        click.echo(f"{outcome.verdict}: {outcome.group.place}: {outcome.detail}")

    outcomes = revalidate(workspace, names or sorted(workspace.tables()), images=images, say=say)
    if not outcomes:
        click.echo("nothing is outdated")
    differing = sum(outcome.verdict == "differs" for outcome in outcomes)
    if differing:
        raise CheckFailedError(f"{differing} of {len(outcomes)} groups differ; harness repro restores them again")


@click.command()
@click.argument("name")
@click.option("--row", default="", help="Only the row with this printed name; nothing is written to results/.")
@click.option("--dataset", default="", help="Only the cells on this dataset; nothing is written to results/.")
@click.option("--force", is_flag=True, help="Run every stage again, also those that did not change.")
@click.option("--verbose", "-v", is_flag=True, help="Show what DVC says.")
def repro(name: str, row: str, dataset: str, force: bool, verbose: bool) -> None:
    """Make table NAME: everything it needs that is not there yet, then print it.

    The same as `dvc repro pipelines/tables/dvc.yaml:NAME`. Interrupt it at any time; the next run goes on.
    """
    from harness.pipeline.requests import plans
    from harness.pipeline.run import run_dvc
    from harness.pipeline.stages import measure_target, table_target, write_stage_files
    from harness.report.terminal import print_table
    from harness.stages.render import results_of
    from harness.tables.published import select

    workspace = Workspace.find()
    table = select(workspace.table(name), row=row, dataset=dataset)
    for path in write_stage_files(workspace):
        click.echo(f"written: {path}", err=True)
    targets = [table_target(name)]
    if row or dataset:
        targets = [measure_target(plan.group) for plan in plans([table], workspace.methods())]
    code = 0
    if targets:
        code = run_dvc(workspace, ["repro", *(["--force"] if force else []), *targets], verbose=verbose)
    print_table(table, results_of(workspace, table))
    if code:
        sys.stdout.flush()
        raise HarnessError(
            f"a stage failed (see above), so {name} is not complete; what was finished is kept, "
            "run the same command again to go on"
        )


# Published rows that need no weights, on the two smallest sets (3 MB): a newcomer sees `match` at once.
FIRST_ROWS = (("panet-table3", "JPEG", "classic5"), ("rnan-table6", "Bicubic", "set5"))


@click.command("first-table")
def first_table() -> None:
    """Make the table on embedded images through DVC, then two published rows if their images can be had."""
    from harness.pipeline.requests import plans
    from harness.pipeline.run import run_dvc
    from harness.pipeline.stages import measure_target, table_target, write_stage_files
    from harness.report.terminal import print_table
    from harness.stages.render import results_of
    from harness.tables.diff import count_verdicts
    from harness.tables.published import select

    workspace = Workspace.find()
    write_stage_files(workspace)
    published = [select(workspace.table(name), row=row, dataset=dataset) for name, row, dataset in FIRST_ROWS]
    targets = [measure_target(plan.group) for plan in plans(published, workspace.methods())]
    targets.append(table_target("embedded"))
    code = run_dvc(workspace, ["repro", *targets])
    match = printed = 0
    for table in (workspace.table("embedded"), *published):
        results = results_of(workspace, table)
        if results and all(result.verdict == "not run" for result in results):
            click.echo(f"\n{table.name} is left out: {results[0].judgement.reason}")
            continue
        print_table(table, results)
        if table in published:
            match += count_verdicts(results)["match"]
            printed += sum(result.request.printed is not None for result in results)
    if printed:
        click.echo(f"\n{match} of {printed} published numbers reproduced. Next: harness repro panet-table3")
    else:
        click.echo("\nNext: set HARNESS_MIRROR or connect to the network, then harness repro panet-table3")
    if code:
        raise HarnessError("a stage failed (see above); what was finished is kept, run the same command again")
