"""The command `harness`. Every subcommand lives in a module that is imported only when it is called."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

from harness import __version__
from harness.cli.groups import Index, LazyGroup
from harness.cli.options import examples
from harness.cli.printing import echo
from harness.errors import HarnessError

NEW: Index = {
    "method": ("harness.cli.methods:new_method", "Write the file of a method of your own."),
    "table": ("harness.cli.methods:new_table", "Write a table of your own."),
    "published": ("harness.cli.publishing:new_published", "Write another paper's table, from a pasted one."),
    "task": ("harness.cli.plugins:new_task", "Write the file of a task of your own."),
    "degradation": ("harness.cli.plugins:new_degradation", "Write the file of a degradation of your own."),
    "metric": ("harness.cli.plugins:new_metric", "Write the file of a metric of your own."),
    "dataset": ("harness.cli.plugins:new_dataset", "Write the file of a dataset of your own."),
}

LIST: Index = {
    "methods": ("harness.cli.methods:methods_command", "List the methods."),
    "tasks": ("harness.cli.plugins:tasks", "List the tasks."),
    "degradations": ("harness.cli.plugins:degradations", "List the degradations."),
    "metrics": ("harness.cli.plugins:metrics", "List the metrics."),
}

EXPORT: Index = {
    "figure": ("harness.cli.figure:figure", "Draw crops, curves or costs of a table for a paper."),
    "rows": ("harness.cli.stages:rows", "Print measured values image by image, or their means."),
    "network": ("harness.cli.exports:network", "Write a network with its weights as ONNX or TorchScript."),
    "crate": ("harness.cli.exports:crate", "Put a table's run into a Research Object Crate (RO-Crate)."),
    "check-crate": (
        "harness.cli.exports:check_crate",
        "Check a crate: its files, and its results against the rows.",
    ),
    "dnd": ("harness.cli.exports:dnd", "Restore DND and write the archive that its server scores."),
    "check-dnd": ("harness.cli.exports:check_dnd", "Check such an archive, whichever program made it."),
}

STAGE: Index = {
    "code": ("harness.cli.pipeline:code", "Write fingerprints of the code that the other stages run."),
    "inputs": ("harness.cli.stages:inputs", "Make and record degraded inputs."),
    "restore": ("harness.cli.stages:restore", "Run a method on a dataset."),
    "measure": ("harness.cli.stages:measure_restored", "Measure what a method restored."),
    "train": ("harness.cli.training:train_run", "Make the weights of a training run."),
    "cost": ("harness.cli.stages:cost", "Count a method's parameters and multiply-adds."),
    "render": ("harness.cli.stages:render", "Write a table to results/."),
}

COMMANDS: Index = {
    "tables": ("harness.cli.tables:tables", "List the published tables, or with --own your own."),
    "repro": ("harness.cli.pipeline:repro", "Make a whole table: fetch, degrade, restore, measure, compare."),
    "diff": ("harness.cli.tables:diff", "Compare a table with what was measured, cell by cell."),
    "table": ("harness.cli.tables:table", "Print a table beside its published numbers."),
    "why": ("harness.cli.provenance:why", "Show where a number comes from, down to the pixels."),
    "report": ("harness.cli.report:report", "Write a site of every table, cell and image; compare two runs."),
    "audit": ("harness.cli.audit:audit", "Find the protocol that makes each published number."),
    "datasets": ("harness.cli.assets:datasets", "List, fetch and verify datasets."),
    "weights": ("harness.cli.assets:weights", "List, fetch and verify released weights."),
    "list": ("harness.cli.main:list_known", "List the methods, tasks, degradations or metrics."),
    "describe": ("harness.cli.methods:describe", "Say what a method is and what it costs."),
    "init": ("harness.cli.initialising:init", "Make a folder a workspace of your own: methods, tables, CI."),
    "new": ("harness.cli.main:new", "Write a file to start from: a method or a table of your own."),
    "check": ("harness.cli.methods:check_method", "Check a method, metric, table … of yours."),
    "measure": ("harness.cli.stages:measure", "Measure a folder of restored images."),
    "train": ("harness.cli.training:train", "Train a method, or every trainable row of a table."),
    "export": ("harness.cli.main:export", "Pass results on: figures, rows as CSV or parquet, crates, networks, DND."),
    "doctor": ("harness.cli.provenance:doctor", "Check the environment before hours of work."),
}

SECTIONS = {
    "Reproduce a table": ("tables", "repro", "diff", "table"),
    "Look into results": ("why", "report", "audit"),
    "Methods and tables of your own": ("init", "new", "check", "measure", "train"),
    "What there is to work with": ("list", "describe", "datasets", "weights"),
    "Keep it running, pass it on": ("doctor", "export"),
}

# What the pipelines, the Makefile and those who change the package call; `repro` writes pipelines by itself.
UNLISTED: Index = {
    "pipeline": ("harness.cli.pipeline:pipeline", "Write the DVC pipelines; keep results whose code changed."),
    "stage": ("harness.cli.main:stage", "Run one step of a pipeline, as DVC does."),
    "first-table": ("harness.cli.pipeline:first_table", "Make a first table on embedded images (`make table`)."),
}


# What a machine does to anybody: full, read-only or failing disks, quotas, permissions, too many open files.
_MACHINE_ERRORS = frozenset(
    getattr(errno, name)
    for name in ("ENOSPC", "EROFS", "EDQUOT", "EFBIG", "EACCES", "EPERM", "EIO", "ESTALE", "EMFILE", "ENFILE")
    if hasattr(errno, name)
)


# Where commands are that were at the top once.
MOVED = {
    **{f"new-{kind}": f"new {kind}" for kind in NEW},
    **{name: f"stage {name}" for name in STAGE if name not in COMMANDS},
    "methods": "list methods",
    **{name: f"report {name}" for name in ("badge", "findings", "curves", "attention-maps")},
    "check-method": "check",
    "train-run": "stage train",
    "submit": "export dnd",
    **{name: f"export {name}" for name in ("crate", "figure", "rows")},
    "revalidate": "pipeline revalidate",
}


class _ReaderGoneError(Exception):
    """Nobody reads standard output any more."""


class _Commands(LazyGroup):
    index, unlisted, moved, sections = COMMANDS, UNLISTED, MOVED, SECTIONS

    def invoke(self, ctx: click.Context) -> Any:
        """Run a subcommand; click would end with status 1 where the reader of a pipe has had enough."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGoneError from error


