"""Computing a network by onnxruntime on a CPU, for the policies whose names end in ``onnx1``."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from harness.errors import HarnessError
from harness.inference.graphs import (
    SIZES,
    TOLERANCE,
    TRACED,
    as_module,
    difference,
    frozen,
    networks_of,
    session,
    traced,
    versions,
    write_onnx,
)

Run = Callable[[Tensor], Tensor]

# For each network where its weights come from, and what runs it by the number of channels.
_SESSIONS: WeakKeyDictionary[Callable[..., Any], tuple[object, dict[int, Run]]] = WeakKeyDictionary()


def on_onnxruntime(function: Callable[..., Any]) -> Run:
    """Have a network of convolutions computed by onnxruntime.

    It is written as ONNX in memory at the first image, and compared with torch on images of several sizes. What differs
    for another size, as attention over patches does, is refused.

    Parameters
    ----------
    function : callable
        A network that is ready, or a function of tensors around one, on the CPU.

    Returns
    -------
    callable
        ``(B, C, H, W)`` float32 in [0, 1] to ``(B, C', scale H, scale W)`` in the same units, within ``TOLERANCE`` of
        what torch gives. It is made once for a network and its weights.

    Raises
    ------
    NotAvailableError
        onnx or onnxruntime is not installed; or the network has no weights.
    HarnessError
        By the returned function: the network cannot be computed this way.
    """
    versions("onnx", "onnxruntime")
    origin = getattr(function, "weights_origin", None)
    if function not in _SESSIONS or _SESSIONS[function][0] != origin:
        _SESSIONS[function] = origin, {}
    sessions = _SESSIONS[function][1]

    def run(images: Tensor) -> Tensor:
        channels = images.shape[1]
        if channels not in sessions:
            sessions[channels] = _session(function, channels)
        return sessions[channels](images)

    return run


def _session(function: Callable[..., Any], channels: int) -> Run:
    network = as_module(function)
    cannot = "onnxruntime cannot take the network's place (the policies with onnx1 are for networks of convolutions): "
    for found in networks_of(function):
        if any("kernel" in module.__dict__ for module in found.modules()):
            raise HarnessError(f"{cannot}{type(found).__name__} attends")
    draw = torch.Generator().manual_seed(1)
    images = [torch.rand(batch, channels, *sides, generator=draw) for batch, *sides in SIZES]
    program = io.BytesIO()
    with torch.inference_mode(False), torch.no_grad(), frozen(function):
        expected = [network(image).clone() for image in images]
        try:
            image = torch.rand(1, channels, *TRACED, generator=draw)
            write_onnx(traced(network, function, image, True, fixed=False), program, images[0], fixed=False)
            run = session(program.getvalue(), torch.get_num_threads())
            found_images = [run(image) for image in images]
        except Exception as error:
            first = next(iter(str(error).strip().splitlines()), "")
            raise HarnessError(f"{cannot}{type(error).__name__}: {first[:200]}") from None
    for own, other in zip(expected, found_images, strict=True):
        worst = difference(own, other)
        if not worst <= TOLERANCE:
            size = f"{own.shape[-1]}x{own.shape[-2]}"
            raise HarnessError(f"{cannot}a result of {size} differs by {worst:.2g}, more than {TOLERANCE:g}")
    return run
