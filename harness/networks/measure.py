"""What a network costs: parameters, multiply-adds, time and peak memory of one inference."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import functools
import inspect
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.networks.patch_attention import KERNELS


class InferenceCost(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Measured cost of one inference.

    Attributes
    ----------
    seconds : float
        Shortest wall-clock time of the repetitions, in seconds.
    peak_bytes : int or None
        Largest memory beside what was held before, in bytes: the CUDA allocator's on a GPU, the process's
        resident set on Linux, None elsewhere.
    device : str
        ``cpu`` or the GPU's name.
    threads : int
        CPU threads that torch used.
    """

    seconds: float
    peak_bytes: int | None
    device: str
    threads: int


def parameter_count(network: nn.Module) -> int:
    """Count a network's parameters, a shared one once; constants that are stored as parameters count too.

    The mean shifts of the EDSR family are such constants (24 numbers): the papers' counts include them.
    """
    return sum(parameter.numel() for parameter in network.parameters())


def multiply_adds(network: nn.Module, input_shape: tuple[int, ...], kernel: str = "direct") -> int:
    """Count the multiply-adds of all convolutions and matrix products of one forward pass.

    Nothing is computed: a copy of the network runs on torch's meta device. Activations, normalisations and
    other element-wise work do not count.

    Parameters
    ----------
    network : Module
        Any network, also one that is told a level (`conditioned`); it is not changed.
    input_shape : tuple of int
        ``(B, C, H, W)``.
    kernel : str
        Attention is counted as the papers write it (``"direct"``, the default); see ``patch_attention``.

    Returns
    -------
    int
        Multiply-adds (half the floating-point operations).
    """
    if kernel not in KERNELS:
        raise HarnessError(f"an attention kernel is {' or '.join(KERNELS)}, not '{kernel}'")
    twin = copy.deepcopy(network).to("meta").eval()
    for module in twin.modules():
        if getattr(module, "kernel", None) in KERNELS:
            module.kernel = kernel  # type: ignore[assignment]
    return counted(conditioned(twin, 0.1), torch.empty(input_shape, device="meta"))


def counted(function: Callable[[Tensor], Any], image: Tensor) -> int:
    """Count the multiply-adds of one call of any function of an image, as `multiply_adds` does, by running it.

    What a function keeps from torch (numpy, code of its own in C) is not seen.
    """
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        function(image)
    return counter.get_total_flops() // 2


