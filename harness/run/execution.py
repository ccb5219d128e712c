"""Running stages side by side: one Dask task a stage, on this machine or on a cluster.

Dask decides when and where a stage runs (what it needs is done, memory and a GPU are free) and replaces workers that
are killed; DVC decides, in the worker, whether it has to run at all, and records it.
"""

from __future__ import annotations

import signal
from collections.abc import Mapping
from contextlib import chdir, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import msgspec

from harness.run.clusters import cluster_place, local_place
from harness.run.graph import Node
from harness.run.resources import free_memory, gpus, memory_of, seconds_of, stage_environment, worker_shares
from harness.run.worker import TOPIC, Order, StageOutcome, run_stage, signal_stages

# Exit statuses of a stage that was killed: by the supervisor's word, a shell's, and the system's own.
STARVED = (137, -9)

# How often a stage that was killed for its memory is tried again, alone and with less at once each time.
MOST_RETRIES = 2

# How long stages that were stopped have to end and DVC to give back its locks, seconds.
_GRACE_SECONDS = 5


class RunSettings(msgspec.Struct, frozen=True):
    """How to run stages.

    `cluster`: Cluster file; then `jobs` does not count.
    `per_gpu`: Stages that may share a GPU.
    `keep_going`: Whether to go on with what does not depend on a stage that failed.
    `forced`: Addresses of stages that run also where DVC finds them unchanged.
    """

    jobs: int = 1
    cluster: Path | None = None
    per_gpu: int = 1
    keep_going: bool = False
    force: bool = False
    pull: bool = False
    forced: frozenset[str] = frozenset()


class Watcher(Protocol):
    """Is told how a run goes."""

    def started(self, address: str, progress: Path) -> None:
        """Called when a stage starts; `progress` is a file with the numbers of finished and of all images."""

    def finished(self, address: str, outcome: StageOutcome) -> None:
        """Called with what became of a stage (also ``skipped``: something it needs failed)."""


def run_stages(
    root: Path, nodes: Mapping[str, Node], settings: RunSettings, watcher: Watcher
) -> dict[str, StageOutcome]:
    """Run stages, each after those of them that it needs.

    `nodes`: The stages by address, each after those it needs; needs outside the mapping are taken for done.
    Returns: Outcome by address.
    """
    outcomes: dict[str, StageOutcome] = {}
    todo = dict(nodes)
    for attempt in range(1 + MOST_RETRIES):
        # A stage that was killed for its memory gets the machine for itself, and computes less at once.
        chosen = msgspec.structs.replace(settings, jobs=1, keep_going=True) if attempt else settings
        outcomes |= _run_once(root.resolve(), todo, chosen, watcher, attempt)
        starved = {address for address in todo if outcomes[address].status in STARVED}
        if not starved:
            break
        todo = {a: node for a, node in nodes.items() if a in starved or outcomes[a].state == "skipped"}
    return outcomes


def _run_once(
    root: Path, nodes: Mapping[str, Node], settings: RunSettings, watcher: Watcher, shrink: int
) -> dict[str, StageOutcome]:
    from distributed import as_completed

    work = root / "work"
    (work / "logs").mkdir(parents=True, exist_ok=True)
    memory = free_memory()
    needs = {address: min(memory_of(node, work), memory) for address, node in nodes.items()}
    if settings.cluster is None:
        environment = stage_environment(settings.jobs)
        where = local_place(worker_shares(needs.values(), memory, settings.jobs), gpus() * settings.per_gpu)
    else:
        environment = {}
        where = cluster_place(settings.cluster)
    environment["HARNESS_SHRINK"] = str(shrink or "")
    # What a retry finds finished was made by this run.
    environment["HARNESS_FORCE"] = "1" if settings.force and not shrink else ""
    outcomes: dict[str, StageOutcome] = {}
    futures: dict[str, Any] = {}
    with (
        TemporaryDirectory(prefix=".run-", dir=work / "logs", ignore_cleanup_errors=True) as folder,
        where as (client, counted),
        chdir(root),  # where a worker in this process goes
    ):
        run = Path(folder)

        def heard(event: Any) -> None:
            _, about = event
            if about["run"] == folder:
                watcher.started(about["address"], Path(about["progress"]))

        client.subscribe_topic(TOPIC, heard)
        try:
            for address, node in nodes.items():
                force = settings.force or address in settings.forced
                wanted = {"memory": needs[address], "gpu": int(node.step.gpu)}
                futures[address] = client.submit(
                    run_stage,
                    Order(node, root, run, environment, force, settings.pull, shared=settings.cluster is not None),
                    *(futures[need] for need in node.needs if need in futures),
                    key=f"{address}-{run.name}",
                    pure=False,
                    priority=int(seconds_of(node, work)),
                    resources={name: wanted[name] for name in counted if wanted[name]},
                )
            addresses = {future: address for address, future in futures.items()}
            for future in as_completed(list(addresses)):
                address, outcome = addresses[future], _outcome(future)
                outcomes[address] = outcome
                watcher.finished(address, outcome)
                if outcome.state == "failed" and not settings.keep_going and outcome.status not in STARVED:
                    (run / "stop").touch()
        except BaseException:
            _end(client, run, list(futures.values()))
            raise
        finally:
            client.unsubscribe_topic(TOPIC)
    return outcomes


def _end(client: Any, run: Path, futures: list[Any]) -> None:
    """Stop a run: its stages are told to end and DVC gives back its locks; what goes on all the same is killed."""
    from distributed import wait

    (run / "stop").touch()
    try:
        client.run(signal_stages, run, signal.SIGINT, on_error="ignore")
        with suppress(TimeoutError):
            wait(futures, timeout=_GRACE_SECONDS)
    finally:
        client.run(signal_stages, run, signal.SIGKILL, on_error="ignore")


def _outcome(future: Any) -> StageOutcome:
    error = future.exception()
    if error is None:
        return future.result()  # type: ignore[no-any-return]
    # Dask's own trouble: the machine of a cluster went away with the stage more than once.
    return StageOutcome("failed", message=f"{type(error).__name__}: {error}", status=1)
