"""Networks with their weights as files that other programs run: ONNX and TorchScript.

A file takes and gives what a method does: float32 ``(B, C, H, W)`` in [0, 1]. The range that the network works in, the
padding to sizes that it takes, and what it is told beside the image (a noise level) are inside. Before a file takes its
name, it is read back and run on images of several sizes beside the network itself.
"""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.assets.weights.recording import recording
from harness.errors import CheckFailedError, HarnessError, InvalidArgumentError, NotAvailableError, missing_package
from harness.files import file_sha256, whole_file, write_json
from harness.methods import Method, build_method
from harness.records.tasks import task as task_of

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMS = (".onnx", ".pt")

TOLERANCE = 1e-5
"""Largest difference, in units of [0, 1], between what a file gives and what the network gives."""

OPSET = 17
"""Version of ONNX's operators: the oldest with layer normalisation, which any runtime since 2022 knows."""

# (batch, height, width): square and not, even and odd, and not the (height, width) that is traced.
SIZES = ((1, 48, 48), (2, 40, 52), (1, 61, 35), (1, 80, 66))
TRACED = (37, 45)


class NetworkFile(msgspec.Struct, frozen=True):
    """What a file holds, and what it was held to; beside it as ``FILE.json``, and inside it.

    Attributes
    ----------
    method, task, level : str, str, int
        What it restores.
    weights : tuple of dict
        Set, file and SHA-256 of all that was loaded.
    input, output : str
        What it takes and gives.
    size : tuple of int or None
        Height and width of the only size that it takes; None for any.
    opset : int
        Version of ONNX's operators; 0 for TorchScript.
    versions : dict
        Packages that made and ran it.
    difference : float
        Largest difference from the network, in units of [0, 1].
    compared : tuple of (int, int, int)
        Batch, height and width of the images on which it was found.
    paper, licence, url : str
        Of the method.
    sha256 : str
        Of the file; empty inside it.
    """

    method: str
    task: str
    level: int
    weights: tuple[dict[str, str], ...]
    input: str
    output: str
    size: tuple[int, int] | None
    opset: int
    versions: dict[str, str]
    difference: float
    compared: tuple[tuple[int, int, int], ...]
    paper: str
    licence: str
    url: str
    sha256: str = ""


def export_network(
    method: Method, task: str, level: int, path: Path, size: tuple[int, int] | None = None, dataset: str = ""
) -> NetworkFile:
    """Write a method's network with its weights as ``.onnx`` or ``.pt``.

    Parameters
    ----------
    method : Method
        One whose callable takes tensors; its weights are here.
    task, level : str, int
        What it restores.
    path : path
        The file; its ending is its form.
    size : (int, int), optional
        Height and width of the only images that it will take, one at a time. Attention over patches, and whatever
        else computes another program for another size, can be exported for one size alone.
    dataset : str
        For a method with a model for each set.

    Raises
    ------
    NotAvailableError
        The weights or a package are not here.
    CheckFailedError
        The file gives other results than the network, or cannot be made; the reason is said and nothing is written.
    """
    import torch

    if path.suffix not in FORMS:
        raise InvalidArgumentError(f"{path}: a network's file ends in .onnx (ONNX) or .pt (TorchScript)")
    if method.on != "tensor":
        raise HarnessError(f"'{method.name}' works on {method.on}s: it is no network, and there is nothing to export")
    onnx = path.suffix == ".onnx"
    versions = _versions("torch", *(("onnx", "onnxruntime") if onnx else ()))
    with recording() as used:
        restore = build_method(method, task, level, dataset)
    network = _whole(restore)
    channels, seed = task_of(task).channels, torch.Generator().manual_seed(1)
    sizes = ((1, *size),) * 2 if size else SIZES
    images = [torch.rand(batch, channels, *sides, generator=seed) for batch, *sides in sizes]
    with torch.no_grad():
        # Before the attention takes another form: the file is held to what the method gives.
        expected = [network(image).clone() for image in images]
    what = f"{method.name}, {task} at level {level}"
    count, rows, columns = (1, *size) if size else ("B", "H", "W")
    advice = "" if size else "; its program may depend on the image's size: --size 48x48 exports it for one size"
    about = NetworkFile(
        method=method.name,
        task=task,
        level=level,
        weights=tuple({"set": each.name, "file": each.file, "sha256": each.sha256} for each in used),
        input=f"float32 ({count}, {channels}, {rows}, {columns}), samples in 0..1",
        output=f"float32 ({count}, C, {rows}, {columns}), or times the scale; samples in 0..1, not clipped",
        size=size,
        opset=OPSET if onnx else 0,
        versions=versions,
        difference=0.0,
        compared=tuple(dict.fromkeys(sizes)),
        paper=method.paper,
        licence=method.licence,
        url=method.url,
    )
    with whole_file(path) as part:
        try:
            image = torch.rand(1, channels, *(size or TRACED), generator=seed)
            made = _traced(network, restore, image, onnx, fixed=bool(size))
            _write(made, part, images[0], onnx, fixed=bool(size))
            run = _reader(part, onnx)
            found = [run(image) for image in images]
        except OSError:
            raise  # of the disk
        except Exception as error:
            first = next(iter(str(error).strip().splitlines()), "")
            raise CheckFailedError(
                f"{what}: cannot be exported ({type(error).__name__}: {first[:200]}){advice}"
            ) from None
        for (batch, height, width), own, other in zip(sizes, expected, found, strict=True):
            worst = float((own - other).abs().max()) if own.shape == other.shape else float("inf")
            if not worst <= TOLERANCE:
                raise CheckFailedError(
                    f"{what}: on {batch} image{'s' * (batch > 1)} of {width}x{height} the file differs from the "
                    f"network by {worst:.2g}, more than {TOLERANCE:g}; it was not written{advice}"
                )
            about = msgspec.structs.replace(about, difference=max(about.difference, worst))
        _describe(part, about, onnx, made)
        about = msgspec.structs.replace(about, sha256=file_sha256(part))
    write_json(path.with_name(path.name + ".json"), about)
    return about


