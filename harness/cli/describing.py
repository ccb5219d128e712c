"""Describing a method: what it is, what its network costs, and what one inference takes on this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from harness.assets.weights.recording import recording
from harness.errors import HarnessError, NotAvailableError, plural
from harness.files import file_sha256
from harness.methods import Method
from harness.records.in_use import name_in_use
from harness.records.restored import OwnFile
from harness.records.tasks import Task
from harness.records.tasks import task as task_of
from harness.run.built import first_built
from harness.run.cost import SIDE

if TYPE_CHECKING:
    from harness.networks.measure import InferenceCost

Facts = Iterator[tuple[str, str]]

# A network that takes more multiply-adds than this is run on a CPU only for a size that was asked for: NLRN's windows
# take a quarter of an hour for 96x96.
_MOST_UNASKED = 10**12


def describe_method(method: Method, task_name: str, size: tuple[int, int] | None, measure: bool) -> Facts:
    """Describe a method, fact by fact.

    `task_name`: Task to count and measure for.
    `size`: Height and width in pixels of the input for multiply-adds, tiles, time and memory; None for 96x96, or the
        next that the network accepts.
    `measure`: Whether to run it (a network that it names with random weights: they do not change time or memory).
    Yields: Name of a fact, and the fact. What cannot be counted or measured is a fact, too.
    """
    task = task_of(task_name)
    level = task.levels[0]
    yield "method", f"{method.title} ({method.name})"
    if method.paper:
        yield "paper", f"{method.paper}{f', {method.url}' if method.url else ''}"
    yield "tasks", ", ".join(method.tasks)
    origin = "a file of your own" if method.depends and method.origin == "none" else ""
    yield (
        "weights",
        ", ".join(method.weights) or origin or {"none": "none", "released": "released images"}.get(method.origin, ""),
    )
    for dataset, model in method.weights_for.items():
        yield f"on {dataset}", model
    for path in method.depends:
        if path.is_file():
            yield "own file", f"{name_in_use(path)}, {OwnFile(file_sha256(path, ''), path.stat().st_size)}"
        else:
            yield "own file", f"{name_in_use(path)}, {'a folder' if path.is_dir() else 'not here'}"
    yield "policy", method.policy
    if method.network is None and method.rgb_range is not None:
        yield "range", _range(method.rgb_range)
    if method.source_file is not None:
        yield "file", str(method.source_file)
    if method.on == "images":
        yield "cost", "none here: its images were restored elsewhere"
    elif method.network is not None:
        yield from _named(method, method.network, task, level, size, measure)
    else:
        yield from _built(method, task, size or (SIDE, SIDE), measure)


def _named(
    method: Method,
    make: Callable[[str, int], Any],
    task: Task,
    level: int,
    size: tuple[int, int] | None,
    measure: bool,
) -> Facts:
    """Count the network that a method names; no weights are needed."""
    import torch

    from harness.inference.chop import chop, chop_rule, tile_shape
    from harness.inference.policies import policy
    from harness.inference.sizes import whole
    from harness.networks.measure import accepted_side, conditioned, measure_inference, multiply_adds, parameter_count
    from harness.networks.ranges import rgb_range

    try:
        try:
            with torch.device("meta"):
                network = make(task.name, level)
        except Exception:  # one that looks at its numbers while it is made
            network = make(task.name, level)
        yield "range", _range(rgb_range(network))
        height, width = size or (accepted_side(network, SIDE),) * 2
        shape = (1, task.channels, height, width)
        yield "parameters", f"{parameter_count(network):,}"
        macs = multiply_adds(network, shape)
    except HarnessError:
        raise
    except Exception as error:
        yield "not counted", _brief(error)
        return
    yield "multiply-adds", f"{_billions(macs)} for {_size(shape)} (attention as in the paper)"
    rule = method.chop.get(task.name)
    scale = task.scale(level)
    if rule:
        count, tile_height, tile_width = tile_shape(chop_rule(rule), height, width, scale)
        yield "tiles", f"{count} of {tile_width}x{tile_height} under the rule {rule}"
    if not measure:
        return
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if size is None and device == "cpu" and macs > _MOST_UNASKED:
        yield "not measured", "it would take minutes on this CPU; name a size with --size, such as 48x48"
        return
    torch.manual_seed(0)
    network = make(task.name, level).to(device).eval()
    apply: Any = conditioned(network, 0.1)

    def run(batch: Any) -> Any:
        if apply is not network:
            return apply(batch)
        if policy(method.policy).tiled:
            return chop(lambda tiles: whole(apply, tiles), batch, chop_rule(method.chop[task.name]), scale)
        return whole(apply, batch)

    yield from _measured(method, shape, lambda: measure_inference(run, shape, device, 1))


def _built(method: Method, task: Task, size: tuple[int, int], measure: bool) -> Facts:
    """Count and measure whatever a method's `build` returns."""
    try:
        with recording() as loaded:
            function, level = first_built(method, task)
    except NotAvailableError as missing:
        made = "; its network is made from its weights, so that there is none to count before" * bool(method.weights)
        yield "not counted", f"{missing}{made}"
        return
    import torch

    from harness.networks.measure import conditioned, counted, measure_inference, networks_in, total_parameters
    from harness.run.apply import array_restorer, tensor_restorer

    device = "cuda" if torch.cuda.is_available() else "cpu"
    networks = networks_in(function)
    for file in loaded:
        if file.part:
            yield "weights of", f"{file.file}: those under {file.part}"
    yield (
        "parameters",
        f"{total_parameters(networks):,}" if networks else "none: there is no torch network in what build returns",
    )
    for network in networks:
        network.to(device).eval()
    apply = conditioned(function, 0.1) if isinstance(function, torch.nn.Module) else function
    shape = (1, task.channels, *size)
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    if method.on == "tensor":
        try:
            yield "multiply-adds", f"{_billions(counted(apply, image.to(device)))} for {_size(shape)}, as it runs"
        except Exception as error:
            yield "not counted", _brief(error)
            return
    if not measure:
        return

    def restorer() -> Callable[[Any], Any]:
        if method.on == "array":
            return array_restorer(function, method.policy)
        scale = task.scale(level)

        def bounded(batch: Any) -> Any:
            # Whether weights are loaded, and what a network makes of noise, plays no part in time and memory.
            result = apply(batch)
            return result.nan_to_num().clamp(0, 1) if isinstance(result, torch.Tensor) else result

        return tensor_restorer(bounded, method.policy, method.chop.get(task.name, ""), scale)

    def measured() -> Any:
        restore, planes = restorer(), image[0].double().numpy() * 255
        array = planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0)
        return measure_inference(lambda _: restore(array), shape, device, 1)

    yield from _measured(method, shape, measured)


def _measured(method: Method, shape: tuple[int, ...], measured: Callable[[], InferenceCost]) -> Facts:
    try:
        cost = measured()
    except Exception as error:
        yield "not measured", _brief(error)
        return
    where = f"CPU, {plural(cost.threads, 'thread')}" if cost.device == "cpu" else cost.device
    yield (
        "time",
        f"{cost.seconds:.{2 if cost.seconds >= 0.1 else 4}f} s for {_size(shape)} under '{method.policy}' ({where})",
    )
    if cost.peak_bytes is not None:
        yield "peak memory", f"{cost.peak_bytes / 2**20:,.0f} MiB beside the weights"


def _brief(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, HarnessError) else f"{type(error).__name__}: {text}"


def _billions(macs: int) -> str:
    return f"{macs / 1e9:,.1f} G" if macs >= 1e9 else f"{macs / 1e6:,.1f} M"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[3]}x{shape[2]}"


def _range(largest: float) -> str:
    return f"0..{largest:g}" + ("" if largest == 1 else ", converted from and to [0, 1] around the network")
