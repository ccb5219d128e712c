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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError, NotAvailableError
from harness.records.loading import load_yaml

# Packages a cluster may come from: a name in a YAML file must not import just anything.
PACKAGES = ("distributed", "dask_jobqueue", "dask_kubernetes", "dask_cloudprovider", "dask_gateway", "dask_yarn")

_INSTALL = {name: name.replace("_", "-") for name in PACKAGES}


class ClusterFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contents of a cluster file.

    Attributes
    ----------
    cluster : str
        Class, such as ``dask_jobqueue.SLURMCluster``; empty where `scheduler` is given.
    options : dict
        Its options; see the class's documentation.
    scheduler : str
        Address of a running scheduler.
    jobs : int
        Jobs (machines, pods) to ask for.
    resources : tuple of str
        Of ``memory`` and ``gpu``: those that the workers announce (``worker_extra_args: ["--resources", "gpu=1"]``,
        memory in bytes) and that stages shall be counted against.
    wait_seconds : float
        How long to wait for the first worker.
    """

    cluster: str = ""
    options: dict[str, Any] = {}
    scheduler: str = ""
    jobs: int = 1
    resources: tuple[str, ...] = ()
    wait_seconds: float = 3600.0


class Executor(msgspec.Struct, frozen=True):
    """Where stages run.

    Attributes
    ----------
    client : distributed.Client
        Connected.
    resources : tuple of str
        Resources that are counted.
    local : bool
        Whether it is this process's own machine.
    """

    client: Any
    resources: tuple[str, ...]
    local: bool


def read_cluster_file(path: Path) -> ClusterFile:
    """Read and check a cluster file.

    Raises
    ------
    HarnessError
        Unknown keys, neither or both of `cluster` and `scheduler`, or a class of a package that is no Dask cluster's.
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
def local_place(jobs: int, memory: int, gpu_slots: int) -> Iterator[Executor]:
    """Start Dask in this process, with one thread a job.

    Parameters
    ----------
    jobs : int
        Stages at a time.
    memory : int
        Bytes that they may take together.
    gpu_slots : int
        Stages that may use a GPU at a time.
    """
    import dask
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.worker.daemon": False, "distributed.comm.timeouts.connect": "60s"})
    options: dict[str, Any] = {
        "n_workers": 1,
        "threads_per_worker": jobs,
        "processes": False,
        "memory_limit": 0,  # the stages' memory is not Dask's; it is counted as a resource
        "dashboard_address": "127.0.0.1:0",
        "resources": {"memory": float(memory), "gpu": float(gpu_slots)},
    }
    with LocalCluster(**options) as cluster, Client(cluster) as client:  # type: ignore[no-untyped-call]
        yield Executor(client, ("memory", "gpu"), local=True)


@contextlib.contextmanager
def cluster_place(path: Path) -> Iterator[Executor]:
    """Start or join the cluster that a file describes, and wait for its first worker.

    Raises
    ------
    HarnessError
        The cluster cannot be made, or no worker comes.
    NotAvailableError
        Its package is not installed.
    """
    from distributed import Client

    about = read_cluster_file(path)
    with contextlib.ExitStack() as stack:
        if about.scheduler:
            try:
                client = stack.enter_context(Client(about.scheduler))  # type: ignore[no-untyped-call]
            except (OSError, ValueError) as error:
                raise HarnessError(f"{path}: the scheduler {about.scheduler} does not answer ({error})") from None
        else:
            cluster = stack.enter_context(_make(about, path))
            scale = getattr(cluster, "scale", None)
            if about.jobs > 1 or not getattr(cluster, "workers", None):
                _scale(scale, about.jobs)
            client = stack.enter_context(Client(cluster))  # type: ignore[no-untyped-call]
        try:
            client.wait_for_workers(1, timeout=about.wait_seconds)
        except TimeoutError:
            raise HarnessError(f"{path}: no worker came within {about.wait_seconds:g} s; look at the queue") from None
        yield Executor(client, about.resources, local=False)


def job_script(path: Path) -> str:
    """Make the script that a cluster file's jobs would be submitted with; nothing is submitted.

    Raises
    ------
    HarnessError
        The cluster cannot be made, or is of a kind that submits no scripts.
    """
    about = read_cluster_file(path)
    if not about.cluster:
        raise HarnessError(f"{path}: names a scheduler that runs already; it submits nothing")
    with _make(about, path) as cluster:
        if not callable(getattr(cluster, "job_script", None)):
            raise HarnessError(f"{path}: {about.cluster} submits no job scripts")
        return str(cluster.job_script())


def _make(about: ClusterFile, path: Path) -> Any:
    module, _, name = about.cluster.rpartition(".")
    package = module.split(".")[0]
    try:
        kind = getattr(importlib.import_module(module), name)
    except ImportError:
        raise NotAvailableError(f"{path}: {package} is not installed; pip install {_INSTALL[package]}") from None
    except AttributeError:
        raise HarnessError(f"{path}: {module} has no class '{name}'") from None
    try:
        return kind(**about.options)
    except Exception as error:  # each cluster package has its own
        raise HarnessError(f"{path}: {about.cluster} could not be made ({type(error).__name__}: {error})") from None


def _scale(scale: Any, jobs: int) -> None:
    """Ask for jobs; a cluster without jobs has workers."""
    if scale is None:
        return
    try:
        scale(jobs=jobs)
    except TypeError:
        scale(jobs)
