"""What a method's network costs, as a record and as a file."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.errors import HarnessError
from harness.files import write_json
from harness.records.loading import load_json


class Cost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a network costs for one task.

    `task`: Task; its level is the first.
    `parameters`: Parameters, the mean-shift constants included where the network has them.
    `multiply_adds`: Of one input of `side` by `side` pixels; attention as the papers write it.
    """

    task: str
    level: int
    parameters: int
    multiply_adds: int
    side: int


class CostRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Costs of a method's network, by task."""

    method: str
    costs: tuple[Cost, ...]

    def of(self, task: str) -> Cost:
        """Find the cost for a task."""
        for cost in self.costs:
            if cost.task == task:
                return cost
        raise HarnessError(f"no cost of '{self.method}' was counted for '{task}'")


def cost_file(work: Path, method: str) -> Path:
    """Path of a method's cost record."""
    return work / "cost" / f"{method}.json"


def write_cost(work: Path, record: CostRecord) -> None:
    """Write a record."""
    write_json(cost_file(work, record.method), record)


def read_cost(work: Path, method: str) -> CostRecord | None:
    """Read a record; None where the stage has not run."""
    path = cost_file(work, method)
    return load_json(path, CostRecord) if path.is_file() else None
