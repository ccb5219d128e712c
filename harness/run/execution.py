"""Running stages side by side: one Dask task a stage, on this machine or on a cluster.

Dask decides when and where a stage runs (what it needs is done, memory and a GPU are free); DVC decides, in the worker,
whether it has to run at all, and records it.
"""

from __future__ import annotations

import os
import queue
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec

from harness.errors import HarnessError
from harness.run.clusters import Executor, cluster_place, local_place
from harness.run.graph import Node
from harness.run.resources import free_memory, gpus, memory_of, seconds_of, stage_environment
from harness.run.worker import Order, StageOutcome, Worker, WorkerDiedError
from harness.supervision import kill_tree

# Exit statuses of a stage that was killed: by the supervisor's word, a shell's, and the system's own.
STARVED = (137, -9)

# How often a stage that was killed for its memory is tried again, alone and with less at once each time.
MOST_RETRIES = 2

# How often a stage is begun again whose worker was killed.
_MOST_DEATHS = 2

_TOPIC = "harness-stages"


class RunSettings(msgspec.Struct, frozen=True):
    """How to run stages.

    Attributes
    ----------
    jobs : int
        Stages at a time on this machine.
    cluster : path or None
        Cluster file; then `jobs` does not count.
    per_gpu : int
        Stages that may share a GPU.
    keep_going : bool
        Whether to go on with what does not depend on a stage that failed.
    force, pull : bool
        As for `dvc repro`.
    forced : frozenset of str
        Addresses of stages that run also where DVC finds them unchanged.
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
        """Tell that a stage runs; `progress` is a file with the numbers of finished and of all images."""

    def finished(self, address: str, outcome: StageOutcome) -> None:
        """Tell what became of a stage (also ``skipped``: something it needs failed)."""


def run_stages(
    root: Path,
    nodes: Mapping[str, Node],
    settings: RunSettings,
    watcher: Watcher,
) -> dict[str, StageOutcome]:
    """Run stages, each after those of them that it needs.

    Parameters
    ----------
    root : path
        The workspace.
    nodes : mapping
        The stages by address, each after those it needs; needs outside the mapping are taken for done.
    settings : RunSettings
        How.
    watcher : Watcher
        Is told.

    Returns
    -------
    dict
        Outcome by address.
    """
    outcomes: dict[str, StageOutcome] = {}
    todo = dict(nodes)
    for attempt in range(1 + MOST_RETRIES):
        first = attempt == 0
        # A stage that was killed for its memory gets the machine for itself, and computes less at once.
        chosen = settings if first else msgspec.structs.replace(settings, jobs=1, keep_going=True)
        outcomes |= _run_once(root, todo, chosen, watcher, attempt)
        starved = {address for address in todo if outcomes[address].status in STARVED}
        if not starved:
            break
        todo = {a: node for a, node in nodes.items() if a in starved or outcomes[a].state == "skipped"}
    return outcomes


def _run_once(
    root: Path,
    nodes: Mapping[str, Node],
    settings: RunSettings,
    watcher: Watcher,
    shrink: int,
) -> dict[str, StageOutcome]:
    run = uuid.uuid4().hex
    root = root.resolve()
    work = root / "work"
    devices = gpus() if settings.cluster is None else []
    memory = free_memory()
    environment = stage_environment(settings.jobs if settings.cluster is None else 1)
    environment["HARNESS_SHRINK"] = str(shrink) if shrink else ""
    if settings.cluster is None:
        where = local_place(settings.jobs, memory, len(devices) * settings.per_gpu)
    else:
        where = cluster_place(settings.cluster)
    outcomes: dict[str, StageOutcome] = {}
    with _Pool(root, shared=settings.cluster is not None, devices=devices * settings.per_gpu), where as place:
        client = place.client

        def heard(event: Any) -> None:
            about = event[1] if isinstance(event, tuple) else event
            if isinstance(about, dict) and about.get("run") == run:
                watcher.started(about["address"], Path(about["progress"]))

        client.subscribe_topic(_TOPIC, heard)
        futures: dict[Any, str] = {}
        by_address: dict[str, Any] = {}
        for address, node in nodes.items():
            log = work / "logs" / f"{address.replace('/', '-').replace(':', '--')}.log"
            force = settings.force or address in settings.forced
            order = Order(node.file, node.name, str(log), force, settings.pull, environment)
            gpu = node.step.gpu
            future = client.submit(
                run_stage,
                run,
                str(root),
                address,
                order,
                gpu,
                not place.local,
                *(by_address[need] for need in node.needs if need in by_address),
                key=f"{address}-{run}",
                pure=False,
                priority=int(seconds_of(node, work)),
                resources=_resources(place, memory_of(node, work), memory, gpu and (bool(devices) or not place.local)),
            )
            futures[future] = address
            by_address[address] = future
        try:
            for address, outcome in _as_they_come(client, futures):
                outcomes[address] = outcome
                watcher.finished(address, outcome)
                if outcome.state == "failed" and not settings.keep_going and outcome.status not in STARVED:
                    _stop(client, run)
        except BaseException:
            _stop(client, run)
            _wait_a_moment()
            raise
        finally:
            client.unsubscribe_topic(_TOPIC)
    return outcomes


def _resources(place: Executor, memory: int, most: int, gpu: bool) -> dict[str, float]:
    """Write a stage's needs for Dask: never more memory than there is, so that every stage can run."""
    wanted = {"memory": float(min(memory, most)), "gpu": 1.0 if gpu else 0.0}
    return {name: amount for name, amount in wanted.items() if name in place.resources and amount > 0}


