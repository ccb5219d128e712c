"""Reading state dictionaries that MegEngine pickled, without MegEngine and without running what the pickle names.

``megengine.save`` pickles a dictionary of numpy arrays. The unpickler here knows the five names that arrays take, and
puts a plain record in the place of each; any other name is refused before anything happens.
"""

from __future__ import annotations

import math
import pickle
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.foreign import most_bytes
from harness.errors import HarnessError

_TYPES = {"f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "b1"}


class _Type:
    """Stands for numpy.dtype."""

    def __init__(self, code: str, align: object = False, copy: object = False) -> None:
        if code not in _TYPES:
            raise ValueError(f"samples of type {code!r:.20}")
        self.code, self.order = code, "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"


class _Array:
    """Stands for numpy.ndarray: what numpy would make of its state, with every number checked."""

    value: NDArray[Any] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, fortran, data = state
        if not isinstance(kind, _Type) or not isinstance(data, bytes) or not isinstance(shape, tuple):
            raise ValueError("an array without type, shape or samples")
        if len(shape) > 8 or not all(isinstance(side, int) and 0 <= side < 2**31 for side in shape):
            raise ValueError("an array of an impossible shape")
        if math.prod(shape) * int(kind.code[1:]) != len(data):
            raise ValueError("an array with more or fewer samples than its shape")
        flat = np.frombuffer(data, dtype=f"{kind.order}{kind.code}")
        self.value = flat.reshape(shape, order="F" if fortran else "C")


def _array(*_: object) -> _Array:
    return _Array()


def _encoded(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"bytes written as {encoding!r:.20}")
    return text.encode("latin1")


_KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("numpy.core.multiarray", "_reconstruct"): _array,
    ("numpy._core.multiarray", "_reconstruct"): _array,
    ("numpy", "ndarray"): _array,
    ("numpy", "dtype"): _Type,
    ("collections", "OrderedDict"): OrderedDict,
    ("_codecs", "encode"): _encoded,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise _UnknownNameError(f"{module}.{name}")
        return _KNOWN[module, name]


class _UnknownNameError(Exception):
    """A pickle names what no array needs."""


def read_megengine(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a state dictionary, which may be the file itself or lie in it as ``state_dict``.

    Raises
    ------
    HarnessError
        It names anything but arrays, or holds no state dictionary.
    """
    with path.open("rb") as file:
        try:
            state = _Unpickler(file).load()
        except _UnknownNameError as error:
            raise HarnessError(
                f"{path}: holds more than arrays ({error}), loading it could run code; use the released file"
            ) from None
    inner = state.get("state_dict", state) if isinstance(state, Mapping) else None
    if not isinstance(inner, Mapping) or not all(
        isinstance(name, str) and isinstance(item, _Array) and item.value is not None for name, item in inner.items()
    ):
        raise HarnessError(f"{path}: is not a state dictionary of named arrays; use the released file")
    arrays = {name: item.value for name, item in inner.items()}
    # A pickle can name one array many times.
    if sum(array.nbytes for array in arrays.values()) > most_bytes(path):
        raise HarnessError(f"{path}: unpacks to more bytes than weights have; it is no weights file")
    return {name: np.array(array, dtype=array.dtype.newbyteorder("="), order="C") for name, array in arrays.items()}
