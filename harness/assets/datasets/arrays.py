"""Reading one large array of a MATLAB file without holding it in memory: versions 5 to 7 and 7.3.

MATLAB stores the first axis fastest, so one block of an array of blocks is spread over the whole file. The file is
therefore read once from its beginning to its end, and its samples are laid into a temporary file in the order in which
they are wanted; that file is mapped, so memory holds a few megabytes whatever the array's size.
"""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.foreign import MOST_BYTES, most_bytes, open_hdf5
from harness.errors import HarnessError

# Data types of MAT-file level 5 (MathWorks, "MAT-File Format", tables 1-1 and 1-3).
_MATRIX, _COMPRESSED = 14, 15
_NUMERIC = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_CLASSES = {6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8"}
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HEADER = 128

# Bytes read at a time: what bounds the memory.
_STEP = 1 << 22


@contextlib.contextmanager
def open_array(path: Path, variable: str) -> Iterator[NDArray[Any]]:
    """Give a numeric array of a MATLAB file as a read-only memory map, axes as in MATLAB.

    `path`: A MAT file of version 5 to 7 (compressed or not) or 7.3 (HDF5).
    Yields: Mapped from a temporary file that is gone when the block ends.
    Raises HarnessError: The file is missing, damaged or truncated, has no such variable, or it is no plain array of
        real numbers; or it names other files, or declares more than a file of its size can hold.
    """
    with tempfile.TemporaryFile(prefix="harness-array-") as laid:
        with _opened(path) as (file, is_hdf5):
            array = _from_hdf5(path, variable, laid) if is_hdf5 else _from_level5(file, path, variable, laid)
        yield array


def look_at_array(path: Path, variable: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Read an array's shape and type, and no sample; the rest is as in `open_array`.

    A truncated file is noticed all the same: the length of a variable stands before it.
    """
    with _opened(path) as (file, is_hdf5):
        if is_hdf5:
            with _hdf5_array(path, variable) as stored:
                return tuple(reversed(stored.shape)), stored.dtype
        _, shape, dtype, _ = _find_level5(file, path, variable)
        return shape, dtype


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], bool]]:
    """Open a file; also tell whether it is HDF5."""
    try:
        with path.open("rb") as file:
            head = file.read(520)
            yield file, head.startswith(_HDF5) or head[512:520] == _HDF5
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror or error}); download it again") from None


def _lay_out(laid: IO[bytes], shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Map an array of a shape into a temporary file, the last axis fastest."""
    laid.truncate(max(math.prod(shape) * dtype.itemsize, 1))
    mapped: NDArray[Any] = np.memmap(laid, dtype=dtype, mode="r+", shape=shape)
    return mapped


# HDF5 ----------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _hdf5_array(path: Path, variable: str) -> Iterator[Any]:
    """Open an array of an HDF5 file."""
    import h5py

    try:
        with open_hdf5(path) as contents:
            stored = contents.file.get(variable)
            if (
                not isinstance(stored, h5py.Dataset)
                or stored.dtype.kind not in "iuf"
                or not (stored.ndim and stored.size)
            ):
                raise HarnessError(
                    f"{path}: holds {_names(list(contents.file))} and no array '{variable}'; download it again"
                )
            yield stored
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        brief = (str(error).splitlines() or [type(error).__name__])[0][:150]
        raise HarnessError(f"{path}: cannot be read ({brief}); download it again") from None


def _from_hdf5(path: Path, variable: str, laid: IO[bytes]) -> NDArray[Any]:
    with _hdf5_array(path, variable) as stored:
        # MATLAB writes its axes in reverse order.
        array = _lay_out(laid, tuple(reversed(stored.shape)), stored.dtype)
        turned = array.transpose()
        budget = max(1, _STEP // stored.dtype.itemsize)
        for slab in _slabs(stored.shape, stored.chunks or (1,) * stored.ndim, budget):
            turned[slab] = stored[slab]
        return array


def _slabs(shape: tuple[int, ...], chunks: tuple[int, ...], budget: int) -> Iterator[tuple[slice, ...]]:
    """Cut a stored array into pieces of at most `budget` samples that do not cut chunks (a chunk may be larger)."""
    if not shape:
        yield ()
        return
    row = math.prod(shape[1:])
    if row * chunks[0] <= budget:
        step = budget // (row * chunks[0]) * chunks[0]
        for start in range(0, shape[0], step):
            yield (slice(start, min(start + step, shape[0])),)
        return
    for start in range(0, shape[0], chunks[0]):
        for inner in _slabs(shape[1:], chunks[1:], max(1, budget // chunks[0])):
            yield (slice(start, min(start + chunks[0], shape[0])), *inner)


# Level 5 -------------------------------------------------------------------------------------------------------------


def _from_level5(file: IO[bytes], path: Path, variable: str, laid: IO[bytes]) -> NDArray[Any]:
    stream, shape, dtype, stored = _find_level5(file, path, variable)
    try:
        array = _lay_out(laid, shape, dtype)
        _lay(stream, stored, array)
        return array
    except (EOFError, zlib.error, ValueError):
        raise _damaged(path) from None


def _damaged(path: Path) -> HarnessError:
    return HarnessError(f"{path}: cannot be read (no MATLAB file, or truncated); download it again")


def _find_level5(
    file: IO[bytes], path: Path, variable: str
) -> tuple[_Element, tuple[int, ...], np.dtype[Any], np.dtype[Any]]:
    """Find an array; give its samples, shape, type, and the type that its samples are stored in."""
    file.seek(124)
    mark = file.read(4)
    if len(mark) < 4 or mark[2:] not in (b"IM", b"MI"):
        raise _damaged(path)
    order = "<" if mark[2:] == b"IM" else ">"
    seen: list[str] = []
    position, end = _HEADER, os.fstat(file.fileno()).st_size
    try:
        while position + 8 <= end:
            file.seek(position)
            kind, size = (int(value) for value in np.frombuffer(file.read(8), f"{order}u4"))
            position += 8 + size
            if position > end or kind not in (_MATRIX, _COMPRESSED):
                raise _damaged(path)
            stream = _Element(file, size, compressed=kind == _COMPRESSED)
            if kind == _COMPRESSED and np.frombuffer(stream.read(8), f"{order}u4")[0] != _MATRIX:
                raise _damaged(path)
            matrix = _read_matrix(stream, order, variable, path, seen)
            if matrix is not None:
                return stream, *matrix
    except (EOFError, zlib.error, ValueError):
        raise _damaged(path) from None
    raise HarnessError(f"{path}: holds {_names(seen)} and no array '{variable}'; download it again")


class _Element:
    """The bytes of one element, inflated where it is compressed, a few megabytes at a time."""

    def __init__(self, file: IO[bytes], size: int, *, compressed: bool) -> None:
        self._file = file
        self._left = size
        self._inflate = zlib.decompressobj() if compressed else None
        self._ready = bytearray()

    def read(self, count: int) -> bytes:
        """Read exactly so many bytes; EOFError where there are fewer."""
        while len(self._ready) < count:
            waiting = self._inflate.unconsumed_tail if self._inflate else b""
            if not waiting:
                waiting = self._file.read(min(1 << 16 if self._inflate else count - len(self._ready), self._left))
                self._left -= len(waiting)
            if not waiting:
                raise EOFError
            self._ready += self._inflate.decompress(waiting, _STEP) if self._inflate else waiting
        data = bytes(self._ready[:count])
        del self._ready[:count]
        return data


def _tag(stream: _Element, order: str) -> tuple[int, int, bytes]:
    """Read a data element's tag: kind, size, and the data itself where it is small enough to be in the tag."""
    raw = stream.read(8)
    (first,) = np.frombuffer(raw[:4], f"{order}u4")
    if first >> 16:  # the small element format
        return int(first & 0xFFFF), int(first >> 16), raw[4 : 4 + int(first >> 16)]
    (size,) = np.frombuffer(raw[4:], f"{order}u4")
    return int(first), int(size), b""


def _element(stream: _Element, order: str) -> tuple[int, bytes]:
    kind, size, data = _tag(stream, order)
    if data or not size:
        return kind, data
    if size > 1 << 20:  # names and dimensions are a few bytes
        raise EOFError
    data = stream.read(size)
    stream.read(-size % 8)
    return kind, data


def _read_matrix(
    stream: _Element, order: str, variable: str, path: Path, seen: list[str]
) -> tuple[tuple[int, ...], np.dtype[Any], np.dtype[Any]] | None:
    """Read a matrix up to its samples; None where it is another variable."""
    _, flags = _element(stream, order)
    (word,) = np.frombuffer(flags[:4], f"{order}u4")
    _, dimensions = _element(stream, order)
    shape = tuple(int(length) for length in np.frombuffer(dimensions, f"{order}i4"))
    _, name = _element(stream, order)
    seen.append(name.decode("latin-1"))
    if seen[-1] != variable:
        return None
    array_class, is_complex = int(word & 0xFF), bool(word & 0x0800)
    if array_class not in _CLASSES or is_complex or any(length < 0 for length in shape):
        raise HarnessError(f"{path}: '{variable}' is no plain array of real numbers; download it again")
    kind, size, data = _tag(stream, order)
    if kind not in _NUMERIC or data:
        raise HarnessError(f"{path}: '{variable}' is too small to be what is expected; download it again")
    stored = np.dtype(f"{order}{_NUMERIC[kind]}")
    if size != math.prod(shape) * stored.itemsize:
        raise EOFError
    if size > most_bytes(path) or math.prod(shape) * np.dtype(_CLASSES[array_class]).itemsize > MOST_BYTES:
        raise HarnessError(f"{path}: '{variable}' unpacks to more than a file of this size holds; download it again")
    return shape, np.dtype(_CLASSES[array_class]), stored


def _lay(stream: _Element, stored: np.dtype[Any], array: NDArray[Any]) -> None:
    """Lay samples that come with the first axis fastest into an array with the last axis fastest."""
    turned = array.transpose()  # the stored order of axes
    slow = max(1, turned.shape[0])
    row = array.size // slow
    if row * stored.itemsize <= _STEP:
        step = max(1, _STEP // max(1, row * stored.itemsize))
        for start in range(0, slow, step):
            stop = min(start + step, slow)
            data = np.frombuffer(stream.read((stop - start) * row * stored.itemsize), stored)
            turned[start:stop] = data.reshape((stop - start, *turned.shape[1:]))
        return
    for index in range(slow):  # one slice of the slowest axis is too large: go one axis deeper
        _lay(stream, stored, turned[index].transpose())


def _names(names: list[str]) -> str:
    visible = [name for name in names if not name.startswith("#")]
    return ", ".join(f"'{name}'" for name in visible[:5]) or "no variables"