def _as_they_come(client: Any, futures: Mapping[Any, str]) -> Iterable[tuple[str, StageOutcome]]:
    from distributed import as_completed

    completed: Any = as_completed
    for future in completed(list(futures)):
        address = futures[future]
        error = future.exception() if future.status != "finished" else None
        if error is None:
            yield address, future.result()
        else:
            # Dask's own trouble: the machine of a cluster went away with the stage more than once.
            yield address, StageOutcome("failed", message=f"{type(error).__name__}: {error}", status=1)


def _stop(client: Any, run: str) -> None:
    """Let no further stage of a run begin; those that run are finished and recorded."""
    from distributed import Event

    event: Any = Event
    event(f"stop-{run}", client=client).set()


def _wait_a_moment() -> None:
    """After Ctrl-C: the stages have had the signal too; let DVC give back its locks before workers are ended."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and _Pool.busy_in_this_process():
        time.sleep(0.05)


def run_stage(
    run: str, root: str, address: str, order: Order, gpu: bool, shared: bool, *needed: StageOutcome
) -> StageOutcome:
    """Run one stage in a worker process; this is what Dask runs.

    Parameters
    ----------
    run : str
        Name of the run.
    root : str
        The workspace.
    address : str
        The stage.
    order : Order
        The stage, for the worker.
    gpu : bool
        Whether it takes a GPU where there is one.
    shared : bool
        Whether machines share the workspace.
    *needed : StageOutcome
        What became of the stages that it needs.
    """
    from distributed import Event, get_worker

    if any(outcome.state in ("failed", "skipped") for outcome in needed):
        return StageOutcome("skipped", message="something it needs failed")
    event: Any = Event
    if event(f"stop-{run}").is_set():
        return StageOutcome("skipped", message="another stage failed")
    progress = Path(order.log).with_suffix(".progress")
    about = {"run": run, "address": address, "progress": str(progress)}
    get_worker().log_event(_TOPIC, about)
    pool = _Pool.of_this_process(Path(root), shared)
    with pool.device(gpu) as device:
        chosen = {**order.environment, "HARNESS_PROGRESS": str(progress)}
        if device:
            chosen["CUDA_VISIBLE_DEVICES"] = device
        try:
            return pool.run(msgspec.structs.replace(order, environment=chosen))
        finally:
            progress.unlink(missing_ok=True)


class _Pool:
    """The worker processes and GPUs of one process that runs stages in threads.

    Parameters
    ----------
    root : path
        The workspace.
    shared : bool
        See `Worker`.
    devices : list of str
        GPUs, each as often as stages may share it.
    """

    _current: ClassVar[dict[str, _Pool]] = {}
    _guard = threading.Lock()

    def __init__(self, root: Path, *, shared: bool, devices: list[str]) -> None:
        self._root = root
        self._shared = shared
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._devices: queue.Queue[str] = queue.Queue()
        for name in devices:
            self._devices.put(name)
        self._has_devices = bool(devices)

    def __enter__(self) -> _Pool:
        _Pool._current[str(self._root)] = self
        return self

    def __exit__(self, *_: object) -> None:
        _Pool._current.pop(str(self._root), None)
        self._closed = True
        with self._lock:
            workers = [*self._idle, *self._busy]
        for worker in self._busy:
            kill_tree(worker.process.pid)
        for worker in workers:
            worker.close(kill=worker in self._busy)

    @classmethod
    def of_this_process(cls, root: Path, shared: bool) -> _Pool:
        """Give the pool of a workspace; in a worker of a cluster it is made here, and lives as long as that."""
        with cls._guard:
            pool = cls._current.get(str(root))
            if pool is None:
                pool = cls(root, shared=shared, devices=gpus())
                cls._current[str(root)] = pool
            return pool

    @classmethod
    def busy_in_this_process(cls) -> bool:
        """Tell whether any worker runs a stage."""
        return any(pool._busy for pool in cls._current.values())

    def device(self, wanted: bool) -> _Device:
        """Take a GPU for the length of a block; an empty name where there is none or none is wanted."""
        return _Device(self._devices if wanted and self._has_devices else None)

    def run(self, order: Order) -> StageOutcome:
        """Run a stage in a worker; a worker that is killed is replaced, and the stage begun again."""
        for death in range(_MOST_DEATHS + 1):
            with self._lock:
                worker = self._idle.pop() if self._idle else Worker(self._root, shared=self._shared)
                self._busy.add(worker)
            try:
                outcome = worker.run(order)
            except WorkerDiedError as error:
                with self._lock:
                    self._busy.discard(worker)
                if death == _MOST_DEATHS or self._closed:
                    return StageOutcome("failed", message=f"{error}, {death + 1} times in this stage", status=1)
                continue
            with self._lock:
                self._busy.discard(worker)
                self._idle.append(worker)
            return outcome
        raise HarnessError("unreachable")


class _Device:
    def __init__(self, devices: queue.Queue[str] | None) -> None:
        self._devices = devices
        self._name = ""

    def __enter__(self) -> str:
        if self._devices is not None:
            self._name = self._devices.get()
        return self._name

    def __exit__(self, *_: object) -> None:
        if self._devices is not None:
            self._devices.put(self._name)


def quiet_dask() -> None:
    """Keep Dask's own log lines out of a user's terminal."""
    import logging

    for name in ("distributed", "distributed.worker", "distributed.scheduler", "distributed.nanny", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")
