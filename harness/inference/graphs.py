"""A network as a program of its operations, which other programs can run: traced, as ONNX, and by onnxruntime."""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, nn

from harness.errors import NotAvailableError, missing_package
from harness.inference.sizes import whole
from harness.networks.checkpoints import require_ready
from harness.networks.ranges import from_network, to_network

TOLERANCE = 1e-5
"""Largest difference, in units of [0, 1], between what a program gives and what the network gives."""

OPSET = 17
"""Version of ONNX's operators: the oldest with layer normalisation, which any runtime since 2022 knows."""

# (batch, height, width): square and not, even and odd, and not the (height, width) that is traced.
SIZES = ((1, 48, 48), (2, 40, 52), (1, 61, 35), (1, 80, 66))
TRACED = (37, 45)


def versions(*names: str) -> dict[str, str]:
    """Import packages and return their versions.

    Raises
    ------
    NotAvailableError
        One is not installed.
    """
    try:
        return {name: str(import_module(name).__version__) for name in names}
    except ImportError as error:
        raise NotAvailableError(
            f"the package '{error.name}' is not installed; pip install 'restoration-harness[onnx]'",
            missing_package(error),
        ) from None


def as_module(restore: Callable[..., Any]) -> nn.Module:
    """Make a module of what a method restores with: images in [0, 1] to images in [0, 1]."""
    if isinstance(restore, nn.Module):
        require_ready(restore)

    class Whole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = restore if isinstance(restore, nn.Module) else None

        def forward(self, images: Tensor) -> Tensor:
            if self.network is None:
                restored: Tensor = restore(images)
                return restored
            return from_network(self.network, whole(self.network, to_network(self.network, images)))

    return Whole().eval()


def networks_of(restore: Any) -> Iterator[nn.Module]:
    """Find the networks that a callable holds: itself, or in what it is bound to, closed over or made from."""
    waiting, seen = [restore], set()
    while waiting:
        found = waiting.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        if isinstance(found, nn.Module):
            yield found
        elif isinstance(found, list | tuple):
            waiting += found
        elif isinstance(found, dict):
            waiting += found.values()
        elif isinstance(found, functools.partial):
            waiting += [found.func, *found.args, *found.keywords.values()]
        elif isinstance(found, FunctionType | MethodType):
            waiting += [getattr(found, "__self__", None), *(cell.cell_contents for cell in found.__closure__ or ())]


def difference(own: Tensor, other: Tensor) -> float:
    """Largest difference between what a network and what its program gave; infinite where the sizes differ."""
    return float((own - other).abs().max()) if own.shape == other.shape else math.inf


@contextmanager
def frozen(restore: Callable[..., Any]) -> Iterator[None]:
    """Take the gradients of a callable's networks off for a while: in a program their weights are constants."""
    learnt = [p for each in networks_of(restore) for p in each.parameters() if p.requires_grad]
    try:
        for parameter in learnt:
            parameter.requires_grad_(False)
        yield
    finally:
        for parameter in learnt:
            parameter.requires_grad_()


def traced(network: nn.Module, restore: Callable[..., Any], image: Tensor, onnx: bool, *, fixed: bool) -> Any:
    """Write down the operations on an image; `fixed` for its size alone, whatever Python computes with that."""
    for each in networks_of(restore):
        for module in each.modules():
            # As the papers write it: the streamed forms are loops over tiles, of which a file would hold every turn.
            if "kernel" in module.__dict__:
                module.kernel = "direct"  # type: ignore[assignment]
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of sizes; whether they matter the comparison finds out
        if fixed:
            from torch.fx.experimental.proxy_tensor import make_fx

            table = _decompositions() if onnx else {}
            network = make_fx(torch.func.functionalize(network), decomposition_table=table)(image)
        return torch.jit.trace(network, image, check_trace=False)


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """Say what operations consist of that torch's ONNX exporter does not know, or takes for others."""
    from torch._decomp import get_decompositions

    a = torch.ops.aten

    def pool(x: Tensor, kernel: list[int], stride: Any = (), pad: Any = 0, ceil: bool = False, *rest: Any) -> Any:
        divisor = rest[1] if len(rest) > 1 else None
        if divisor is None:
            return NotImplemented
        # The exporter drops the divisor without a word.
        area = kernel[0] * kernel[-1] if len(kernel) > 1 else kernel[0] ** 2
        return a.avg_pool2d.default(x, kernel, stride, pad, ceil, True) * (area / divisor)

    found: dict[Any, Callable[..., Any]] = dict(
        get_decompositions([a._prelu_kernel, a._softmax, a.im2col, a.upsample_bicubic2d])
    )
    found[a.avg_pool2d.default] = pool
    found[a._unsafe_view.default] = a.view.default
    found[a._unsafe_index.Tensor] = a.index.Tensor
    # ONNX's own order of equal values is the stable one.
    found[a.sort.stable] = lambda x, stable=None, dim=-1, descending=False: a.sort.default(x, dim, descending)
    return found


def write_onnx(made: Any, to: Any, image: Tensor, *, fixed: bool) -> None:
    """Write what was traced to a path or a stream as ONNX, for an image's size alone where that is `fixed`."""
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            made,
            (image,),
            to,
            input_names=["input"],
            output_names=["output"],
            dynamic_axes=None if fixed else {"input": axes, "output": axes},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter needs onnxscript, and fixes each size that Python computes with
        )


def session(program: str | bytes, threads: int = 0) -> Callable[[Tensor], Tensor]:
    """Read an ONNX file, or what would be in one, and return what runs it; 0 threads are as many as there are cores."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    made = onnxruntime.InferenceSession(program, options, providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(made.run(None, {"input": image.contiguous().numpy()})[0])
