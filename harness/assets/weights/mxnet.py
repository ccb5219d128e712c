"""Reading parameters that MXNet saved (``.params``), without MXNet.

Source of the format: apache/mxnet, ``src/ndarray/ndarray.cc`` (``NDArray::Save`` and ``NDArray::Load``). Batch
normalisation that was made with ``fix_gamma`` has a scale here that MXNet takes for 1; which was meant is not in the
file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from harness.assets.weights.binary import Bytes, array, file_bytes, text

_LIST = 0x112
_V1, _V2, _V3 = 0xF993FAC8, 0xF993FAC9, 0xF993FACA
_DENSE = 0
_TYPES = ("<f4", "<f8", "<f2", "<u1", "<i4", "<i1", "<i8")
_DEVICES = (1, 2, 3, 5)  # of the machine that saved it: CPU, GPU, pinned and shared memory

# PyTorch's names of what a layer holds.
_ENDINGS = {
    "_weight": ".weight",
    "_bias": ".bias",
    "_gamma": ".weight",
    "_beta": ".bias",
    "_moving_mean": ".running_mean",
    "_moving_var": ".running_var",
}


def read_params(path: Path) -> dict[str, NDArray[Any]]:
    """Read every array, named as PyTorch would: ``arg:conv1_weight`` becomes ``conv1.weight``.

    ``gamma``, ``beta``, ``moving_mean`` and ``moving_var`` become ``weight``, ``bias``, ``running_mean`` and
    ``running_var``; other names stay. MXNet's filters are OIHW, those of deconvolutions IOHW, as PyTorch's are.

    Raises ValueError: It is no such file, or a damaged one.
    """
    file = file_bytes(path)
    if file.numbers("QQ") != (_LIST, 0):
        raise ValueError("the first number is not that of an NDArray list")
    arrays = [_array(file) for _ in range(_count(file))]
    names = [text(file.take(file.numbers("Q")[0])) for _ in range(_count(file))]
    file.end()
    if len(names) != len(arrays):
        raise ValueError(f"holds {len(arrays)} arrays and {len(names)} names")
    named = {_name(name): values for name, values in zip(names, arrays, strict=True)}
    if len(named) != len(names):
        raise ValueError("a name is there twice")
    return named


def _count(file: Bytes) -> int:
    (count,) = file.numbers("Q")
    if count * 8 > file.left:  # the least that one of them takes
        raise ValueError(f"declares {count} of them in {file.left} bytes")
    return int(count)


def _array(file: Bytes) -> NDArray[Any]:
    (magic,) = file.numbers("I")
    if magic in (_V2, _V3) and file.numbers("i") != (_DENSE,):
        raise ValueError("an array is sparse")
    # The oldest files begin an array with the number of its axes.
    axes, each = (file.numbers("I")[0], "q") if magic in (_V1, _V2, _V3) else (magic, "I")
    if not 1 <= axes <= 8:
        raise ValueError(f"an array has {axes} axes")
    shape = file.numbers(each * axes)
    device, _, kind = file.numbers("iii")
    if device not in _DEVICES or not 0 <= kind < len(_TYPES):
        raise ValueError(f"an array is of the type {kind} on the device {device}")
    size = int(_TYPES[kind][-1])
    for length in shape:
        size *= length
    return array(file.take(size), _TYPES[kind], shape)


def _name(name: str) -> str:
    name = name.removeprefix("arg:").removeprefix("aux:")
    for ending, attribute in _ENDINGS.items():
        if name.endswith(ending) and name != ending:
            return name.removesuffix(ending) + attribute
    return name
