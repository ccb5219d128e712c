"""Where stages run: on this machine, or on a cluster that a file describes. Dask provides both.

A cluster file names a class of Dask's cluster packages and its options::

    cluster: dask_jobqueue.SLURMCluster
    options: {queue: gpu, cores: 4, processes: 1, memory: 32GB, walltime: "08:00:00"}
    jobs: 10                  # how many of them to ask for

or the address of a scheduler that runs already: ``scheduler: tcp://head:8786``.
"""

from __future__ import annotations

import contextlib
import importlib
import itertools
import logging
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError, NotAvailableError
from harness.records.loading import load_yaml

# Packages a cluster may come from: a name in a YAML file must not import just anything.
PACKAGES = ("distributed", "dask_jobqueue", "dask_kubernetes", "dask_cloudprovider", "dask_gateway", "dask_yarn")


class ClusterFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contents of a cluster file.

    `cluster`: Class, such as ``dask_jobqueue.SLURMCluster``; empty where `scheduler` is given.
    `options`: Its options; see the class's documentation.
    `scheduler`: Address of a running scheduler.
    `jobs`: Jobs (machines, pods) to ask for.
    `resources`: Of ``memory`` and ``gpu``: those that the workers announce (``worker_extra_args: ["--resources",
        "gpu=1"]``, memory in bytes) and that stages shall be counted against.
    `wait_seconds`: How long to wait for the first worker.
    """

    cluster: str = ""
    options: dict[str, Any] = {}
    scheduler: str = ""
    jobs: int = 1
    resources: tuple[str, ...] = ()
    wait_seconds: float = 3600.0


Place = tuple[Any, tuple[str, ...]]  # a connected `distributed.Client`, and the resources that its workers count


def read_cluster_file(path: Path) -> ClusterFile:
    """Read and check a cluster file.

    Raises HarnessError: Unknown keys, neither or both of `cluster` and `scheduler`, or a class of a package that is no
        Dask cluster's.
    """
    found = load_yaml(path, ClusterFile)
    if bool(found.cluster) == bool(found.scheduler):
        raise HarnessError(f"{path}: give either cluster (a class) or scheduler (an address)")
    if found.cluster and found.cluster.split(".")[0] not in PACKAGES:
        raise HarnessError(f"{path}: '{found.cluster}' is in none of {', '.join(PACKAGES)}")
    for name in found.resources:
        if name not in ("memory", "gpu"):
            raise HarnessError(f"{path}: resources are 'memory' and 'gpu', not '{name}'")
    if found.jobs < 1:
        raise HarnessError(f"{path}: at least one job is needed, not {found.jobs}")
    return found


@contextlib.contextmanager
def local_place(shares: Sequence[int], devices: Sequence[str]) -> Iterator[Place]:
    """Start Dask on this machine: a process for each worker, which is replaced when it is killed.

    A single worker is a thread of this process: one stage at a time needs no other process, and begins earlier.

    `shares`: Memory of each worker, bytes (`harness.run.resources.worker_shares`).
    `devices`: A GPU for each of the first workers, as CUDA_VISIBLE_DEVICES takes it.
    """
    import dask
    from distributed import Client, Nanny, Scheduler, Security, SpecCluster, Worker

    quiet_dask()
    settings = {
        # A stage counts the deaths of its workers; Dask would blame those that only waited there as well.
        "distributed.scheduler.allowed-failures": 2**31,
        # What Dask sets for the libraries of its workers is no business of the stages.
        "distributed.nanny.pre-spawn-environ": {"PYTHONHASHSEED": "random"},
        "distributed.comm.timeouts.connect": "60s",
        # What Dask measures of itself all the time takes a tenth of a core beside stages that use all of them.
        "distributed.worker.profile.enabled": False,
        "distributed.admin.tick.interval": "1s",
        "distributed.admin.system-monitor.interval": "5s",
    }
    options: dict[str, Any] = {"dashboard": False, "dashboard_address": "127.0.0.1:0"}
    own: dict[str, Any] = {"nthreads": 1, "memory_limit": 0}
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(settings))
        if len(shares) == 1:
            options |= {"protocol": "inproc://"}
            specifications = [{"cls": Worker, "options": options | own}]
        else:
            # Other users of this machine reach its ports too: only who has this run's certificate is let in.
            options |= {"protocol": "tls://", "host": "127.0.0.1", "security": Security.temporary()}
            own |= {"preload": ["harness.run.worker"]}
            specifications = []
            for share, device in itertools.zip_longest(shares, devices[: len(shares)]):
                has = {"resources": {"memory": float(share), "gpu": float(device is not None)}}
                sees = {"env": {"CUDA_VISIBLE_DEVICES": device}} if device is not None else {}
                specifications.append({"cls": Nanny, "options": options | own | has | sees})
            stack.enter_context(_without_main_script())
        scheduler = {"cls": Scheduler, "options": options}
        workers = dict(enumerate(specifications))
        cluster = stack.enter_context(SpecCluster(workers, scheduler, security=options.get("security")))
        client = stack.enter_context(Client(cluster))
        yield client, () if len(shares) == 1 else ("memory", "gpu") if devices else ("memory",)


@contextlib.contextmanager
def _without_main_script() -> Iterator[None]:
    """Keep worker processes from running the driver's own script, as Python's multiprocessing does in each."""
    main = vars(sys.modules["__main__"])
    kept = {name: main.get(name) for name in ("__file__", "__spec__")}
    main.update(dict.fromkeys(kept))
    try:
        yield
    finally:
        main.update(kept)


@contextlib.contextmanager
def cluster_place(path: Path) -> Iterator[Place]:
    """Start or join the cluster that a file describes, and wait for its first worker.

    Raises HarnessError: The cluster cannot be made, or no worker comes.
    Raises NotAvailableError: Its package is not installed.
    """
    from distributed import Client

    quiet_dask()
    about = read_cluster_file(path)
    with contextlib.ExitStack() as stack:
        if about.scheduler:
            try:
                client = stack.enter_context(Client(about.scheduler))
            except (OSError, ValueError) as error:
                raise HarnessError(f"{path}: the scheduler {about.scheduler} does not answer ({error})") from None
        else:
            cluster = stack.enter_context(_make(about, path))
            if about.jobs > 1 or not getattr(cluster, "workers", None):
                _scale(cluster, about.jobs)
            client = stack.enter_context(Client(cluster))
        try:
            client.wait_for_workers(1, timeout=about.wait_seconds)
        except TimeoutError:
            raise HarnessError(f"{path}: no worker came within {about.wait_seconds:g} s; look at the queue") from None
        yield client, about.resources


def job_script(path: Path) -> str:
    """Make the script that a cluster file's jobs would be submitted with; nothing is submitted.

    Raises HarnessError: The cluster cannot be made, or is of a kind that submits no scripts.
    """
    about = read_cluster_file(path)
    if not about.cluster:
        raise HarnessError(f"{path}: names a scheduler that runs already; it submits nothing")
    with _make(about, path) as cluster:
        if not callable(getattr(cluster, "job_script", None)):
            raise HarnessError(f"{path}: {about.cluster} submits no job scripts")
        return str(cluster.job_script())


def quiet_dask() -> None:
    """Keep Dask's own log lines out of a user's terminal."""
    for name in ("distributed", "distributed.worker", "distributed.scheduler", "distributed.nanny", "tornado"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "critical")


def _make(about: ClusterFile, path: Path) -> Any:
    module, _, name = about.cluster.rpartition(".")
    package = module.split(".")[0]
    handler = signal.getsignal(signal.SIGINT)
    try:
        kind = getattr(importlib.import_module(module), name)
    except ImportError:
        raise NotAvailableError(
            f"{path}: {package} is not installed; pip install {package.replace('_', '-')}"
        ) from None
    except AttributeError:
        raise HarnessError(f"{path}: {module} has no class '{name}'") from None
    finally:
        # dask_jobqueue lets Ctrl-C end the program, whatever it does at that moment.
        with contextlib.suppress(ValueError):  # not in the main thread: then it could not either
            signal.signal(signal.SIGINT, handler)
    try:
        return kind(**about.options)
    except Exception as error:  # each cluster package has its own
        raise HarnessError(f"{path}: {about.cluster} could not be made ({type(error).__name__}: {error})") from None


def _scale(cluster: Any, jobs: int) -> None:
    """Ask for jobs; a cluster without jobs has workers."""
    try:
        cluster.scale(jobs=jobs)
    except TypeError:
        cluster.scale(jobs)
