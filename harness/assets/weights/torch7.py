"""Reading networks that Torch7 saved (``.t7``, binary), without Lua.

Source of the format: torch/torch7, ``File.lua`` (``File:readObject``), ``generic/Tensor.c`` and ``generic/Storage.c``.
Functions that a file holds are stepped over.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.assets.foreign import most_bytes
from harness.assets.weights.binary import Bytes, array, file_bytes, text

_NIL, _NUMBER, _STRING, _TABLE, _TORCH, _BOOLEAN, _FUNCTION, _OLD_FUNCTION, _NEW_FUNCTION = range(9)

# By the names of storages and tensors, without what says where they lay.
_TYPES = {
    **{"": "<f4", "Float": "<f4", "Double": "<f8", "Half": "<f2"},
    **{"Long": "<i8", "Int": "<i4", "Short": "<i2", "Char": "<i1", "Byte": "<u1"},
}
# Objects within objects: RDN, whose blocks are nested, has about a hundred.
_DEEPEST = 300


class _Object(NamedTuple):
    """An object of a class that is no tensor: its name and its fields."""

    kind: str
    fields: dict[Any, Any]


def read_torch7(path: Path) -> dict[str, NDArray[Any]]:
    """Read the weights of every layer of a saved network, numbered in the order of its modules, from 0.

    ``3.weight`` and ``3.bias`` are those of the fourth module that has any. A convolution's filters are OIHW, also
    where it keeps them as rows.

    Raises ValueError: It is no such file, or a damaged one, or no network.
    """
    file = file_bytes(path)
    network = _Reader(file).object()
    file.end()
    if not isinstance(network, _Object):
        raise ValueError("holds no network")
    arrays: dict[str, NDArray[Any]] = {}
    for number, layer in enumerate(_layers(network, set())):
        for name in ("weight", "bias"):
            if isinstance(values := layer.get(name), np.ndarray):
                arrays[f"{number}.{name}"] = _filters(values, layer) if name == "weight" else values
    # One storage may stand behind any number of tensors.
    if sum(values.nbytes for values in arrays.values()) > most_bytes(path):
        raise ValueError("unpacks to more bytes than weights have")
    return arrays


def _layers(module: _Object, seen: set[int]) -> Iterator[dict[Any, Any]]:
    """Give the fields of the modules that hold weights, in the order in which they stand."""
    if id(module.fields) in seen:
        return
    seen.add(id(module.fields))
    if isinstance(module.fields.get("weight"), np.ndarray):
        yield module.fields
    inner = module.fields.get("modules")
    if isinstance(inner, dict):
        for number in sorted(key for key in inner if isinstance(key, float)):
            if isinstance(inner[number], _Object):
                yield from _layers(inner[number], seen)


def _filters(values: NDArray[Any], layer: dict[Any, Any]) -> NDArray[Any]:
    sizes = [layer.get(name) for name in ("nInputPlane", "kH", "kW")]
    if values.ndim == 2 and all(isinstance(size, float) and size >= 1 for size in sizes):
        return values.reshape(len(values), *(int(size) for size in sizes))  # type: ignore[arg-type]
    return values


class _Reader:
    """Reads objects; one that stands at several places is written once and then named by its number."""

    def __init__(self, file: Bytes) -> None:
        self._file = file
        self._known: dict[int, Any] = {}
        self._depth = 0

    def object(self) -> Any:
        """Read the next object: None, a number, a text, a dict, an array, an `_Object`; None for a function."""
        (kind,) = self._file.numbers("i")
        if kind == _NIL:
            return None
        if kind == _NUMBER:
            return self._file.numbers("d")[0]
        if kind == _BOOLEAN:
            return self._file.numbers("i") == (1,)
        if kind == _STRING:
            return bytes(self._bytes())
        if kind == _FUNCTION:
            self._function()
            return None
        if kind not in (_TABLE, _TORCH, _OLD_FUNCTION, _NEW_FUNCTION):
            raise ValueError(f"an object is of the type {kind}")
        (index,) = self._file.numbers("i")
        if index in self._known:
            return self._known[index]
        if kind == _TABLE:
            return self._table(index)
        if kind == _TORCH:
            return self._torch(index)
        self._known[index] = None
        self._function()
        return None

    def _function(self) -> None:
        """Step over a function and the variables that it sees."""
        self._bytes()
        self._inner()

    def _inner(self) -> Any:
        """Read an object that belongs to another one."""
        self._depth += 1
        if self._depth > _DEEPEST:
            raise ValueError(f"objects are nested more than {_DEEPEST} deep")
        found = self.object()
        self._depth -= 1
        return found

    def _bytes(self) -> memoryview:
        return self._file.take(self._file.numbers("i")[0])

    def _table(self, index: int) -> dict[Any, Any]:
        (count,) = self._file.numbers("i")
        if not 0 <= count * 8 <= self._file.left:  # the least that a key and a value take
            raise ValueError(f"a table declares {count} entries")
        found: dict[Any, Any] = {}
        self._known[index] = found
        for _ in range(count):
            key, value = self._inner(), self._inner()
            name = text(memoryview(key)) if isinstance(key, bytes) else key
            if isinstance(name, str | float):
                if name in found:
                    raise ValueError(f"a table holds {name!r:.40} twice")
                found[name] = value
        return found

    def _torch(self, index: int) -> Any:
        version = text(self._bytes())
        name = text(self._bytes()) if version.startswith("V ") else version
        plain = name.removeprefix("torch.").removeprefix("Cuda")
        for ending, read in (("Tensor", self._tensor), ("Storage", self._storage)):
            if name.startswith("torch.") and plain.endswith(ending) and plain.removesuffix(ending) in _TYPES:
                self._known[index] = None
                self._known[index] = read(_TYPES[plain.removesuffix(ending)])
                return self._known[index]
        fields: dict[Any, Any] = {}
        self._known[index] = found = _Object(name, fields)
        read_fields = self._inner()
        if not isinstance(read_fields, dict):
            raise ValueError(f"an object of the class {name[:40]!r} has no fields")
        fields.update(read_fields)
        return found

    def _storage(self, kind: str) -> NDArray[Any]:
        (count,) = self._file.numbers("q")
        return array(self._file.take(count * int(kind[-1])), kind, (count,))

    def _tensor(self, kind: str) -> NDArray[Any]:
        (axes,) = self._file.numbers("i")
        if not 0 <= axes <= 8:
            raise ValueError(f"a tensor has {axes} axes")
        shape, strides = self._file.numbers("q" * axes), self._file.numbers("q" * axes)
        (first,) = self._file.numbers("q")
        numbers = self._inner()
        if not axes or numbers is None:
            return np.zeros(0, kind)
        count, step = 1, 1
        for size, stride in zip(reversed(shape), reversed(strides), strict=True):
            if size < 1 or (stride != step and size > 1):
                raise ValueError(f"a tensor of the shape {shape} has the strides {strides}")
            count, step = count * size, step * size
        if not isinstance(numbers, np.ndarray) or not 1 <= first <= len(numbers) - count + 1:
            raise ValueError(f"a tensor of {count} numbers begins outside of its storage")
        return numbers[first - 1 : first - 1 + count].reshape(shape)
