"""The processes of a run: one, or those that `torchrun` started (over GPUs or, for tests, over CPU processes)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed

from harness.errors import HarnessError


class World:
    """Rank, number of processes, device; and the few things that processes say to each other."""

    def __init__(self, rank: int, size: int, device: torch.device) -> None:
        self.rank, self.size, self.device = rank, size, device

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

    def first_does(self, failure: str) -> None:
        """Pass on whether the first process failed (its message, or empty): nobody waits for one that is gone."""
        if self.size == 1:
            return
        messages = [failure]
        distributed.broadcast_object_list(messages, 0)
        if messages[0] and not self.first:
            raise HarnessError(messages[0])

    def share(self, batch: int, accumulate: int) -> list[range]:
        """Split a batch's places into the parts that this process computes one after the other.

        Raises
        ------
        HarnessError
            The batch cannot be split evenly: the mean over the parts would be another loss.
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

    Parameters
    ----------
    device : str
        ``cpu``, ``cuda``; empty: the GPU where there is one.
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
    distributed.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    try:
        yield World(rank, size, chosen)
    finally:
        distributed.destroy_process_group()
