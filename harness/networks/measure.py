"""What a network costs: parameters, multiply-adds, time and peak memory of one inference."""

from __future__ import annotations

import contextlib
import copy
import ctypes
import sys
import time
from collections.abc import Callable
from pathlib import Path

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
        Any network; it is not changed.
    input_shape : tuple of int
        ``(B, C, H, W)``.
    kernel : str
        Attention is counted as the papers write it (``"direct"``, the default); see ``patch_attention``.

    Returns
    -------
    int
        Multiply-adds (half the floating-point operations).
    """
    from torch.utils.flop_counter import FlopCounterMode

    if kernel not in KERNELS:
        raise HarnessError(f"an attention kernel is {' or '.join(KERNELS)}, not '{kernel}'")
    twin = copy.deepcopy(network).to("meta").eval()
    for module in twin.modules():
        if getattr(module, "kernel", None) in KERNELS:
            module.kernel = kernel  # type: ignore[assignment]
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        twin(torch.empty(input_shape, device="meta"))
    return counter.get_total_flops() // 2


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