def conditioned(network: nn.Module, level: float) -> Callable[[Tensor], Any]:
    """Make a function of the image alone of a network that is also told a level: a noise level, for example.

    Parameters
    ----------
    network : Module
        Its ``forward`` takes the image, and perhaps further values that have no default.
    level : float
        What to give for each of them: as a number, or as a tensor of the first of the shapes ``(B,)``, ``(B, 1)``,
        ``(B, 1, 1, 1)``, ``(B, 1, H, W)`` that the network takes.
    """
    try:
        given = list(inspect.signature(network.forward).parameters.values())[1:]
    except (TypeError, ValueError):
        return network
    wanted = [p for p in given if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if not wanted:
        return network

    def apply(image: Tensor) -> Any:
        batch, (height, width) = len(image), image.shape[-2:]
        shapes = ((batch,), (batch, 1), (batch, 1, 1, 1), (batch, 1, height, width))
        failed: Exception | None = None
        for value in (level, *(image.new_full(shape, level) for shape in shapes)):
            try:
                return network(image, *[value] * len(wanted))
            except Exception as error:  # each network fails in its own way on a form that it does not take
                failed = failed or error
        names = " and ".join(p.name for p in wanted)
        raise HarnessError(
            f"{type(network).__name__} also takes {names}, in another form than a number or a map; return a function "
            f"of the image alone from build ({type(failed).__name__}: {failed})"
        )

    return apply


# How deep a network may lie in what `build` returns: a closure around a partial of a method of an object …
_DEEPEST = 6


def networks_in(function: object) -> list[nn.Module]:
    """Find the networks that a callable applies: itself, what it closes over, its attributes, what a partial holds.

    Parameters
    ----------
    function : object
        What a method's ``build`` returned.

    Returns
    -------
    list of Module
        The outermost ones, each once.

    Examples
    --------
    >>> network = torch.nn.Conv2d(3, 3, 1)
    >>> networks_in(lambda image: network(image)) == networks_in(functools.partial(network)) == [network]
    True
    """
    found: dict[int, nn.Module] = {}
    seen: set[int] = set()
    todo: list[tuple[object, int]] = [(function, 0)]
    while todo:
        value, depth = todo.pop()
        if id(value) in seen or depth > _DEEPEST:
            continue
        seen.add(id(value))
        if isinstance(value, nn.Module):
            found[id(value)] = value
        else:
            todo += [(inner, depth + 1) for inner in _held_by(value)]
    inside = {id(part) for network in found.values() for part in network.modules() if part is not network}
    return [network for key, network in found.items() if key not in inside]


def _held_by(value: object) -> Iterator[object]:
    """Give what a callable, an object or a collection holds, as far as a network may lie there."""
    if isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif inspect.ismethod(value):
        yield from (value.__self__, value.__func__)
    elif inspect.isfunction(value):
        with contextlib.suppress(ValueError):  # a cell that is not filled yet
            yield from inspect.getclosurevars(value).nonlocals.values()
        names = value.__code__.co_names
        yield from (value.__globals__[name] for name in names if isinstance(value.__globals__.get(name), nn.Module))
        yield from (*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values())
    elif isinstance(value, Mapping):
        yield from value.values()
    elif isinstance(value, list | tuple):
        yield from value
    elif not isinstance(value, type | Tensor) and not inspect.ismodule(value):
        yield from getattr(value, "__dict__", {}).values()
        yield from (getattr(value, name) for name in _slots(type(value)) if hasattr(value, name))


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        slots = base.__dict__.get("__slots__", ())
        yield from (slots,) if isinstance(slots, str) else slots


def total_parameters(networks: Iterable[nn.Module]) -> int:
    """Count the parameters of several networks, one that they share once."""
    return sum({id(p): p.numel() for network in networks for p in network.parameters()}.values())


def measure_inference(
    network: Callable[[Tensor], Tensor],
    input_shape: tuple[int, ...],
    device: str | torch.device = "cpu",
    repeat: int = 3,
    dtype: torch.dtype = torch.float32,
) -> InferenceCost:
    """Measure time and peak memory of applying a network (or any function of a tensor) to a random input.

    Weights play no part, so an untrained network may be measured.

    Parameters
    ----------
    network : callable
        A network already on ``device``, or a function such as a tiled inference.
    input_shape : tuple of int
        ``(B, C, H, W)``.
    device : str
        Where the input is made.
    repeat : int
        Timed repetitions after one that warms up.
    dtype : dtype
        Of the input.
    """
    device = torch.device(device)
    x = torch.rand(input_shape, generator=torch.Generator().manual_seed(0)).to(device, dtype)

    def run() -> None:
        network(x)
        if device.type == "cuda":
            torch.cuda.synchronize(device)

    seconds = []
    with torch.inference_mode():
        run()
        peak = peak_memory(run, device)
        for _ in range(repeat):
            start = time.perf_counter()
            run()
            seconds.append(time.perf_counter() - start)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return InferenceCost(min(seconds), peak, name, torch.get_num_threads())


def peak_memory(run: Callable[[], object], device: str | torch.device = "cpu") -> int | None:
    """Return the largest memory that a call holds beside what was held before, in bytes, or None if unknown."""
    device = torch.device(device)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not (sys.platform == "linux" and status.exists()):
        run()
        return None
    with contextlib.suppress(OSError, AttributeError):
        # Freed pages that the allocator keeps would hide what the call needs.
        ctypes.CDLL(None).malloc_trim(0)
    try:
        reset.write_text("5")  # proc(5): sets the peak resident set back to the present one
    except OSError:
        run()
        return None
    before = _kibibytes(status, "VmRSS")
    run()
    return max(0, _kibibytes(status, "VmHWM") - before) * 1024


def _kibibytes(status: Path, field: str) -> int:
    for line in status.read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1])
    raise HarnessError(f"{status} has no {field}; memory cannot be measured here")


def accepted_side(network: nn.Module, side: int) -> int:
    """Round a height or width in pixels up to what a network accepts: a multiple of its ``size_multiple``, if any."""
    multiple = int(getattr(network, "size_multiple", 1))
    return -(-side // multiple) * multiple
