"""What a method's `build` returns, for those who want to count or measure it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import HarnessError, NotAvailableError
from harness.methods import Method, build_method
from harness.records.cost import Cost
from harness.records.tasks import Task
from harness.records.tasks import task as task_of
from harness.run.cost import SIDE


def first_built(method: Method, task: Task) -> tuple[Callable[[Any], Any], int]:
    """Build a method at the first level of a task that can be built; gives what it returned, and the level.

    Raises NotAvailableError: Nothing that it needs is here.
    """
    dataset = next(iter(method.weights_for), "")
    told: NotAvailableError | None = None
    for level in task.levels:
        try:
            return build_method(method, task.name, level, dataset), level
        except NotAvailableError as missing:
            # A missing file says more than that there is no model for a level.
            told = missing if told is None or (missing.missing and missing.missing.file) else told
    raise told or NotAvailableError(f"{task.title} has no level")


def built_cost(method: Method, task_name: str) -> Cost:
    """Count the networks in what a method builds, and the multiply-adds of an input of `SIDE` pixels a side.

    Raises HarnessError: There is no torch network in it, or what it needs is not here.
    """
    import torch

    from harness.networks.measure import conditioned, counted, networks_in, total_parameters

    task = task_of(task_name)
    function, level = first_built(method, task)
    networks = networks_in(function)
    if not networks:
        raise HarnessError(f"there is no torch network in what '{method.name}' builds")
    for network in networks:
        network.eval()
    apply = conditioned(function, 0.1) if isinstance(function, torch.nn.Module) else function
    try:
        macs = counted(apply, torch.zeros(1, task.channels, SIDE, SIDE))
    except Exception as error:  # another device or size than it takes
        raise HarnessError(f"'{method.name}' cannot be counted: {type(error).__name__}: {error}") from None
    return Cost(task.name, level, total_parameters(networks), macs, SIDE)
