"""The processes of a run: one, or those that `torchrun` started (over GPUs or, for tests, over CPU processes)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed

from harness.errors import HarnessError

Shared = TypeVar("Shared")


class World:
    """Rank, number of processes, device; and the few things that processes say to each other."""

    def __init__(self, rank: int, size: int, device: torch.device, first_here: bool = True) -> None:
        self.rank, self.size, self.device = rank, size, device
        # The first process of its machine.
        self.first_here = first_here

    @property
    def first(self) -> bool:
        """Whether this process writes files and speaks to the user."""
        return self.rank == 0

    def barrier(self) -> None:
        """Wait for every process."""
        if self.size > 1:
            distributed.barrier()

    def mean(self, value: Tensor) -> Tensor:
        """Mean of a value over the processes."""
        if self.size > 1:
            value = value.clone()
            distributed.all_reduce(value)
            value /= self.size
        return value

    def decide(self, flag: bool) -> bool:
        """Return the first process's decision in every process."""
        if self.size == 1:
            return flag
        value = torch.tensor([float(flag)], device=self.device)
        distributed.broadcast(value, 0)
        return bool(value.item())

    def of_the_first(self, make: Callable[[], Shared]) -> Shared:
        """Call a function in the first process alone; return its result, or raise its error, in every process."""
        if self.size == 1:
            return make()
        found: tuple[Shared | None, str] = (None, "")
        failed: HarnessError | None = None
        if self.first:
            try:
                found = (make(), "")
            except HarnessError as error:
                failed, found = error, (None, str(error))
        values = [found]
        distributed.broadcast_object_list(values, 0)
        value, failure = values[0]
        if failure:
            raise failed or HarnessError(failure)
        return cast(Shared, value)

    def once_a_machine(self, make: Callable[[], object]) -> None:
        """Call a function in one process of each machine: its disk may be its own. Nobody waits for one that is gone.

        Raises HarnessError: It failed anywhere; in every process.
        """
        failed: HarnessError | None = None
        if self.first_here:
            try:
                make()
            except HarnessError as error:
                failed = error
        if self.size > 1:
            messages: list[str | None] = [None] * self.size
            distributed.all_gather_object(messages, str(failed or ""))
            others = [f"process {rank}: {message}" for rank, message in enumerate(messages) if message]
            if others and failed is None:
                raise HarnessError(others[0])
        if failed is not None:
            raise failed

    def share(self, batch: int, accumulate: int) -> list[range]:
        """Split a batch's places into the parts that this process computes one after the other.

        Raises HarnessError: The batch cannot be split evenly: the mean over the parts would be another loss.
        """
        parts = self.size * accumulate
        if batch % parts:
            raise HarnessError(
                f"a batch of {batch} cannot be split evenly over {self.size} processes in {accumulate} parts each; "
                "choose numbers whose product divides it"
            )
        size = batch // parts
        begin = self.rank * accumulate
        return [range((begin + i) * size, (begin + i + 1) * size) for i in range(accumulate)]


@contextmanager
def world(device: str = "") -> Iterator[World]:
    """Open the world of this process: what torchrun says in the environment, or one process.

    `device`: ``cpu``, ``cuda``; empty: the GPU where there is one.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    if device not in ("", "cpu", "cuda"):
        raise HarnessError(f"device is cpu or cuda (and with --plan h100, a100 or rtx4090), not '{device}'")
    if device == "cuda" and not torch.cuda.is_available():
        raise HarnessError("no CUDA device is here; train with --device cpu")
    chosen = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    if size == 1:
        yield World(0, 1, chosen)
        return
    # The others wait while one fetches a training set, which may take hours.
    waiting = timedelta(days=1)
    backend, store = "nccl" if chosen.type == "cuda" else "gloo", _store_of_this_start(size, waiting)
    if store is None:
        distributed.init_process_group(backend, timeout=waiting)
    else:
        distributed.init_process_group(backend, timeout=waiting, store=store, rank=rank, world_size=size)
    try:
        yield World(rank, size, chosen, os.environ.get("LOCAL_RANK", "0") == "0")
    finally:
        distributed.destroy_process_group()


def _store_of_this_start(size: int, waiting: timedelta) -> Any:
    """Connect to torchrun's store under names of this start of a group; None where torch connects by itself.

    torchrun starts a group again on the store that it had: a process may find there the address of one that was killed,
    before its successor has written its own. Over several machines the numbers of starts may differ, so torch's way
    stays.
    """
    environment = os.environ
    if environment.get("TORCHELASTIC_USE_AGENT_STORE") != "True" or environment.get("GROUP_WORLD_SIZE") != "1":
        return None
    host, port = environment["MASTER_ADDR"], int(environment["MASTER_PORT"])
    from torch.distributed import TCPStore  # type: ignore[attr-defined]
    from torch.distributed.distributed_c10d import PrefixStore

    store = TCPStore(host, port, size, is_master=False, timeout=waiting)
    return PrefixStore(f"start-{environment.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)
