"""Networks with their weights as files that other programs run: ONNX and TorchScript.

A file takes and gives what a method does: float32 ``(B, C, H, W)`` in [0, 1]. The range that the network works in, the
padding to sizes that it takes, and what it is told beside the image (a noise level) are inside. Before a file takes its
name, it is read back and run on images of several sizes beside the network itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from harness.assets.weights.recording import recording
from harness.errors import CheckFailedError, HarnessError, InvalidArgumentError
from harness.files import file_sha256, whole_file, write_json
from harness.methods import Method, build_method
from harness.records.tasks import task as task_of

if TYPE_CHECKING:
    from torch import Tensor

FORMS = (".onnx", ".pt")


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

    from harness.inference import graphs

    if path.suffix not in FORMS:
        raise InvalidArgumentError(f"{path}: a network's file ends in .onnx (ONNX) or .pt (TorchScript)")
    if method.on != "tensor":
        raise HarnessError(f"'{method.name}' works on {method.on}s: it is no network, and there is nothing to export")
    onnx = path.suffix == ".onnx"
    versions = graphs.versions("torch", *(("onnx", "onnxruntime") if onnx else ()))
    with recording() as used:
        restore = build_method(method, task, level, dataset)
    network = graphs.as_module(restore)
    channels, seed = task_of(task).channels, torch.Generator().manual_seed(1)
    sizes = ((1, *size),) * 2 if size else graphs.SIZES
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
        opset=graphs.OPSET if onnx else 0,
        versions=versions,
        difference=0.0,
        compared=tuple(dict.fromkeys(sizes)),
        paper=method.paper,
        licence=method.licence,
        url=method.url,
    )
    with whole_file(path) as part, graphs.frozen(restore):
        try:
            image = torch.rand(1, channels, *(size or graphs.TRACED), generator=seed)
            made = graphs.traced(network, restore, image, onnx, fixed=bool(size))
            if onnx:
                graphs.write_onnx(made, str(part), images[0], fixed=bool(size))
            else:
                torch.jit.save(made, str(part))
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
            worst = graphs.difference(own, other)
            if not worst <= graphs.TOLERANCE:
                raise CheckFailedError(
                    f"{what}: on {batch} image{'s' * (batch > 1)} of {width}x{height} the file differs from the "
                    f"network by {worst:.2g}, more than {graphs.TOLERANCE:g}; it was not written{advice}"
                )
            about = msgspec.structs.replace(about, difference=max(about.difference, worst))
        _describe(part, about, onnx, made)
        about = msgspec.structs.replace(about, sha256=file_sha256(part))
    write_json(path.with_name(path.name + ".json"), about)
    return about


def _reader(part: Path, onnx: bool) -> Callable[[Tensor], Tensor]:
    """Read a file back, as another program would."""
    import torch

    if onnx:
        from harness.inference.graphs import session

        return session(str(part))
    module = torch.jit.load(str(part), map_location="cpu")  # type: ignore[no-untyped-call]

    def run(image: Tensor) -> Tensor:
        with torch.no_grad():
            result: Tensor = module(image)
        return result

    return run


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
