"""Making tables: the stages behind them, brought up to date, and what came out."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from harness.errors import HarnessError, InvalidArgumentError
from harness.run.graph import needed, stage_graph, stages_of
from harness.run.pipeline import update_pipelines
from harness.run.targets import failures, make_targets
from harness.tables.collected import results_of
from harness.tables.published import Table, select
from harness.tables.requests import plans
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
    from harness.run.execution import RunSettings
    from harness.tables.diff import CellResult


def repro(
    *names: str,
    root: str | os.PathLike[str] = ".",
    row: str | Sequence[str] = (),
    dataset: str | Sequence[str] = (),
    jobs: int = 1,
) -> dict[str, list[CellResult]]:
    """Make tables in a workspace, everything they need that is not there yet, and give their results.

    The same as ``harness repro``: through DVC, which writes to ``data/``, ``work/``, ``pipelines/`` and ``results/``.
    Progress goes to standard error.

    Parameters
    ----------
    *names : str
        Tables, such as ``"panet-table3"``.
    root : path
        A folder in the workspace: params.yaml lies in it or above it.
    row, dataset : str or sequence of str
        Only the rows with these printed names, or only these datasets; nothing is then written to ``results/``.
    jobs : int
        Stages side by side.

    Returns
    -------
    dict
        By table its cells in the printed order: `CellResult.measured`, `CellResult.verdict`. A set or weights that
        cannot be obtained are no error, but cells that are ``not run``.

    Raises
    ------
    HarnessError
        No table is named, a name is unknown, there is no workspace or no DVC repository in it, or a stage failed.

    Examples
    --------
    >>> import harness
    >>> results = harness.repro("embedded", row="Bicubic")
    >>> [(cell.request.level, cell.request.metric, cell.verdict) for cell in results["embedded"]][:2]
    [(2, 'psnr', 'match'), (2, 'ssim', 'match')]
    """
    from harness.run.execution import RunSettings

    if not names:
        raise HarnessError("no table is named; harness tables lists them")
    if not all(isinstance(name, str) for name in names):
        raise InvalidArgumentError("tables are named one by one, as texts: harness.repro('panet-table3', 'mine')")
    workspace = Workspace.find(root)
    tables = [select(workspace.table(name), row=row, dataset=dataset) for name in dict.fromkeys(names)]
    whole, parts = ([], tables) if row or dataset else (tables, [])
    failed = make_tables(workspace, RunSettings(jobs), whole=whole, parts=parts)
    if failed:
        raise HarnessError(f"{failed}; what was finished is kept, call it again to go on")
    return results_after(workspace, tables, RunSettings(jobs))


def results_after(workspace: Workspace, tables: Sequence[Table], settings: RunSettings) -> dict[str, list[CellResult]]:
    """Give the results of tables that were just made, while no other run replaces the rows behind them."""
    from harness.run.project import Project

    project = Project(workspace.root, shared=settings.cluster is not None)
    places = [(part.task, column.dataset) for table in tables for part in table.parts for column in part.columns]
    return project.read_rows(
        (place for place in places if place[1]), lambda: {table.name: results_of(workspace, table) for table in tables}
    )


def make_tables(
    workspace: Workspace,
    settings: RunSettings,
    *,
    whole: Sequence[Table] = (),
    parts: Sequence[Table] = (),
    verbose: bool = False,
    push: bool = False,
) -> str:
    """Bring tables and what they need up to date, the pipelines first; say what failed.

    `settings`: How many stages side by side, where, and so on.
    `whole`: Tables that are made and rendered.
    `parts`: Tables, or what `harness.tables.published.select` left of them, whose cells are measured and not rendered.
    Returns: Which stages failed; empty where none did.
    """
    stages, written = update_pipelines(workspace)
    for path in written:
        click.echo(f"written: {path}", err=True)
    methods = workspace.methods()
    wanted = plans([*whole, *parts], methods)
    graph = stage_graph(stages)
    measured = stages_of(graph, "measure", [plan.group for plan in wanted])
    cells = {address: len(plan.levels) for address, plan in zip(measured, wanted, strict=True)}
    targets = stages_of(graph, "measure", [plan.group for plan in plans(parts, methods)])
    targets += stages_of(graph, "render", [table.name for table in whole])
    if not targets:
        return ""
    nodes = needed(graph, list(dict.fromkeys(targets)))
    outcomes = make_targets(workspace, nodes, settings, cells=cells, verbose=verbose, push=push)
    return failures(nodes, outcomes)
