"""Reading checkpoints of TensorFlow 1 (``.index`` and ``.data-…``), without TensorFlow.

Sources of the format: tensorflow/tensorflow, ``core/util/tensor_bundle/tensor_bundle.cc`` and
``core/protobuf/tensor_bundle.proto``. The names lie in a sorted table, the numbers one after the other in other files,
each variable's with a checksum.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from harness.assets.weights.binary import BYTES, FIXED32, VARINT, array, file_bytes, message, text
from harness.assets.weights.sorted_table import crc32c, masked, read_table

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

    `*shards`: The files of its numbers, in order; by default those that lie beside it under TensorFlow's names.
    Raises ValueError: They are no such files, damaged, or do not belong together.
    Raises FileNotFoundError: A file is not there.
    """
    names = read_table(file_bytes(path))
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
        if name.rpartition("/")[2] not in _COUNTERS
        and not any(name[:at] in arrays for at, sign in enumerate(name) if sign == "/")
    }


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
