"""Describing a method: what it is, what its network costs, and what one inference takes on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from harness.errors import HarnessError
from harness.methods import Method
from harness.records.tasks import task as task_of
from harness.run.cost import SIDE


def describe_method(
    method: Method, task_name: str, size: tuple[int, int] | None, measure: bool
) -> Iterator[tuple[str, str]]:
    """Describe a method, fact by fact.

    Parameters
    ----------
    method : Method
        The method.
    task_name : str
        Task to count and measure for.
    size : (int, int) or None
        Height and width in pixels of the input for multiply-adds, tiles, time and memory; None for 96x96, or the next
        that the network accepts.
    measure : bool
        Whether to run it (with random weights where it has none: they do not change time or memory).

    Yields
    ------
    (str, str)
        Name of a fact, and the fact.
    """
    task = task_of(task_name)
    level = task.levels[0]
    yield "method", f"{method.title} ({method.name})"
    if method.paper:
        yield "paper", f"{method.paper}{f', {method.url}' if method.url else ''}"
    yield "tasks", ", ".join(method.tasks)
    yield "weights", ", ".join(method.weights) or {"none": "none", "released": "released images"}.get(method.origin, "")
    for dataset, model in method.weights_for.items():
        yield f"on {dataset}", model
    yield "policy", method.policy
    if method.network is None and method.rgb_range is not None:
        yield "range", _range(method.rgb_range)
    if method.source_file is not None:
        yield "file", str(method.source_file)
    if method.network is None:
        return
    import torch

    from harness.networks.measure import accepted_side, measure_inference, multiply_adds, parameter_count
    from harness.networks.ranges import rgb_range

    with torch.device("meta"):
        network = method.network(task_name, level)
    yield "range", _range(rgb_range(network))
    height, width = size or (accepted_side(network, SIDE),) * 2
    shape = (1, task.channels, height, width)
    yield "parameters", f"{parameter_count(network):,}"
    yield (
        "multiply-adds",
        f"{multiply_adds(network, shape) / 1e9:,.1f} G for {height}x{width} (attention as in the paper)",
    )
    rule = method.chop.get(task_name)
    if rule:
        from harness.inference.chop import chop_rule, tile_shape

        count, tile_height, tile_width = tile_shape(chop_rule(rule), height, width, task.scale(level))
        yield "tiles", f"{count} of {tile_height}x{tile_width} under the rule {rule}"
    if measure:
        yield from _measured(method, task_name, level, shape, measure_inference)


def _range(largest: float) -> str:
    return f"0..{largest:g}" + ("" if largest == 1 else ", converted from and to [0, 1] around the network")


def _measured(
    method: Method, task_name: str, level: int, shape: tuple[int, ...], measure_inference: Any
) -> Iterator[tuple[str, str]]:
    import torch

    from harness.inference.chop import chop, chop_rule
    from harness.inference.policies import policy, whole

    device = "cuda" if torch.cuda.is_available() else "cpu"
    if method.network is None:
        raise HarnessError(f"method '{method.name}' names no network")
    torch.manual_seed(0)
    network = method.network(task_name, level).to(device).eval()
    scale = task_of(task_name).scale(level)
    tiled = policy(method.policy).tiled

    def run(batch: Any) -> Any:
        if tiled:
            tiling = chop_rule(method.chop[task_name])
            return chop(lambda tiles: whole(network, tiles), batch, tiling, scale)
        return whole(network, batch)

    cost = measure_inference(run, shape, device, 1)
    where = cost.device if device == "cuda" else f"CPU, {cost.threads} threads"
    yield "time", f"{cost.seconds:.2f} s for {shape[2]}x{shape[3]} under '{method.policy}' ({where})"
    if cost.peak_bytes is not None:
        yield "peak memory", f"{cost.peak_bytes / 2**20:,.0f} MiB beside the weights"
