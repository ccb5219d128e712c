"""The command `harness init`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import examples
from harness.cli.printing import echo


@click.command(epilog=examples("harness init my-lab"))
@click.argument("folder", type=click.Path(path_type=Path), default=".")
def init(folder: Path) -> None:
    """Make FOLDER (default: this one) a workspace for methods and tables of your own.

    Writes params.yaml, methods/, tables/, the DVC pipelines, a workflow for CI, README.md and .gitignore. A file that
    is there is left as it is, so the command can be given again at any time.
    """
    from harness.cli.initialising import initialise

    done = initialise(folder)
    if done.written:
        echo(f"written: {', '.join(done.written)}")
    if done.kept:
        echo(f"there already, left as it is: {', '.join(done.kept)}")
    for note in done.notes:
        echo(f"note: {note}")
    if folder.resolve() != Path.cwd():
        echo(f"next: cd {folder}")
    echo("next: harness repro embedded                              # a first table; nothing is downloaded")
    echo("      harness new method my-net --task denoise-rgb        # a method of yours; harness check my-net")
    echo("      harness new table mine --dataset embedded --level 50 --method my-net")
    echo("      harness repro mine                                  # then harness report")
