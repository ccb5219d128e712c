"""Reading foreign bytes front to back: nothing is taken that is not there, and nothing is left over.

What does not hold is a ValueError with a few words; `harness.assets.weights.importers` makes a sentence of it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.foreign import MOST_BYTES

# Networks have tensors of up to five axes.
_MOST_AXES = 8
LONGEST_NAME = 1024
# Wire types of Protocol Buffers.
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


class Bytes:
    """Bytes and a place in them.

    `data`: Read from its beginning; little-endian.
    """

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data)
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes not taken yet."""
        return len(self._data) - self._at

    def take(self, size: int) -> memoryview:
        """Take the next bytes; ValueError where there are fewer."""
        if not 0 <= size <= self.left:
            raise ValueError(f"declares {size} bytes where {self.left} are left")
        self._at += size
        return self._data[self._at - size : self._at]

    def numbers(self, form: str) -> tuple[Any, ...]:
        """Take numbers of a `struct` format (without its byte order)."""
        form = f"<{form}"
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def varint(self) -> int:
        """Take a number of 64 bits, seven in each byte, the lowest first."""
        value = 0
        for shift in range(0, 70, 7):
            byte = self.take(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value
        raise ValueError("a number has more than 64 bits")

    def end(self) -> None:
        """Make sure that nothing is left over."""
        if self.left:
            raise ValueError(f"{self.left} bytes are left over")


def file_bytes(path: Path) -> Bytes:
    """Open a file that is not larger than weights can be.

    Raises ValueError: It is larger.
    Raises OSError: It cannot be read.
    """
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise ValueError(f"has {size} bytes, more than weights have")
    return Bytes(path.read_bytes())


def message(data: bytes | memoryview) -> Iterator[tuple[int, int, Any]]:
    """Read one message of Protocol Buffers, not those inside it.

    Yields: Number and wire type of a field, and its value: an int for `VARINT`, otherwise a memoryview.
    Raises ValueError: It is cut off, or has what nobody writes.
    """
    left = Bytes(data)
    while left.left:
        number, kind = divmod(left.varint(), 8)
        if not number:
            raise ValueError("a field has the number 0")
        if kind == VARINT:
            yield number, kind, left.varint()
        elif kind == BYTES:
            yield number, kind, left.take(left.varint())
        elif kind in (FIXED32, FIXED64):
            yield number, kind, left.take(4 if kind == FIXED32 else 8)
        else:
            raise ValueError(f"a field is of the wire type {kind}")


def text(data: memoryview) -> str:
    """Decode a name; ValueError where it is none."""
    if len(data) > LONGEST_NAME:
        raise ValueError("a name is longer than names are")
    name = bytes(data).decode()
    if not name.isprintable():
        raise ValueError("a name has characters that cannot be printed")
    return name


def array(data: bytes | memoryview, kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """Copy numbers out of bytes; ValueError where their count is not that of the shape.

    `data`: In C order.
    `kind`: numpy's name of their type, such as ``<f4``. Half precision becomes float32.
    `shape`: What the file declares.
    """
    dtype = np.dtype(kind)
    if len(shape) > _MOST_AXES or any(size < 0 for size in shape):
        raise ValueError(f"an array has the shape {shape}")
    if math.prod(shape) * dtype.itemsize != len(data):
        raise ValueError(f"an array of the shape {shape} has {len(data)} bytes")
    values = np.frombuffer(data, dtype=dtype).reshape(shape)
    return values.astype(np.float32 if dtype == np.float16 else dtype.newbyteorder("="))
