"""Writers of the formats of MXNet, Caffe and TensorFlow 1: their readers are tried on files made like theirs."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.weights.tensorflow import crc32c, masked

Arrays = Mapping[str, NDArray[Any]]

# MXNet --------------------------------------------------------------------------------------------------------------

_MXNET_TYPES = ("f4", "f8", "f2", "u1", "i4", "i1", "i8")


def mxnet_array(array: NDArray[Any], version: int = 2) -> bytes:
    """Write an array as MXNet does: version 0 (32-bit axes), 1, 2 (with a storage type) or 3 (NumPy's shapes)."""
    axes = struct.pack(f"<I{array.ndim}{'q' if version else 'I'}", array.ndim, *array.shape)
    magic = struct.pack("<I", 0xF993FAC7 + version) if version else b""
    storage = struct.pack("<i", 0) if version > 1 else b""
    about = struct.pack("<iii", 1, 0, _MXNET_TYPES.index(array.dtype.str[1:]))
    return magic + storage + axes + about + array.tobytes()


def mxnet_params(arrays: Arrays, version: int = 2) -> bytes:
    """Write a file of named arrays; names say ``arg:`` or ``aux:`` themselves."""
    names = [name.encode() for name in arrays]
    return b"".join(
        [
            struct.pack("<QQQ", 0x112, 0, len(arrays)),
            *(mxnet_array(array, version) for array in arrays.values()),
            struct.pack("<Q", len(names)),
            *(struct.pack("<Q", len(name)) + name for name in names),
        ]
    )


def mxnet_state(arrays: Arrays) -> bytes:
    """Write the state of a PyTorch network as MXNet would hold it: its names, statistics as auxiliary arrays."""
    norms = {name.rpartition(".")[0] for name in arrays if name.endswith(".running_mean")}
    named: dict[str, NDArray[Any]] = {}
    for name, array in arrays.items():
        layer, _, last = name.rpartition(".")
        if last.startswith("running_"):
            named[f"aux:{layer}_moving_{last.removeprefix('running_')}"] = array
        elif layer in norms:
            named[f"arg:{layer}_{'gamma' if last == 'weight' else 'beta'}"] = array
        else:
            named[f"arg:{layer}_{last}"] = array
    return mxnet_params(named)


# Protocol Buffers ----------------------------------------------------------------------------------------------------


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def field(number: int, value: int | bytes | str) -> bytes:
    """Write a field: a number, a text or a message."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    content = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(content)) + content


# Caffe ---------------------------------------------------------------------------------------------------------------


def caffe_blob(array: NDArray[Any], *, old: bool = False) -> bytes:
    """Write a blob, in single or double precision; an old one has four axes and no list of them."""
    data = field(8 if array.dtype == np.float64 else 5, array.tobytes())
    if old:
        four = (1,) * (4 - array.ndim) + array.shape
        return b"".join(field(number, size) for number, size in enumerate(four, 1)) + data
    return field(7, field(1, b"".join(map(varint, array.shape)))) + data


def caffe_layer(name: str, kind: str, *blobs: NDArray[Any], old: bool = False) -> bytes:
    if old:
        return field(2, field(4, name) + field(5, 4) + b"".join(field(6, caffe_blob(b, old=True)) for b in blobs))
    return field(100, field(1, name) + field(2, kind) + b"".join(field(7, caffe_blob(blob)) for blob in blobs))


def caffemodel(*layers: bytes) -> bytes:
    return field(1, "a network") + field(3, "data") + b"".join(layers)


# TensorFlow 1 --------------------------------------------------------------------------------------------------------

_TF_TYPES = {"<f4": 1, "<f8": 2, "<i4": 3, "|u1": 4, "<i8": 9, "<f2": 19}


def table_block(pairs: list[tuple[bytes, bytes]], restart: int = 16) -> bytes:
    """Write a block of a sorted table: each key says what differs from the one before, but for every 16th."""
    out, restarts, last = bytearray(), [], b""
    for index, (key, value) in enumerate(pairs):
        shared = 0
        if index % restart == 0:
            restarts.append(len(out))
        else:
            while shared < min(len(key), len(last)) and key[shared] == last[shared]:
                shared += 1
        out += varint(shared) + varint(len(key) - shared) + varint(len(value)) + key[shared:] + value
        last = key
    restarts = restarts or [0]
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table(pairs: list[tuple[bytes, bytes]], in_block: int = 20) -> bytes:
    """Write a sorted table (`pairs` as they are) in several blocks."""
    out = bytearray()

    def add(block: bytes) -> bytes:
        handle = varint(len(out)) + varint(len(block))
        out.extend(block + b"\0" + struct.pack("<I", masked(crc32c(block + b"\0"))))
        return handle

    listed = [
        (pairs[min(start + in_block, len(pairs)) - 1][0], add(table_block(pairs[start : start + in_block])))
        for start in range(0, len(pairs), in_block)
    ]
    handles = add(table_block([])) + add(table_block(listed, restart=1))
    return bytes(out) + handles.ljust(40, b"\0") + struct.pack("<Q", 0xDB4775248B80FB57)


def tf1_entry(array: NDArray[Any], offset: int, shard: int = 0) -> bytes:
    data = array.tobytes()
    shape = b"".join(field(2, field(1, size)) for size in array.shape)
    return b"".join(
        [
            field(1, _TF_TYPES[array.dtype.str]),
            field(2, shape),
            *([field(3, shard)] if shard else []),
            *([field(4, offset)] if offset else []),
            field(5, len(data)),
            varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c(data))),
        ]
    )


def tf1_checkpoint(arrays: Arrays) -> tuple[bytes, bytes]:
    """Write a checkpoint: its ``.index`` and its ``.data-00000-of-00001``. Filters are HWIO, as TensorFlow's are."""
    pairs = [(b"", field(1, 1) + field(3, field(1, 1)))]
    data = bytearray()
    for name in sorted(arrays, key=str.encode):
        pairs.append((name.encode(), tf1_entry(arrays[name], len(data))))
        data += arrays[name].tobytes()
    return table(pairs), bytes(data)
