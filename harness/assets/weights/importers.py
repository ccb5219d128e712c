"""Importers: a released weights file of any of the formats below → named arrays, strictly checked.

Nothing is unpickled: MATLAB files are read as data, PyTorch files with ``weights_only=True``, NumPy archives with
``allow_pickle=False``, and what MXNet, Caffe, TensorFlow 1, MegEngine and Torch7 saved by readers of this package.
Every importer refuses, in one sentence, what a damaged or foreign file would hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.foreign import most_bytes
from harness.assets.weights.caffe import read_caffemodel
from harness.assets.weights.matlab import number, read_mat, require
from harness.assets.weights.megengine import read_megengine
from harness.assets.weights.mxnet import read_params
from harness.assets.weights.tensorflow import read_checkpoint_v2
from harness.assets.weights.torch7 import read_torch7
from harness.errors import HarnessError, unknown_name
from harness.files import refuse_special
from harness.networks.wrappers import inside, unwrapped

Arrays = dict[str, NDArray[Any]]

# Raised whenever an importer changes what it returns, so that cached imports of the old one are not used.
VERSION = 4

_FOREIGN = "it is not a file of this format"


def import_weights(
    path: str | Path, format_name: str, *others: str | Path, remedy: str = "fetch the weights again"
) -> Arrays:
    """Read a weights file of a known format.

    `*others`: Files without which it cannot be read, in their order; by default those that lie beside it.
    `remedy`: What a reader of an error is to do about a damaged file.
    Returns: By name. Convolution weights are OIHW (transposed convolutions IOHW, as PyTorch stores them), biases (O,).
    Raises HarnessError: The format is unknown; the file is damaged or of another format, or holds NaN or infinity, or
        code.
    """
    if format_name not in FORMATS:
        raise unknown_name("weights format", format_name, FORMATS)
    return _imported(Path(path), format_name, lambda: FORMATS[format_name](Path(path), *map(Path, others)), remedy)


def import_checkpoint(path: Path, remedy: str = "fetch the weights again") -> tuple[Arrays, str]:
    """Read a checkpoint as `import_weights` does, and say which of the weights in it were taken.

    Returns: The arrays; and under which name they lie, such as ``params_ema, not params``, empty where the file is
        nothing but weights.
    """
    told: list[str] = []
    return _imported(path, "checkpoint", lambda: read_checkpoint(path, told), remedy), "".join(told)


def _imported(path: Path, format_name: str, read: Callable[[], Arrays], remedy: str) -> Arrays:
    refuse_special(path)
    _refuse_bomb(path)
    try:
        arrays = read()
    except HarnessError:
        raise
    except FileNotFoundError as error:
        raise HarnessError(f"{error.filename or path}: no such file; {remedy}") from None
    # A damaged file can fail anywhere inside the libraries that read it, with whatever exception is at hand there.
    except Exception as error:
        raise HarnessError(
            f"{path}: not a readable file of the format '{format_name}', perhaps truncated ({type(error).__name__}: "
            f"{_brief(error)}); delete it and {remedy}"
        ) from None
    if not arrays:
        raise HarnessError(f"{path}: holds no arrays; {remedy}")
    for name, array in arrays.items():
        if array.dtype.kind not in "fiub":
            raise HarnessError(f"{path}: '{name}' is of type {array.dtype}, weights are numbers; {remedy}")
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise HarnessError(f"{path}: '{name}' holds NaN or infinity; the file is damaged, {remedy}")
    return arrays


def _refuse_bomb(path: Path) -> None:
    """Refuse an archive (``.npz``, ``.pth``) that unpacks to more than weights can have."""
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(member.file_size for member in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        return  # no archive, or a damaged one: the reader says what is wrong
    if size > most_bytes(path):
        raise HarnessError(f"{path}: unpacks to {size} bytes, more than weights have; it is no weights file")


def _convolution(weight: Any, bias: Any, name: str, where: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Turn MatConvNet's HWIO filters and (1, O) biases into OIHW and (O,)."""
    if not isinstance(weight, np.ndarray) or not isinstance(bias, np.ndarray) or weight.ndim > 4 or weight.ndim < 2:
        raise HarnessError(f"{where}: '{name}' has no filters and biases; {_FOREIGN}")
    # MATLAB drops trailing axes of length 1: a layer with one output has three.
    weight = weight.reshape(weight.shape + (1,) * (4 - weight.ndim))
    weight = np.ascontiguousarray(weight.transpose(3, 2, 0, 1), dtype=np.float32)
    if bias.size != weight.shape[0]:
        raise HarnessError(f"{where}: '{name}' has {weight.shape[0]} filters and {bias.size} biases; {_FOREIGN}")
    return weight, np.ascontiguousarray(bias.ravel(order="F"), dtype=np.float32)


