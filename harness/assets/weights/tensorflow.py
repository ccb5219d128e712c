"""Reading checkpoints of TensorFlow 1 (``.index`` and ``.data-…``), without TensorFlow.

Sources of the format: tensorflow/tensorflow, ``core/util/tensor_bundle/tensor_bundle.cc`` and
``core/protobuf/tensor_bundle.proto``; google/leveldb, ``doc/table_format.md``, for the table of names; both guard what
they hold by CRC-32C, masked by a rotation and a constant.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.assets.weights.binary import BYTES, FIXED32, VARINT, Bytes, array, file_bytes, message, text

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5  # kind of compression, checksum
_LONGEST_NAME = 1024
_MOST_NAMES = 1 << 16

# Field numbers: of BundleHeaderProto, BundleEntryProto, TensorShapeProto and its Dim.
_SHARDS, _BIG_ENDIAN = 1, 2
_DTYPE, _SHAPE, _SHARD, _OFFSET, _SIZE, _CRC, _SLICES = range(1, 8)
_DIM, _UNKNOWN_RANK = 2, 3
_DIM_SIZE = 1
_TYPES = {1: "<f4", 2: "<f8", 3: "<i4", 4: "<u1", 5: "<i2", 6: "<i1", 9: "<i8", 10: "|b1", 19: "<f2"}
# What a training program counts.
_COUNTERS = ("global_step", "beta1_power", "beta2_power")


class _Entry(NamedTuple):
    kind: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


def read_checkpoint_v2(path: Path, *shards: Path) -> dict[str, NDArray[Any]]:
    """Read every variable under its own name, but for what the optimiser keeps.

    Left out are counters (``global_step``, ``beta1_power``, ``beta2_power``) and whatever is named below another
    variable (``conv/weights/Adam``). Arrays of four axes are filters: HWIO becomes OIHW; those of transposed
    convolutions, which TensorFlow has as (H, W, O, I), become IOHW by the same.

    Parameters
    ----------
    path : path
        The ``.index``.
    *shards : path
        The files of its numbers, in order; by default those that lie beside it under TensorFlow's names.

    Raises
    ------
    ValueError
        They are no such files, damaged, or do not belong together.
    FileNotFoundError
        A file is not there.
    """
    names = _table(file_bytes(path))
    count = _shards(names.pop(b"", None))
    if not shards:
        shards = tuple(path.with_name(f"{path.stem}.data-{index:05d}-of-{count:05d}") for index in range(count))
    if len(shards) != count:
        raise ValueError(f"its numbers lie in {count} files, not in {len(shards)}")
    entries = {text(memoryview(name)): _entry(value) for name, value in names.items()}
    arrays = _arrays(entries, shards)
    return {
        name: np.ascontiguousarray(values.transpose(3, 2, 0, 1)) if values.ndim == 4 else values
        for name, values in arrays.items()
        if name.rpartition("/")[2] not in _COUNTERS and not _is_slot(name, arrays)
    }


def _is_slot(name: str, names: dict[str, Any]) -> bool:
    """Return whether a variable is named below another one."""
    return any(name[:at] in names for at, letter in enumerate(name) if letter == "/")


def _arrays(entries: dict[str, _Entry], shards: Sequence[Path]) -> dict[str, NDArray[Any]]:
    """Take the numbers of each variable out of the files, which hold them one after the other and nothing else."""
    arrays: dict[str, NDArray[Any]] = {}
    order = sorted(entries, key=lambda name: (entries[name].shard, entries[name].offset, entries[name].size))
    for index, shard in enumerate(shards):
        data = file_bytes(shard)
        at = 0
        for name in order:
            entry = entries[name]
            if entry.shard != index:
                continue
            if entry.offset != at:
                raise ValueError(f"'{name}' does not begin where the variable before it ends")
            numbers = data.take(entry.size)
            at += entry.size
            if masked(crc32c(numbers)) != entry.crc:
                raise ValueError(f"the numbers of '{name}' have another checksum")
            arrays[name] = array(numbers, entry.kind, entry.shape)
        data.end()
    if len(arrays) != len(entries):
        raise ValueError("a variable lies in a file that there is not")
    return arrays


def _shards(header: bytes | None) -> int:
    if header is None:
        raise ValueError("has no header")
    fields = {number: value for number, wire, value in message(header) if wire == VARINT}
    if fields.get(_BIG_ENDIAN):
        raise ValueError("was written on a big-endian machine")
    count = int(fields.get(_SHARDS, 0))
    if not 1 <= count <= 1000:
        raise ValueError(f"its numbers lie in {count} files")
    return count


def _entry(data: bytes) -> _Entry:
    fields: dict[int, int] = {}
    shape: tuple[int, ...] = ()
    for number, wire, value in message(data):
        if number == _SLICES:
            raise ValueError("a variable is in slices")
        if number == _SHAPE and wire == BYTES:
            shape = _dimensions(value)
        elif number == _CRC and wire == FIXED32:
            fields[number] = int.from_bytes(value, "little")
        elif wire == VARINT:
            fields[number] = value
    kind = fields.get(_DTYPE, 0)
    if kind not in _TYPES:
        raise ValueError(f"a variable is of TensorFlow's type {kind}, which is no number")
    return _Entry(_TYPES[kind], shape, *(fields.get(number, 0) for number in (_SHARD, _OFFSET, _SIZE, _CRC)))


def _dimensions(data: memoryview) -> tuple[int, ...]:
    sizes: list[int] = []
    for number, wire, value in message(data):
        if number == _UNKNOWN_RANK and value:
            raise ValueError("a variable has no shape")
        if number == _DIM and wire == BYTES:
            sizes.append(
                next((size for field, kind, size in message(value) if (field, kind) == (_DIM_SIZE, VARINT)), 0)
            )
    return tuple(sizes)


# The table of names --------------------------------------------------------------------------------------------------


def _table(file: Bytes) -> dict[bytes, bytes]:
    """Read a sorted table of keys and values, all of its blocks in the order in which they are written."""
    body = file.take(file.left)
    footer = Bytes(body[max(len(body) - _FOOTER, 0) :])
    meta, index = _handle(footer), _handle(footer)
    footer.take(footer.left - 8)  # padding
    if footer.numbers("Q") != (_MAGIC,):
        raise ValueError("does not end as a table does")
    listed = []
    for _, value in _entries(_block(body, *index)):
        place = Bytes(value)
        listed.append(_handle(place))
        place.end()
    end = 0
    for offset, size in (*listed, meta, index):
        if offset != end:
            raise ValueError("its blocks do not follow each other")
        end = offset + size + _TRAILER
    if end + _FOOTER != len(body):
        raise ValueError("something lies between its blocks and its end")
    if list(_entries(_block(body, *meta))):
        raise ValueError("has a filter, which TensorFlow does not write")
    table: dict[bytes, bytes] = {}
    last: bytes | None = None
    for offset, size in listed:
        for key, value in _entries(_block(body, offset, size)):
            if last is not None and key <= last:
                raise ValueError("its names are not sorted")
            table[key] = value
            last = key
            if len(table) > _MOST_NAMES:
                raise ValueError(f"has more than {_MOST_NAMES} names")
    return table


def _handle(data: Bytes) -> tuple[int, int]:
    return data.varint(), data.varint()


def _block(body: memoryview, offset: int, size: int) -> memoryview:
    reader = Bytes(body)
    reader.take(offset)
    content = reader.take(size + 1)
    if content[-1]:
        raise ValueError("a block is compressed, which TensorFlow's checkpoints are not")
    if reader.numbers("I") != (masked(crc32c(content)),):
        raise ValueError("a block has another checksum")
    return content[:-1]


def _entries(block: memoryview) -> Iterator[tuple[bytes, bytes]]:
    """Give the pairs of a block, whose keys say only what differs from the one before."""
    if len(block) < 4:
        raise ValueError("a block is cut off")
    restarts = int.from_bytes(block[-4:], "little")
    data = Bytes(block)
    pairs = Bytes(data.take(len(block) - 4 - 4 * restarts))
    key = b""
    while pairs.left:
        shared, own, size = pairs.varint(), pairs.varint(), pairs.varint()
        if shared > len(key) or shared + own > _LONGEST_NAME:
            raise ValueError("a name is longer than names are")
        key = key[:shared] + bytes(pairs.take(own))
        yield key, bytes(pairs.take(size))


# CRC-32C -------------------------------------------------------------------------------------------------------------

_POLYNOMIAL = 0x82F63B78
_ROW = 4096


def masked(crc: int) -> int:
    """Mask a checksum as LevelDB and TensorFlow store it."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def crc32c(data: bytes | memoryview) -> int:
    """Compute the CRC-32C (Castagnoli) of bytes; long ones are cut into rows that numpy goes through side by side."""
    table = _crc_table()
    rows = len(data) // _ROW if len(data) >= 4 * _ROW else 0
    crc = 0xFFFFFFFF
    if rows:
        grid = np.frombuffer(data, np.uint8, rows * _ROW).reshape(rows, _ROW)
        sums = np.zeros(rows, np.uint32)
        for column in np.ascontiguousarray(grid.T):
            sums = table[(sums ^ column) & 0xFF] ^ (sums >> 8)
        over = _shifted().tolist()
        for value in sums.tolist():
            crc = over[0][crc & 255] ^ over[1][crc >> 8 & 255] ^ over[2][crc >> 16 & 255] ^ over[3][crc >> 24] ^ value
    plain = table.tolist()
    for byte in bytes(data[rows * _ROW :]):
        crc = plain[(crc ^ byte) & 0xFF] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


@functools.cache
def _crc_table() -> NDArray[np.uint32]:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, table >> 1 ^ np.uint32(_POLYNOMIAL), table >> 1)
    return table


@functools.cache
def _shifted() -> NDArray[np.uint32]:
    """Give what each byte of a checksum becomes after a row of zeros: (4, 256)."""
    sums = np.arange(256, dtype=np.uint32) << np.arange(0, 32, 8, dtype=np.uint32)[:, None]
    for _ in range(_ROW):
        sums = _crc_table()[sums & 0xFF] ^ (sums >> 8)
    return sums