def _versions(*names: str) -> dict[str, str]:
    from importlib import import_module

    try:
        return {name: str(import_module(name).__version__) for name in names}
    except ImportError as error:
        raise NotAvailableError(
            f"the package '{error.name}' is not installed; pip install 'restoration-harness[onnx]'",
            missing_package(error),
        ) from None


def _whole(restore: Callable[..., Any]) -> nn.Module:
    """Make a module of what a method restores with: images in [0, 1] to images in [0, 1]."""
    from torch import nn

    from harness.inference.policies import whole
    from harness.networks.checkpoints import require_ready
    from harness.networks.ranges import from_network, to_network

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

    return Whole().eval().requires_grad_(False)


def _networks(found: Any, seen: set[int]) -> Iterator[nn.Module]:
    """Find the networks that a callable holds: itself, or in what it was made from."""
    from torch import nn

    if id(found) in seen:
        return
    seen.add(id(found))
    if isinstance(found, nn.Module):
        yield found
        return
    inside = [found.func, *found.args] if isinstance(found, functools.partial) else []
    inside += [cell.cell_contents for cell in getattr(found, "__closure__", None) or ()]
    for each in inside:
        if callable(each):
            yield from _networks(each, seen)


def _traced(network: nn.Module, restore: Callable[..., Any], image: Tensor, onnx: bool, *, fixed: bool) -> Any:
    """Write down the operations on an image; `fixed` for its size alone, whatever Python computes with that."""
    import torch

    for each in _networks(restore, set()):
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
        return torch.jit.trace(network, image, check_trace=False)  # type: ignore[no-untyped-call]


def _decompositions() -> dict[Any, Callable[..., Any]]:
    """Say what operations consist of that torch's ONNX exporter does not know, or takes for others."""
    import torch
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


def _write(made: Any, part: Path, image: Tensor, onnx: bool, *, fixed: bool) -> None:
    import torch

    if not onnx:
        torch.jit.save(made, str(part))
        return
    axes = {0: "batch", 2: "height", 3: "width"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            made,
            (image,),
            str(part),
            input_names=["input"],
            output_names=["output"],
            dynamic_axes=None if fixed else {"input": axes, "output": axes},
            opset_version=OPSET,
            dynamo=False,  # the newer exporter needs onnxscript, and fixes each size that Python computes with
        )


def _reader(part: Path, onnx: bool) -> Callable[[Tensor], Tensor]:
    """Read a file back, as another program would."""
    import torch

    if not onnx:
        module = torch.jit.load(str(part), map_location="cpu")  # type: ignore[no-untyped-call]

        def run(image: Tensor) -> Tensor:
            with torch.no_grad():
                result: Tensor = module(image)
            return result

        return run
    import onnxruntime

    session = onnxruntime.InferenceSession(str(part), providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run(None, {"input": image.numpy()})[0])


def _describe(part: Path, about: NetworkFile, onnx: bool, made: Any) -> None:
    """Put what a file holds into it; that changes nothing of what it computes."""
    plain: Mapping[str, Any] = msgspec.to_builtins(about)
    if not onnx:
        import torch

        torch.jit.save(made, str(part), _extra_files={"harness.json": json.dumps(plain)})
        return
    import onnx as format_of

    model = format_of.load(str(part))
    for name, value in plain.items():
        if value not in ("", None):
            model.metadata_props.add(key=name, value=value if isinstance(value, str) else json.dumps(value))
    format_of.checker.check_model(model)
    format_of.save(model, str(part))
