"""Writers of the formats of MXNet, Caffe, TensorFlow 1 and Torch7, on whose files the readers are tried."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.assets.weights.sorted_table import crc32c, masked

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


# Torch7 --------------------------------------------------------------------------------------------------------------


class Torch7:
    """Writes objects as ``torch.save`` does: every table, object and tensor has a number of its own."""

    def __init__(self) -> None:
        self._count = 0

    def _index(self) -> bytes:
        self._count += 1
        return struct.pack("<i", self._count)

    def _head(self, name: str) -> bytes:
        return struct.pack("<i", 4) + self._index() + _short(b"V 1") + _short(name.encode())

    def value(self, value: Any) -> bytes:
        """Write None, a truth, a number, a text, a dict, an array, or bytes that are an object already."""
        if value is None:
            return struct.pack("<i", 0)
        if isinstance(value, bytes):
            return value
        if isinstance(value, bool):
            return struct.pack("<ii", 5, value)
        if isinstance(value, (int, float)):
            return struct.pack("<id", 1, value)
        if isinstance(value, str):
            return struct.pack("<i", 2) + _short(value.encode())
        if isinstance(value, dict):
            head = struct.pack("<i", 3) + self._index() + struct.pack("<i", len(value))
            return head + b"".join(self.value(part) for pair in value.items() for part in pair)
        return self.tensor(value)

    def tensor(self, values: NDArray[Any], first: int = 1, strides: tuple[int, ...] | None = None) -> bytes:
        """Write a tensor of float32 with a storage of its own, by default in C order."""
        steps = strides or tuple(step // values.itemsize for step in values.strides)
        head = self._head("torch.CudaTensor") + struct.pack("<i", values.ndim)
        places = struct.pack(f"<{2 * values.ndim + 1}q", *values.shape, *steps, first)
        storage = self._head("torch.CudaStorage") + struct.pack("<q", values.size)
        return head + places + storage + values.astype("<f4").tobytes()

    def function(self) -> bytes:
        """Write a function without variables."""
        return struct.pack("<i", 8) + self._index() + _short(b"\x1bLua") + self.value({})

    def module(self, name: str, **fields: Any) -> bytes:
        """Write an object of a class of ``nn``."""
        return self._head(name) + self.value(fields)

    def convolution(self, weight: NDArray[Any], bias: NDArray[Any], *, rows: bool = False) -> bytes:
        """Write a convolution, its filters OIHW or as rows."""
        out, into, height, width = weight.shape
        kept = weight.reshape(out, -1) if rows else weight
        sizes = {"nInputPlane": into, "nOutputPlane": out, "kH": height, "kW": width}
        return self.module(
            "cudnn.SpatialConvolution", weight=kept, bias=bias, accGradParameters=self.function(), **sizes
        )

    def chain(self, *modules: bytes, name: str = "nn.Sequential") -> bytes:
        """Write modules that run one after the other, or, as ``nn.Concat`` or ``nn.ConcatTable``, side by side."""
        return self.module(name, modules={float(n): module for n, module in enumerate(modules, 1)})


def _short(data: bytes) -> bytes:
    return struct.pack("<i", len(data)) + data


def torch7_rdn(state: Arrays, blocks: int, layers: int) -> bytes:
    """Write a state of RDN as its RDN.lua builds the network: every block holds the ones behind it."""
    writer = Torch7()

    def convolution(name: str) -> bytes:
        return writer.convolution(state[f"{name}.weight"], state[f"{name}.bias"], rows=name.endswith("LFF"))

    def plus_input(module: bytes) -> bytes:
        both = writer.chain(module, writer.module("nn.Identity"), name="nn.ConcatTable")
        return writer.chain(both, writer.module("nn.CAddTable"))

    def block(number: int) -> bytes:
        name = f"RDBs.{number}"
        dense = [
            writer.chain(
                writer.module("nn.Identity"),
                writer.chain(convolution(f"{name}.convs.{layer}.conv.0"), writer.module("nn.ReLU")),
                name="nn.Concat",
            )
            for layer in range(layers)
        ]
        own = plus_input(writer.chain(*dense, convolution(f"{name}.LFF")))
        if number == blocks - 1:
            return own
        return writer.chain(own, writer.chain(writer.module("nn.Identity"), block(number + 1), name="nn.Concat"))

    body = writer.chain(convolution("SFENet2"), block(0), convolution("GFF.0"), convolution("GFF.1"))
    up = [convolution(name.removesuffix(".weight")) for name in state if re.fullmatch(r"UPNet\.\d+\.weight", name)]
    network = [convolution("SFENet1"), plus_input(body), *up]
    return writer.chain(convolution("sub_mean"), writer.chain(*network), convolution("add_mean"))
