"""Reading state dictionaries that MegEngine pickled, without MegEngine and without running what the pickle names.

``megengine.save`` pickles a dictionary of numpy arrays. The unpickler here knows the few instructions and names that
those take, and puts a plain record in the place of each array; anything else is refused before it happens. It is the
one in Python: that in C makes room for any number that a memo names, and hashes whatever stands as a key.
"""

from __future__ import annotations

import io
import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from harness.assets.foreign import most_bytes
from harness.assets.weights.binary import file_bytes
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


# What protocols 2 to 4 make of a dictionary of arrays.
_INSTRUCTIONS = re.findall(
    r"\S+",
    """
    PROTO FRAME STOP MARK GLOBAL STACK_GLOBAL REDUCE BUILD NEWOBJ NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1
    BINUNICODE SHORT_BINUNICODE BINBYTES SHORT_BINBYTES BINBYTES8 BINSTRING SHORT_BINSTRING EMPTY_TUPLE TUPLE TUPLE1
    TUPLE2 TUPLE3 EMPTY_DICT SETITEM SETITEMS BINPUT LONG_BINPUT BINGET LONG_BINGET MEMOIZE
    """,
)


class _Unpickler(pickle._Unpickler):
    dispatch: ClassVar[dict[int, Callable[..., Any]]] = {
        code[0]: pickle._Unpickler.dispatch[code[0]] for code in (getattr(pickle, name) for name in _INSTRUCTIONS)
    }

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise _UnknownNameError(f"{module}.{name}")
        return _KNOWN[module, name]

    def _keys_are_texts(self, items: list[Any]) -> None:
        if not all(isinstance(key, str) for key in items[::2]):
            raise ValueError("a dictionary whose keys are no texts")

    def load_setitem(self) -> None:
        self._keys_are_texts(self.stack[-2:])  # type: ignore[attr-defined]
        pickle._Unpickler.load_setitem(self)  # type: ignore[attr-defined]

    def load_setitems(self) -> None:
        self._keys_are_texts(self.stack)  # type: ignore[attr-defined]
        pickle._Unpickler.load_setitems(self)  # type: ignore[attr-defined]

    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems


class _UnknownNameError(Exception):
    """A pickle names what no array needs."""


def read_megengine(path: Path) -> dict[str, NDArray[Any]]:
    """Read the arrays of a state dictionary, which may be the file itself or lie in it as ``state_dict``.

    Raises HarnessError: It names anything but arrays, or holds no state dictionary.
    """
    content = io.BytesIO(file_bytes(path).take(path.stat().st_size))
    try:
        state = _Unpickler(content).load()
    except _UnknownNameError as error:
        raise HarnessError(
            f"{path}: holds more than arrays ({error}), loading it could run code; use the released file"
        ) from None
    except KeyError as error:
        raise ValueError(f"an instruction or a number of a memo that arrays do not need ({error})") from None
    if content.read(1):
        raise ValueError("more bytes than the pickle")
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
