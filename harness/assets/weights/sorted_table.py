"""Sorted tables of keys and values in checksummed blocks: what TensorFlow lists the variables of a checkpoint in.

Source of the format: google/leveldb, ``doc/table_format.md``. Checksums are CRC-32C, masked by a
rotation and a constant.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from harness.assets.weights.binary import LONGEST_NAME, Bytes

_FOOTER = 48
_MAGIC = 0xDB4775248B80FB57
_TRAILER = 5  # kind of compression, checksum
_MOST_NAMES = 1 << 16

_POLYNOMIAL = 0x82F63B78
_ROW = 4096


def read_table(file: Bytes) -> dict[bytes, bytes]:
    """Read keys and values, of all blocks in the order in which they are written.

    Raises ValueError: It is no table, a damaged one, or holds more than the names of a network.
    """
    body = file.take(file.left)
    footer = Bytes(body[max(len(body) - _FOOTER, 0) :])
    meta, index = _handle(footer), _handle(footer)
    padding = footer.take(footer.left - 8)
    if footer.numbers("Q") != (_MAGIC,) or any(padding):
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
        if shared > len(key) or shared + own > LONGEST_NAME:
            raise ValueError("a name is longer than names are")
        key = key[:shared] + bytes(pairs.take(own))
        yield key, bytes(pairs.take(size))


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
