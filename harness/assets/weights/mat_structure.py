"""Checking the structure of a MATLAB 5 file before a reader written in C walks through it.

scipy's reader trusts the tags of a file: a damaged one can make it read outside its buffers and end the process. Here
every tag is checked first: known types, sizes inside their parents, as many members as the dimensions say, and no more
bytes unpacked than a weights file can have. Source of the format: MathWorks, "MAT-File Format", level 5.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from harness.assets.bounds import MOST_BYTES

_INT8, _UINT8, _INT32, _UINT32, _MATRIX, _COMPRESSED = 1, 2, 5, 6, 14, 15
# Bytes of a number by its type.
_NUMBERS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_TEXTS = {*_NUMBERS, 16, 17, 18}
_COMPLEX_FLAG = 0x800
_CELL, _STRUCT, _OBJECT, _CHARACTERS, _SPARSE, _FUNCTION, _OPAQUE = 1, 2, 3, 4, 5, 16, 17
_NUMERIC_CLASSES = range(6, 16)
# Networks nest four deep.
_DEEPEST = 24


def check_structure(path: Path) -> None:
    """Walk through every element of a file.

    Parameters
    ----------
    path : path
        A MATLAB file of version 5.

    Raises
    ------
    ValueError
        What does not hold.
    """
    data = memoryview(path.read_bytes())
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
            raise ValueError(f"an element is of type {kind}, which there is not")
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