class _New(LazyGroup):
    index = NEW


class _List(LazyGroup):
    index = LIST


class _Export(LazyGroup):
    index = EXPORT


class _Stage(LazyGroup):
    index = STAGE


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="NAME,… takes several names: with commas between them, or the option given again. Exit status: 0 fine, 1 a "
    "check failed, 2 a mistake or something is not here, 130 interrupted.",
)
@click.version_option(__version__, prog_name="harness")
def harness() -> None:
    """Reproduce the tables of image-restoration papers, number by number.

    Start with `harness tables`, then `harness repro panet-table3`.
    """


@click.group(cls=_New, epilog=examples("harness new method my-net --task denoise-rgb"))
def new() -> None:
    """Write a file to start from, in the folders that params.yaml names."""


@click.group("list", cls=_List, epilog=examples("harness list methods --task sr", "harness list tasks --format json"))
def list_known() -> None:
    """List what is known here and where it comes from: built in, a file of yours, an installed package."""


@click.group(cls=_Export, epilog=examples("harness export figure panet-table3 --kind curve"))
def export() -> None:
    """Pass results on: figures, rows as CSV or parquet, crates, networks, DND."""


@click.group(cls=_Stage)
def stage() -> None:
    """Run one step of a pipeline, as DVC does; `harness repro` runs those that are needed."""


def _tell_left_out(message: str = "") -> None:
    """Name the plugins and tables that could not be read: what they define is missing in whatever was printed."""
    registry = sys.modules.get("harness.methods")
    # A stage's last line is what a run shows of it, and the run tells of plugins itself.
    if registry is None or "DVC_STAGE" in os.environ:
        return
    definitions = sys.modules.get("harness.methods.definitions")
    reasons = definitions.broken_definitions() if definitions is not None else {}
    for reason in (*reasons.values(), *registry.broken_plugins().values()):
        if reason not in message:
            echo(f"could not be loaded: {reason}", err=True)
    tables = sys.modules.get("harness.tables.workspace")
    for reason in list(tables.LEFT_OUT.values()) if tables is not None else ():
        if reason not in message:
            echo(f"left out: {reason}", err=True)


def _open_streams() -> None:
    """Make sure that anything can be printed: a closed stream takes it, one of few letters shows the others escaped."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; a HarnessError becomes one sentence and its exit status."""
    if arguments is None:
        _open_streams()
    try:
        # Stages supervise themselves by forking, but not inside another program (a test) that calls this function.
        code = harness.main(args=arguments, prog_name="harness", standalone_mode=False, obj={"own": arguments is None})
        _tell_left_out()
    except HarnessError as error:
        _tell_left_out(str(error))
        echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        echo("interrupted; what was finished is kept, run the same command again to go on", err=True)
        sys.exit(130)
    except (_ReaderGoneError, BrokenPipeError):
        # `harness diff ... | head`: the reader has what it wanted.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        if error.errno not in _MACHINE_ERRORS:
            raise
        # An error of ours may have been on its way, and tells more.
        earlier = error.__context__
        own = str(earlier) if isinstance(earlier, HarnessError) else ""
        where = f"{error.filename}: " if error.filename else ""
        echo(f"error: {own or f'{where}{error.strerror}; what was finished is kept, run again to go on'}", err=True)
        sys.exit(HarnessError.exit_code)
    except Exception as error:
        # DVC's database of file hashes is SQLite's, which tells of a full disk in its own way.
        if type(error).__module__ != "sqlite3":
            raise
        echo(
            f"error: DVC's database of file hashes: {error}; is the disk full? What was finished is kept, run again to "
            "go on",
            err=True,
        )
        sys.exit(HarnessError.exit_code)
    sys.exit(code if isinstance(code, int) else 0)