# Layers of MatConvNet's SimpleNN that hold no weights and whose place each network knows.
_BARE_LAYERS = ("relu", "SubP", "concat", "loss")


def _simplenn_layers(layers: Any, where: Path) -> Arrays:
    if not isinstance(layers, list) or not layers:
        raise HarnessError(f"{where}: 'layers' is not a list of layers; {_FOREIGN}")
    arrays: Arrays = {}
    count = 0
    for index, layer in enumerate(layers, 1):
        kind = layer.get("type") if isinstance(layer, dict) else None
        if kind in _BARE_LAYERS:
            continue
        if kind != "conv":
            raise HarnessError(
                f"{where}: layer {index} is of type '{kind}', only conv, {', '.join(_BARE_LAYERS)} are read "
                "(merge batch normalisation into the convolutions first)"
            )
        weights = layer.get("weights")
        if not isinstance(weights, list) or len(weights) != 2:
            raise HarnessError(f"{where}: layer {index} should have filters and biases; {_FOREIGN}")
        name = f"convs.{count}"
        arrays[f"{name}.weight"], arrays[f"{name}.bias"] = _convolution(weights[0], weights[1], name, where)
        count += 1
    return arrays


def read_simplenn(path: Path) -> Arrays:
    """Read a MatConvNet SimpleNN file (``net.layers``): ``convs.0.weight``, ``convs.0.bias`` and so on.

    ``net.meta.P``, the kernel basis of SRMD, is kept as ``meta.P`` where it is there.
    """
    net = require(read_mat(path), "net", str(path))
    if not isinstance(net, dict):
        raise HarnessError(f"{path}: 'net' is not a struct; {_FOREIGN}")
    arrays = _simplenn_layers(require(net, "layers", f"{path}: net"), path)
    meta = net.get("meta")
    if isinstance(meta, dict) and isinstance(meta.get("P"), np.ndarray):
        arrays["meta.P"] = np.ascontiguousarray(meta["P"], dtype=np.float64)
    return arrays


def read_simplenn_list(path: Path) -> Arrays:
    """Read IRCNN's released file, a cell array ``CNNdenoiser`` of 25 networks: ``level1.convs.0.weight`` and so on."""
    networks = require(read_mat(path), "CNNdenoiser", str(path))
    if not isinstance(networks, list) or not networks:
        raise HarnessError(f"{path}: 'CNNdenoiser' is not a list of networks; {_FOREIGN}")
    arrays: Arrays = {}
    for index, network in enumerate(networks, 1):
        # The cells hold either the layers themselves or a struct with them.
        layers = network.get("layers") if isinstance(network, dict) else network
        arrays |= {f"level{index}.{name}": array for name, array in _simplenn_layers(layers, path).items()}
    return arrays


def read_dagnn(path: Path) -> Arrays:
    """Read a MatConvNet DagNN file: its parameters under their own names, filters as OIHW (IOHW where transposed)."""
    _, params = _dagnn(path)
    return {name: _biases(value) if name.endswith("_b") else _filters(value) for name, value in params.items()}


def read_dagnn_layers(path: Path) -> Arrays:
    """Read a MatConvNet DagNN file by its layers: ``conv1.weight`` and ``conv1.bias``, whatever the parameters' names.

    Of a layer's parameters the first are its filters and the second its biases; a layer may have none.
    """
    net, params = _dagnn(path)
    arrays: Arrays = {}
    for layer in _records(require(net, "layers", f"{path}: net")):
        name, used = (layer.get("name"), layer.get("params")) if isinstance(layer, dict) else (None, None)
        used = [used] if isinstance(used, str) and used else used
        if not isinstance(used, list) or not used:
            continue
        if f"{name}.weight" in arrays:
            raise HarnessError(f"{path}: the layer '{name}' is there twice; {_FOREIGN}")
        known = len(set(used)) == len(used) <= 2 and all(param in params for param in used)
        if not isinstance(name, str) or not known:
            raise HarnessError(f"{path}: the layer '{name}' has other parameters than filters and biases; {_FOREIGN}")
        arrays[f"{name}.weight"] = _filters(params.pop(used[0]))
        if len(used) == 2:
            arrays[f"{name}.bias"] = _biases(params.pop(used[1]))
    if params:
        raise HarnessError(f"{path}: the parameter '{min(params)}' belongs to no layer; {_FOREIGN}")
    return arrays


