"""Reading MATLAB files, version 5 and 7.3, into plain Python values, without running anything in them.

scipy's reader of version 5, written in C, trusts the tags of a file: a damaged one can make it read outside its buffers
and end the process. So every tag is checked first: known types, sizes inside their parents, as many members as the
dimensions say, and no more bytes unpacked than a weights file can have. Source of the formats: MathWorks, "MAT-File
Format".
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.assets.foreign import MOST_BYTES, HDF5File, holds_references, open_hdf5
from harness.errors import HarnessError

# The text header of a version 7.3 file begins so, and HDF5 starts at byte 512.
_V73_HEADER = b"MATLAB 7.3 MAT-file"
_V5_HEADER = b"MATLAB 5.0 MAT-file"
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"

_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 2, 5, 6, 14, 15
# Bytes of a number by its type.
_NUMBERS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_TEXTS = {*_NUMBERS, 16, 17, 18}
_COMPLEX_FLAG = 0x800
_CELL, _STRUCT, _OBJECT, _CHARACTERS, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_NUMERIC_CLASSES = range(6, 16)
# Networks nest four deep.
_DEEPEST = 24


def read_mat(path: Path) -> dict[str, Any]:
    """Read every variable of a MATLAB file.

    `path`: A ``.mat`` file of version 5 (R2006a to now, ``-v7`` too) or 7.3 (HDF5).
    Returns: By variable name: an array in MATLAB's shape for numbers (a vector is (1, N) or (N, 1)), a ``str`` for
        text, a ``dict`` for a 1x1 struct, a list of ``dict`` for a struct array, a list for a cell array in column
        order. Function handles and objects become None: they are of no use here and nothing of them is run.
    Raises HarnessError: It is no MATLAB file, or may not be read. A damaged one can fail anywhere inside scipy, zlib or
        HDF5, with whatever exception is at hand there.
    """
    with path.open("rb") as file:
        head = file.read(520)
    if head.startswith(_V73_HEADER) or head[512:520] == _HDF5_SIGNATURE or head.startswith(_HDF5_SIGNATURE):
        with open_hdf5(path) as contents:
            values = _Values(contents)
            return {name: values.plain(contents.file[name], 0) for name in contents.file if not name.startswith("#")}
    if head.startswith(_V5_HEADER):
        return _read_v5(path)
    raise HarnessError(f"{path}: not a MATLAB file of version 5 or 7.3; delete it and fetch the weights again")


def _read_v5(path: Path) -> dict[str, Any]:
    return {name: _plain_v5(value) for name, value in variables_v5(path.read_bytes()).items()}


def variables_v5(data: bytes) -> dict[str, Any]:
    """Read every variable of a file of version 5 as scipy gives it, after its structure was checked.

    Raises Exception: It is damaged: a ValueError of what does not hold, or whatever scipy and zlib have at hand.
    """
    from scipy.io import loadmat

    _check_structure(memoryview(data))
    variables = loadmat(io.BytesIO(data), struct_as_record=True, squeeze_me=False, chars_as_strings=True)
    return {name: value for name, value in variables.items() if not name.startswith("__")}


def _plain_v5(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or type(value).__name__ in ("MatlabObject", "MatlabFunction", "MatlabOpaque"):
        return None
    if value.dtype.names is not None:
        records = [{name: _plain_v5(record[name]) for name in value.dtype.names} for record in value.ravel(order="F")]
        return records[0] if len(records) == 1 else records
    if value.dtype == object:
        return [_plain_v5(item) for item in value.ravel(order="F")]
    if value.dtype.kind == "U":
        return "".join(value.ravel())
    return value


def _check_structure(data: memoryview) -> None:
    """Walk through every element of a file of version 5; ValueError says what does not hold."""
    if len(data) < 128:
        raise ValueError("the header is cut off")
    order = {b"IM": "<", b"MI": ">"}.get(bytes(data[126:128]))
    if order is None:
        raise ValueError("the header names no byte order")
    unpacked = 0
    for kind, body in _elements(data[128:], order):
        if kind == _COMPRESSED:
            unpacking = zlib.decompressobj()
            content = unpacking.decompress(body, MOST_BYTES - unpacked)
            if unpacking.unconsumed_tail:
                raise ValueError(f"unpacks to more than {MOST_BYTES} bytes")
            if not unpacking.eof:
                raise ValueError("a compressed variable is cut off")
            unpacked += len(content)
            inside = list(_elements(memoryview(content), order))
            if len(inside) != 1:
                raise ValueError("a compressed variable is not one variable")
            kind, body = inside[0]
        if kind != _MATRIX:
            raise ValueError(f"a variable is of type {kind}")
        _check_matrix(body, order, 0)


def _elements(data: memoryview, order: str) -> Iterator[tuple[int, memoryview]]:
    """Split bytes into elements: type and body."""
    at = 0
    while at < len(data):
        if len(data) - at < 8:
            raise ValueError("a tag is cut off")
        (first,) = struct.unpack_from(f"{order}I", data, at)
        if first >> 16:
            # The small form: size and type in one word, up to four bytes of data behind it.
            kind, size, start, end = first & 0xFFFF, first >> 16, at + 4, at + 8
            if size > 4:
                raise ValueError(f"a small element has {size} bytes")
        else:
            (size,) = struct.unpack_from(f"{order}I", data, at + 4)
            kind, start = first, at + 8
            # Compressed elements are the only ones that are not padded to eight bytes.
            end = start + size + (0 if kind == _COMPRESSED else -size % 8)
        if start + size > len(data):
            raise ValueError("an element is longer than what holds it")
        if kind not in _TEXTS and kind not in (_MATRIX, _COMPRESSED):
            raise ValueError(f"an element is of an unknown type {kind}")
        yield kind, data[start : start + size]
        at = end


def _check_matrix(body: memoryview, order: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("values are nested too deeply")
    if not body:  # an empty cell
        return
    parts = list(_elements(body, order))
    kinds = [kind for kind, _ in parts]
    if _COMPRESSED in kinds or kinds[0] != _UINT32 or len(parts[0][1]) != 8:
        raise ValueError("an array has no flags")
    (flags,) = struct.unpack_from(f"{order}I", parts[0][1])
    array_class, is_complex = flags & 0xFF, bool(flags & _COMPLEX_FLAG)
    if array_class == _OPAQUE:
        rest = parts[1:]
    else:
        if len(parts) < 3 or kinds[1] not in (_INT32, _UINT32) or kinds[2] not in (_INT8, _UINT8):
            raise ValueError("an array has no dimensions or no name")
        dimensions = [n for (n,) in struct.iter_unpack(f"{order}i", parts[1][1][: len(parts[1][1]) // 4 * 4])]
        if len(dimensions) < 2 or len(dimensions) > 32 or min(dimensions) < 0:
            raise ValueError(f"an array has the dimensions {dimensions}")
        rest = parts[3:]
        _check_members(array_class, is_complex, math.prod(dimensions), rest, order)
    for kind, inner in rest:
        if kind == _MATRIX:
            _check_matrix(inner, order, depth + 1)


def _check_members(
    array_class: int, is_complex: bool, count: int, parts: list[tuple[int, memoryview]], order: str
) -> None:
    """Compare what an array holds with its class and number of elements."""
    kinds = [kind for kind, _ in parts]
    if array_class in _NUMERIC_CLASSES:
        fine = len(parts) == 1 + is_complex and all(
            kind in _NUMBERS and len(body) == count * _NUMBERS[kind] for kind, body in parts
        )
    elif array_class == _SPARSE:
        fine = len(parts) == 3 + is_complex and set(kinds) <= set(_NUMBERS)
    elif array_class == _CHARACTERS:
        fine = len(parts) == 1 and set(kinds) <= _TEXTS
    elif array_class == _CELL:
        fine = kinds == [_MATRIX] * count
    elif array_class in (_STRUCT, _OBJECT):
        head = 2 + (array_class == _OBJECT)
        if len(parts) < head or _MATRIX in kinds[:head]:
            raise ValueError("a struct has no field names")
        length, names = parts[head - 2], parts[head - 1]
        if length[0] not in (_INT32, _UINT32) or len(length[1]) != 4 or names[0] not in (_INT8, _UINT8):
            raise ValueError("a struct has no field names")
        (width,) = struct.unpack_from(f"{order}i", length[1])
        if width < 1 or len(names[1]) % width:
            raise ValueError("the field names of a struct have no common length")
        fine = kinds[head:] == [_MATRIX] * (count * (len(names[1]) // width))
    else:
        fine = array_class == _FUNCTION and set(kinds) <= {_MATRIX}
    if not fine:
        raise ValueError(f"an array of class {array_class} does not hold what its dimensions say")


# More values than any network has; references that name each other again and again would make any number.
_MOST_VALUES = 20_000


class _Values:
    """The values of one file of version 7.3, counted while they are read."""

    def __init__(self, contents: HDF5File) -> None:
        self._contents = contents
        self._left = _MOST_VALUES
        self._bytes_left = MOST_BYTES

    def plain(self, node: Any, depth: int) -> Any:
        """Give a variable as plain values."""
        import h5py

        self._left -= 1
        if depth > 16 or self._left < 0:  # networks nest four deep; a reference loop would never end
            raise ValueError("values are nested too deeply")
        if isinstance(node, h5py.Group):
            fields = {name: node[name] for name in node}
            arrays = [field for field in fields.values() if _is_struct_array_field(field)]
            if fields and len(arrays) == len(fields):
                columns = {name: self._followed(field) for name, field in fields.items()}
                return [
                    {name: self.plain(column[i], depth + 1) for name, column in columns.items()}
                    for i in range(arrays[0].size)
                ]
            return {name: self.plain(field, depth + 1) for name, field in fields.items()}
        kind = bytes(node.attrs.get("MATLAB_class", b"")).decode()
        if node.attrs.get("MATLAB_empty", 0):
            return [] if kind == "cell" else "" if kind == "char" else np.zeros(0)
        if holds_references(node):
            return [self.plain(value, depth + 1) for value in self._followed(node)]
        if kind in ("function_handle", "opaque"):
            return None
        self._bytes_left -= node.nbytes
        if self._bytes_left < 0:  # one array that many references name
            raise ValueError(f"unpacks to more than {MOST_BYTES} bytes")
        # HDF5 stores MATLAB's column-major arrays with the axes reversed.
        array = np.asarray(node[()]).T
        if kind == "char":
            return "".join(chr(code) for code in array.ravel(order="F"))
        return array

    def _followed(self, node: Any) -> list[Any]:
        """Give what an array refers to, in column order: reversed axes make that C order."""
        if node.size > self._left:
            raise ValueError("values are nested too deeply")
        return [self._contents.follow(reference) for reference in np.asarray(node[()]).ravel()]


def _is_struct_array_field(node: Any) -> bool:
    import h5py

    return isinstance(node, h5py.Dataset) and holds_references(node) and "MATLAB_class" not in node.attrs


def require(variables: Mapping[str, Any], name: str, where: str) -> Any:
    """Take a variable or struct field by name; a missing one raises HarnessError that lists what is there."""
    if name not in variables:
        there = ", ".join(sorted(variables)) or "nothing"
        raise HarnessError(
            f"{where}: '{name}' is missing (the file holds {there}); it is not this method's weights file"
        )
    return variables[name]


def number(value: Any, name: str, where: str) -> float:
    """Read a 1x1 number; anything else raises HarnessError."""
    if not isinstance(value, np.ndarray) or value.size != 1 or value.dtype.kind not in "iufb":
        raise HarnessError(f"{where}: '{name}' should be one number; it is not this method's weights file")
    return float(value.ravel()[0])
