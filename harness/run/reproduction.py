"""Making tables: the stages behind them, brought up to date, and what came out."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from harness.errors import HarnessError, InvalidArgumentError, Missing
from harness.records.restored import read_restored
from harness.records.rows import read_measured
from harness.run.dvc_private import drop_dead_locks
from harness.run.execution import RunSettings, run_stages
from harness.run.graph import CODE_VERB, Node, needed, stage_graph, stages_of
from harness.run.pipeline import update_pipelines
from harness.run.progress import RunView
from harness.run.project import Project
from harness.run.sources import write_fingerprints
from harness.run.worker import StageOutcome
from harness.tables.collected import results_of
from harness.tables.published import Table, select
from harness.tables.requests import plans
from harness.tables.workspace import Workspace

if TYPE_CHECKING:
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


def make_targets(
    workspace: Workspace,
    nodes: Mapping[str, Node],
    settings: RunSettings,
    *,
    cells: Mapping[str, int] | None = None,
    verbose: bool = False,
    push: bool = False,
) -> dict[str, StageOutcome]:
    """Bring stages up to date.

    `nodes`: The stages by address, each after those it needs (`harness.run.graph.needed`).
    `settings`: How many side by side, where, and so on.
    `cells`: Number of cells that are done when a stage is.
    `push`: Send the results to the DVC remote, also those made before a failure.
    Returns: What became of the stages that DVC found changed, or that follow from one; the others are not named.
    Raises HarnessError: The workspace is no DVC repository, or the remote cannot be used.
    """
    project = Project(workspace.root)
    if settings.pull:
        project.fetch_cached(nodes.values())
    failed = prefetch(workspace, nodes)
    if any(node.always and node.step.verb == CODE_VERB for node in nodes.values()):
        # Code outside the workspace: whether it has changed cannot be read off a file that DVC knows.
        write_fingerprints(workspace)
    changed = set(nodes) if settings.force else project.changed(nodes.values())
    again = installed_since(workspace.root, nodes.values()) | failed
    if again:
        settings = msgspec.structs.replace(settings, forced=frozenset(again))
        for address, node in nodes.items():
            if address in again or not changed.isdisjoint(node.needs):
                changed.add(address)
    todo = {address: node for address, node in nodes.items() if address in changed}
    if verbose:
        for address in nodes:
            if address not in changed:
                click.echo(f"Stage '{address}' didn't change, skipping")
    outcomes: dict[str, StageOutcome] = {}
    if todo:
        if settings.cluster is None and any(node.step.gpu for node in todo.values()):
            _say_device()
        of_these = {address: count for address, count in (cells or {}).items() if address in todo}
        with RunView(todo, of_these, verbose=verbose, on_terminal=sys.stderr.isatty()) as view:
            outcomes = run_stages(workspace.root, todo, settings, view)
    if push:
        sent = project.send_cached(nodes.values())
        click.echo(f"sent to the remote: {sent} files", err=True)
    return outcomes


def _say_device() -> None:
    """Name what networks run on, and say why that is no GPU where torch was built for one."""
    from harness.records.devices import device_facts, why_no_gpu

    click.echo(f"networks run on {device_facts().text}", err=True)
    if text := why_no_gpu():
        click.echo(f"warning: {text}", err=True)


def prefetch(workspace: Workspace, nodes: Mapping[str, Node]) -> set[str]:
    """Run the fetching stages' work in this process, which takes milliseconds where everything is there.

    A manifest that comes out as DVC has recorded it is then no reason to run anything; where one differs, DVC runs the
    stage itself, as it must where a plugin's function that gives a set has failed: its old images would stand.

    Returns: Addresses of the stages whose function failed.
    """
    from harness.assets.datasets.defining import DATASETS
    from harness.assets.hosts import Hosts
    from harness.assets.kinds import KINDS

    fetches = {kind: about.fetch for kind, about in KINDS.items()}
    hosts: Hosts | None = None
    failed = set()
    for address, node in nodes.items():
        if node.step.verb not in fetches:
            continue
        hosts = hosts or Hosts(workspace.data)
        try:
            fetches[node.step.verb](node.step.name, workspace.data, hosts=hosts)
        except HarnessError:
            if node.step.name in DATASETS:
                failed.add(address)
    return failed


def installed_since(root: Path, nodes: Iterable[Node]) -> set[str]:
    """Find the stages that lacked a package, wholly or for one protocol, which is installed now.

    DVC cannot know: none of their dependencies has changed.

    `nodes`: Stages; of those that restore or measure the record is read.
    Returns: Addresses.
    """
    found = set()
    for node in nodes:
        for missing in _missing(root, node):
            if missing.kind == "package" and missing.name and importlib.util.find_spec(missing.name) is not None:
                found.add(node.address)
    return found


def _missing(root: Path, node: Node) -> set[Missing]:
    """What a stage's record names as missing; a record that is not there, or damaged, names nothing."""
    if node.step.group is None:
        return set()
    with suppress(HarnessError, OSError):
        if node.step.verb == "restore":
            return read_restored(root / "work/restored" / node.step.group.place).all_missing
        return read_measured(root / "work/rows" / f"{node.step.group.place}.csv").all_missing
    return set()


def failures(nodes: Mapping[str, Node], outcomes: Mapping[str, StageOutcome]) -> str:
    """Say in a sentence which stages failed; empty where none did."""
    failed = [address for address, outcome in outcomes.items() if outcome.state == "failed"]
    skipped = sum(outcome.state == "skipped" for outcome in outcomes.values())
    if not failed:
        return ""
    names = ", ".join(nodes[address].title for address in failed[:5])
    more = f" and {len(failed) - 5} more" if len(failed) > 5 else ""
    rest = f"; {skipped} more {'was' if skipped == 1 else 'were'} not begun" if skipped else ""
    stages, whose = ("a stage", "its") if len(failed) == 1 else (f"{len(failed)} stages", "their")
    return f"{stages} failed: {names}{more}{rest}; {whose} output is in work/logs"


def run_dvc(workspace: Workspace, arguments: Sequence[str], *, verbose: bool = False) -> int:
    """Run a DVC command in a workspace, with the environment's own `harness` first on the path.

    `verbose`: Let DVC tell what it does; otherwise only its errors and what the stages print are shown.
    Raises HarnessError: The workspace is no DVC repository.
    """
    if not (workspace.root / ".dvc").is_dir():
        raise HarnessError(f"{workspace.root.resolve()}: not a DVC repository; run `harness init`, which makes it one")
    environment = dict(os.environ)
    scripts = str(Path(sys.executable).parent)
    environment["PATH"] = scripts + os.pathsep + environment.get("PATH", "")
    drop_dead_locks(workspace.root)
    command = [sys.executable, "-m", "dvc", *arguments]
    # What DVC tells of its own goes to standard output, its errors and the stages' own lines to standard error.
    process = subprocess.Popen(
        command, cwd=workspace.root, env=environment, stdout=None if verbose else subprocess.DEVNULL
    )
    try:
        return process.wait()
    except KeyboardInterrupt:
        # DVC got the same signal from the terminal and is stopping its stage; give it the time to release its lock.
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
        raise