def _dagnn(path: Path) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a DagNN: the network's struct and its parameters by name, as they lie in the file."""
    net = require(read_mat(path), "net", str(path))
    if not isinstance(net, dict):
        raise HarnessError(f"{path}: 'net' is not a struct; {_FOREIGN}")
    params: dict[str, NDArray[Any]] = {}
    for param in _records(require(net, "params", f"{path}: net")):
        name, value = (param.get("name"), param.get("value")) if isinstance(param, dict) else (None, None)
        if not isinstance(name, str) or not name or not isinstance(value, np.ndarray) or value.ndim > 4:
            raise HarnessError(f"{path}: a parameter has no name or no value; {_FOREIGN}")
        if name in params:
            raise HarnessError(f"{path}: parameter '{name}' is there twice; {_FOREIGN}")
        params[name] = value
    return net, params


def _records(value: Any) -> list[Any]:
    """Give the elements of a struct array, which MATLAB saves as a struct where there is one."""
    return value if isinstance(value, list) else [value]


def _filters(value: NDArray[Any]) -> NDArray[Any]:
    # vl_nnconvt takes the filters of the convolution it transposes, so one permutation serves both.
    value = value.reshape(value.shape + (1,) * (4 - value.ndim))
    return np.ascontiguousarray(value.transpose(3, 2, 0, 1), dtype=np.float32)


