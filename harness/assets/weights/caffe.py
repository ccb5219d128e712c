"""Reading networks that Caffe trained (``.caffemodel``), without Caffe.

Source of the format: BVLC/caffe, ``src/caffe/proto/caffe.proto``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.weights.binary import BYTES, VARINT, Bytes, array, file_bytes, message, text

# Field numbers: of NetParameter, of its layers in both versions, of BlobProto and BlobShape.
_LAYER, _LAYERS_V1 = 100, 2
_NAME, _TYPE, _BLOBS = 1, 2, 7
_NAME_V1, _BLOBS_V1 = 4, 6
_OLD_SHAPE, _DATA, _SHAPE, _DOUBLE_DATA = (1, 2, 3, 4), 5, 7, 8
_DIM = 1
_MOST_AXES = 32  # of a blob, as Caffe has it


def read_caffemodel(path: Path) -> dict[str, NDArray[Any]]:
    """Read the blobs of every layer, named as PyTorch would: ``conv1.weight`` and ``conv1.bias``.

    Caffe's filters are OIHW, those of deconvolutions IOHW, as PyTorch's are. ``BatchNorm`` gives ``running_mean`` and
    ``running_var``, divided by the factor that Caffe stores beside them; its scale and shift are a layer of their own.
    A layer of more than two other blobs has them by number (``lstm.0``).

    Raises ValueError: It is no such file, or a damaged one.
    """
    file = file_bytes(path)
    arrays: dict[str, NDArray[Any]] = {}
    with np.errstate(over="ignore", invalid="ignore"):  # infinity is refused by the importer, as of any format
        for number, kind, value in message(file.take(file.left)):
            if number not in (_LAYER, _LAYERS_V1) or kind != BYTES:
                continue
            for name, values in _layer(value, first=number == _LAYERS_V1).items():
                if name in arrays:
                    raise ValueError(f"'{name}' is there twice")
                arrays[name] = values
    return arrays


def _layer(data: memoryview, *, first: bool) -> dict[str, NDArray[Any]]:
    """Read one layer, of the first version of the format or the second."""
    name, kind = "", ""
    blobs: list[NDArray[Any]] = []
    for number, wire, value in message(data):
        if wire != BYTES:
            continue
        if number == (_NAME_V1 if first else _NAME):
            name = text(value)
        elif number == _TYPE and not first:
            kind = text(value)
        elif number == (_BLOBS_V1 if first else _BLOBS):
            blobs.append(_blob(value))
    if not blobs:
        return {}
    if not name:
        raise ValueError("a layer has blobs and no name")
    if kind == "BatchNorm":
        if len(blobs) != 3 or blobs[2].size != 1:
            raise ValueError(f"'{name}' should hold mean, variance and their factor")
        factor = float(blobs[2].ravel()[0])
        scale = np.float32(1 / factor if factor else 0)  # as Caffe has it
        return {
            f"{name}.running_mean": blobs[0].ravel() * scale,
            f"{name}.running_var": blobs[1].ravel() * scale,
        }
    if len(blobs) > 2:
        return {f"{name}.{index}": blob for index, blob in enumerate(blobs)}
    # The first version stores each blob with four axes.
    return {f"{name}.weight": blobs[0]} | ({f"{name}.bias": blobs[1].ravel()} if len(blobs) > 1 else {})


def _blob(data: memoryview) -> NDArray[Any]:
    old: dict[int, int] = {}
    shape: list[int] | None = None
    parts: dict[int, list[memoryview]] = {_DATA: [], _DOUBLE_DATA: []}
    for number, wire, value in message(data):
        if number in _OLD_SHAPE and wire == VARINT:
            old[number] = value
        elif number == _SHAPE and wire == BYTES:
            shape = [*(shape or []), *_dimensions(value)]
            if len(shape) > _MOST_AXES:
                raise ValueError(f"a blob has {len(shape)} axes")
        elif number in parts:
            if wire != BYTES:
                raise ValueError("the numbers of a blob are not packed")
            parts[number].append(value)
    single, double = (b"".join(parts[number]) for number in (_DATA, _DOUBLE_DATA))
    if single and double:
        raise ValueError("a blob has numbers in single and in double precision")
    if shape is None:
        shape = [old.get(number, 0) for number in _OLD_SHAPE]
    values = array(double or single, "<f8" if double else "<f4", tuple(shape))
    return values.astype(np.float32)


def _dimensions(data: memoryview) -> list[int]:
    sizes: list[int] = []
    for number, wire, value in message(data):
        if number != _DIM:
            continue
        if wire == VARINT:
            sizes.append(value)
        elif wire == BYTES:
            packed = Bytes(value)
            while packed.left:
                sizes.append(packed.varint())
    return sizes
