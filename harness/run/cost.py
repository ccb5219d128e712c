"""Counting a network's parameters and multiply-adds."""

from __future__ import annotations

from harness.errors import HarnessError
from harness.methods import Method
from harness.records.cost import Cost, CostRecord

# Multiply-adds are counted for one input of this size, or the next that the network accepts; the papers give none.
SIDE = 96


def count_parameters(method: Method, task_name: str) -> int:
    """Count the parameters of a method's network for a task, at the task's first level; nothing is computed.

    Raises
    ------
    HarnessError
        The method has no network.
    """
    import torch

    from harness.networks.measure import parameter_count
    from harness.records.tasks import task as task_of

    if method.network is None:
        raise HarnessError(f"method '{method.name}' names no network, so there is nothing to count")
    with torch.device("meta"):
        return parameter_count(method.network(task_name, task_of(task_name).levels[0]))


def count_cost(method: Method) -> CostRecord:
    """Count a method's network for every task at the task's first level.

    Raises HarnessError: The method has no network.
    """
    import torch

    from harness.networks.measure import accepted_side, multiply_adds, parameter_count
    from harness.records.tasks import task as task_of

    if method.network is None:
        raise HarnessError(f"method '{method.name}' names no network, so there is nothing to count")
    costs = []
    for name in method.tasks:
        task = task_of(name)
        level = task.levels[0]
        # On the meta device nothing is allocated or computed.
        with torch.device("meta"):
            network = method.network(name, level)
        side = accepted_side(network, SIDE)
        macs = multiply_adds(network, (1, task.channels, side, side))
        costs.append(Cost(name, level, parameter_count(network), macs, side))
    return CostRecord(method.name, tuple(costs))