def _biases(value: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(value.ravel(order="F"), dtype=np.float32)


def read_caffe_mat(path: Path) -> Arrays:
    """Read filters saved from Caffe by the authors of SRCNN and ARCNN: ``weights_conv1`` (in, k*k, out), ``biases_…``.

    A last layer of one output has lost its third axis. The k*k samples of a filter are in column order.
    """
    variables = read_mat(path)
    arrays: Arrays = {}
    for key in variables:
        kind, _, name = key.partition("_")
        if kind not in ("weights", "biases") or not name:
            raise HarnessError(f"{path}: '{key}' is neither filters nor biases; {_FOREIGN}")
        if kind == "biases":
            require(variables, f"weights_{name}", str(path))
            continue
        weight, bias = variables[key], require(variables, f"biases_{name}", str(path))
        if not isinstance(weight, np.ndarray) or not isinstance(bias, np.ndarray) or weight.ndim not in (2, 3):
            raise HarnessError(f"{path}: '{key}' should have the axes (in, k*k, out); {_FOREIGN}")
        weight = weight.reshape(weight.shape + (1,) * (3 - weight.ndim))
        inputs, samples, outputs = weight.shape
        side = round(samples**0.5)
        if side * side != samples:
            raise HarnessError(f"{path}: '{key}' has filters of {samples} samples, which is no square; {_FOREIGN}")
        # (in, column, row, out): column order runs down the rows first.
        square = weight.reshape(inputs, side, side, outputs).transpose(3, 0, 2, 1)
        arrays[f"{name}.weight"] = np.ascontiguousarray(square, dtype=np.float32)
        if bias.size != outputs:
            raise HarnessError(f"{path}: '{key}' has {outputs} filters and {bias.size} biases; {_FOREIGN}")
        arrays[f"{name}.bias"] = np.ascontiguousarray(bias.ravel(order="F"), dtype=np.float32)
    return arrays


def read_tnrd(path: Path) -> Arrays:
    """Read a trained diffusion network of Chen and Pock: coefficients and the grid of its influence functions.

    ``cof`` (parameters, stages), ``means`` (63,) and ``precision`` (1,) of the Gaussian mixtures, ``grid`` (N,) of
    the look-up table. The table itself is checked against the formula and not kept.
    """
    variables = read_mat(path)
    where = str(path)
    cof = require(variables, "cof", where)
    mixture = require(variables, "MFS", where)
    stages = number(require(variables, "stage", where), "stage", where)
    if not isinstance(mixture, dict) or not isinstance(cof, np.ndarray) or cof.ndim != 2:
        raise HarnessError(f"{path}: 'cof' or 'MFS' is not what TNRD saves; {_FOREIGN}")
    if cof.shape[1] != stages:
        raise HarnessError(f"{path}: 'cof' has {cof.shape[1]} stages, 'stage' says {stages:g}; {_FOREIGN}")
    means = np.asarray(require(mixture, "means", f"{where}: MFS"), dtype=np.float64).ravel()
    grid = np.asarray(require(mixture, "D", f"{where}: MFS"), dtype=np.float64).ravel()
    table = np.asarray(require(mixture, "G", f"{where}: MFS"), dtype=np.float64)
    precision = number(require(mixture, "precision", f"{where}: MFS"), "precision", where)
    formula = np.exp(-0.5 * precision * (grid[None, :] - means[:, None]) ** 2)
    if table.shape != formula.shape or np.abs(table - formula).max() > 1e-9:
        raise HarnessError(f"{path}: the Gaussian table 'G' is not exp(-precision/2 (D - means)^2); {_FOREIGN}")
    return {
        "cof": np.ascontiguousarray(cof, dtype=np.float64),
        "means": means,
        "precision": np.array([precision]),
        "grid": grid,
    }


def read_mlp(path: Path) -> Arrays:
    """Read the perceptrons of Burger et al.: ``w_1`` to ``w_5``, (out, in + 1), the last column the bias.

    ``layers.0.weight`` (out, in), ``layers.0.bias`` (out,) and so on.
    """
    variables = read_mat(path)
    arrays: Arrays = {}
    for index in range(len(variables)):
        weight = require(variables, f"w_{index + 1}", str(path))
        if not isinstance(weight, np.ndarray) or weight.ndim != 2 or weight.shape[1] < 2 or weight.dtype.kind != "f":
            raise HarnessError(f"{path}: 'w_{index + 1}' is no matrix of weights; {_FOREIGN}")
        arrays[f"layers.{index}.weight"] = np.ascontiguousarray(weight[:, :-1], dtype=np.float32)
        arrays[f"layers.{index}.bias"] = np.ascontiguousarray(weight[:, -1], dtype=np.float32)
    return arrays


def read_npz(path: Path) -> Arrays:
    """Read a NumPy archive without unpickling: its first layer's ``…_weight`` becomes ``convs.0.weight``, and so on."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = {name: np.ascontiguousarray(archive[name]) for name in archive.files}
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise HarnessError(f"{path}: holds pickled objects, which could run code; use another file") from None
        raise
    arrays: Arrays = {}
    layers: list[str] = []
    for name, array in stored.items():
        layer, _, kind = name.rpartition("_")
        if kind not in ("weight", "bias") or not layer:
            raise HarnessError(f"{path}: '{name}' ends neither in _weight nor in _bias; {_FOREIGN}")
        if layer not in layers:
            layers.append(layer)
        arrays[f"convs.{layers.index(layer)}.{kind}"] = array
    return arrays


def _brief(error: Exception) -> str:
    """Shorten what a library says, which may run over many lines, to its first sentence."""
    first = (str(error).splitlines() or [type(error).__name__])[0].split(". ")[0].rstrip(".")
    return first if len(first) <= 150 else f"{first[:150]}…"


def _load_torch(path: Path) -> Any:
    """Load a PyTorch file without running what its pickle may hold."""
    import pickle
    import warnings

    import torch

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about the pickle's protocol; what cannot be read fails
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error)
        with path.open("rb") as file:
            head = file.read(2)
        if head != b"PK" and head[:1] != b"\x80":  # neither an archive nor a pickle
            kind = "a web page" if head[:1] == b"<" else "something else"
            raise HarnessError(
                f"{path}: not a PyTorch file, but {kind}; delete it and fetch the weights again"
            ) from None
        if "WeightsUnpickler error" in reason or "Weights only load failed" in reason:
            what = re.search(r"(?:GLOBAL|global) (\S+)", reason)
            name = f" ({what[1].rstrip('.')})" if what else ""
            raise HarnessError(
                f"{path}: holds more than tensors{name}, loading it could run code; "
                "save the model's state_dict() alone and use that file"
            ) from None
        raise


def _is_state_dict(state: Any) -> bool:
    import torch

    return (
        isinstance(state, Mapping)
        and bool(state)
        and all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items())
    )


def _arrays(path: Path, state: Mapping[str, Any]) -> Arrays:
    """Give tensors as arrays, bfloat16 (which numpy lacks) as float32."""
    import torch

    # A tensor can repeat one stored number without end (its strides are 0), and be of no layout that has numbers.
    size = sum(value.numel() * max(value.element_size(), 4) for value in state.values())
    if size > most_bytes(path):
        raise HarnessError(f"{path}: unpacks to {size} bytes, more than weights have; it is no weights file")
    for name, value in state.items():
        if value.layout != torch.strided or value.is_quantized or value.is_complex() or value.is_meta:
            raise HarnessError(f"{path}: '{name}' is no plain tensor of numbers; save the model's state_dict() alone")
    return {
        name: (value.float() if value.dtype == torch.bfloat16 else value).detach().cpu().numpy().copy(order="C")
        for name, value in state.items()
    }


def read_state_dict(path: Path) -> Arrays:
    """Read a PyTorch state dictionary, without running what a pickle may hold; names stay as they are."""
    state = _load_torch(path)
    if not _is_state_dict(state):
        raise HarnessError(f"{path}: is not a state dictionary of named tensors; save the model's state_dict() alone")
    return _arrays(path, state)


def read_checkpoint(path: Path, told: list[str] | None = None) -> Arrays:
    """Read a network's weights out of a training checkpoint or a safetensors file.

    The state dictionary may be the file itself or lie in it under one of the usual names. What training programs wrap
    around the names is taken off (`harness.networks.wrappers`); half precision becomes float32. Where it
    lay is noted in `told`.
    """
    with path.open("rb") as file:
        head = file.read(16)
    if head[8:9] == b"{":  # safetensors: eight bytes of length, then JSON
        return {
            name: array.astype(np.float32) if array.dtype == np.float16 else array
            for name, array in unwrapped(read_safetensors(path)).items()
        }
    state = _load_torch(path)
    found = [(under, inner) for under, inner in inside(state) if _is_state_dict(inner)]
    if not found:
        # Only texts are shown: other keys could be of any size.
        keys = [key if isinstance(key, str) else type(key).__name__ for key in list(state)[:5]] if state else []
        there = ", ".join(keys) if isinstance(state, Mapping) else type(state).__name__
        raise HarnessError(
            f"{path}: holds no state dictionary of named tensors (it holds {there}); save the model's state_dict() "
            "alone"
        )
    (under, tensors), *others = found
    if told is not None and under:
        told.append(", not ".join([under, *(name for name, _ in others)]))
    return {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in _arrays(path, unwrapped(tensors)).items()
    }


def read_danet(path: Path) -> Arrays:
    """Read DANet's denoiser ``D`` out of a file that also holds its generator of noise, ``G``."""
    state = _load_torch(path)
    tensors = state.get("D") if isinstance(state, Mapping) else None
    if tensors is None or not _is_state_dict(tensors):
        raise HarnessError(f"{path}: holds no denoiser 'D' of named tensors; {_FOREIGN}")
    return _arrays(path, unwrapped(tensors))


def read_safetensors(path: Path) -> Arrays:
    """Read a safetensors file; names stay as they are, bfloat16 becomes float32."""
    from safetensors.torch import load_file

    return _arrays(path, load_file(path))


def refuse_part(path: Path) -> Arrays:
    """Refuse a file that is read with another one only."""
    raise HarnessError(f"{path}: holds the numbers of a TensorFlow checkpoint without their names; load its .index")


# Most read one file; those of a checkpoint in several files take the others behind it.
_FORMATS: dict[str, tuple[Callable[..., Arrays], str]] = {
    "matconvnet": (read_simplenn, "a MatConvNet network (.mat)"),
    "matconvnet-list": (read_simplenn_list, "several MatConvNet networks (.mat)"),
    "dagnn": (read_dagnn, "a MatConvNet graph (.mat)"),
    "dagnn-layers": (read_dagnn_layers, "a MatConvNet graph (.mat)"),
    "caffe-mat": (read_caffe_mat, "Caffe's filters in a MATLAB file"),
    "tnrd": (read_tnrd, "a trained diffusion network (.mat)"),
    "mlp-mat": (read_mlp, "a perceptron on patches (.mat)"),
    "npz": (read_npz, "a NumPy archive"),
    "state-dict": (read_state_dict, "a PyTorch state dictionary"),
    "checkpoint": (read_checkpoint, "a PyTorch checkpoint or a safetensors file"),
    "danet": (read_danet, "a PyTorch file with DANet's denoiser and generator"),
    "safetensors": (read_safetensors, "a safetensors file"),
    "mxnet-params": (read_params, "parameters of MXNet"),
    "caffemodel": (read_caffemodel, "a Caffe network"),
    "tf1-checkpoint": (read_checkpoint_v2, "a TensorFlow checkpoint's table of names"),
    "tf1-data": (refuse_part, "a TensorFlow checkpoint's numbers"),
    "megengine": (read_megengine, "a pickled MegEngine checkpoint"),
    "torch7": (read_torch7, "a Torch7 network (.t7)"),
}
FORMATS = {name: read for name, (read, _) in _FORMATS.items()}
TITLES = {name: title for name, (_, title) in _FORMATS.items()}
"""What each format is, for readers."""
