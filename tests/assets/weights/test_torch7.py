"""Networks of Torch7: what is read out of them, and every way in which they can be wrong."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_formats import Torch7

from harness.assets.weights.importers import import_weights
from harness.errors import HarnessError

RNG = np.random.default_rng(5)
FIRST, SECOND = (RNG.normal(size=shape).astype(np.float32) for shape in ((4, 3, 3, 3), (2, 8, 1, 1)))
BIAS = RNG.normal(size=4).astype(np.float32)


def network(writer: Torch7) -> bytes:
    """A convolution, two branches side by side of which one has another, and what holds no weights."""
    branches = writer.chain(
        writer.module("nn.Identity"), writer.chain(writer.convolution(FIRST, BIAS)), name="nn.Concat"
    )
    return writer.chain(
        writer.convolution(FIRST + 1, BIAS, rows=True),
        writer.module("nn.ReLU", inplace=True, val=0, train=False, gradInput=writer.tensor(np.zeros((), np.float32))),
        branches,
        writer.convolution(SECOND, BIAS[:2]),
    )


def read(folder: Path, data: bytes) -> dict[str, Any]:
    path = folder / "a.t7"
    path.write_bytes(data)
    return import_weights(path, "torch7")


def test_layers_are_numbered_in_the_order_of_the_modules(tmp_path: Path) -> None:
    found = read(tmp_path, network(Torch7()))
    assert list(found) == [f"{number}.{kind}" for number in range(3) for kind in ("weight", "bias")]
    for name, wanted in {"0.weight": FIRST + 1, "1.weight": FIRST, "2.weight": SECOND, "1.bias": BIAS}.items():
        np.testing.assert_array_equal(found[name], wanted)


def test_weights_that_share_one_storage(tmp_path: Path) -> None:
    """Torch7's ``getParameters`` lays all weights into one storage; a tensor then begins somewhere in it."""
    writer = Torch7()
    first = writer.tensor(np.arange(12, dtype=np.float32).reshape(3, 4))
    # The storage of the first tensor is the second object of the file; its number stands for it.
    second = writer._head("torch.CudaTensor") + struct.pack("<iqqqqqii", 2, 2, 3, 3, 1, 5, 4, 2)
    found = read(tmp_path, writer.chain(writer.module("nn.A", weight=first), writer.module("nn.B", weight=second)))
    np.testing.assert_array_equal(found["1.weight"], [[4, 5, 6], [7, 8, 9]])


def test_one_storage_behind_many_tensors_is_no_bomb(tmp_path: Path) -> None:
    writer = Torch7()
    side = 1 << 10
    first = writer.tensor(np.zeros((side, side), np.float32))
    again = struct.pack("<iqqqqqii", 2, side, side, side, 1, 1, 4, 2)
    modules = [writer.module("nn.A", weight=writer._head("torch.CudaTensor") + again) for _ in range(1100)]
    with pytest.raises(HarnessError, match="unpacks to more bytes"):
        read(tmp_path, writer.chain(writer.module("nn.A", weight=first), *modules))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda w: w.value({}), "holds no network"),
        (lambda w: struct.pack("<i", 77), "of the type 77"),
        (lambda w: network(w)[:-5], "bytes where"),
        (lambda w: network(w) + b"?", "left over"),
        (lambda w: w.module("nn.A", weight=w.tensor(BIAS, first=2)), "outside of its storage"),
        (lambda w: w.module("nn.A", weight=w.tensor(BIAS, strides=(0,))), "has the strides"),
        (lambda w: w._head("nn.A") + w.value(3), "has no fields"),
        (lambda w: struct.pack("<iii", 3, 1, 10**9), "declares 1000000000 entries"),
        (lambda w: w._head("torch.CudaStorage") + struct.pack("<q", 2**40), "bytes where"),
        (lambda w: w._head("torch.FloatTensor") + struct.pack("<i", 99), "99 axes"),
        (lambda w: w.chain(), "holds no arrays"),
        (lambda w: w.module("nn.A", weight=w.tensor(BIAS * np.nan)), "NaN or infinity"),
    ],
)
def test_what_is_refused(tmp_path: Path, data: Any, said: str) -> None:
    with pytest.raises(HarnessError, match=said) as error:
        read(tmp_path, data(Torch7()))
    assert "\n" not in str(error.value)


def test_nesting_ends(tmp_path: Path) -> None:
    writer, deep = Torch7(), b"\0\0\0\0"
    for _ in range(400):
        deep = struct.pack("<i", 3) + writer._index() + struct.pack("<i", 1) + writer.value(1.0) + deep
    with pytest.raises(HarnessError, match="nested more than"):
        read(tmp_path, deep)


def test_a_network_that_holds_itself_is_read_once(tmp_path: Path) -> None:
    writer = Torch7()
    head = writer._head("nn.Sequential")
    inside = {1.0: writer.convolution(FIRST, BIAS), 2.0: struct.pack("<ii", 4, 1)}
    assert list(read(tmp_path, head + writer.value({"modules": inside}))) == ["0.weight", "0.bias"]


def test_damaged_files_are_told(tmp_path: Path) -> None:
    good, dice = network(Torch7()), random.Random(7)
    for _ in range(300):
        damaged = bytearray(good)
        for _ in range(dice.randrange(1, 6)):
            damaged[dice.randrange(len(damaged))] = dice.randrange(256)
        try:
            read(tmp_path, bytes(damaged[: dice.choice([len(good), dice.randrange(len(good))])]))
        except HarnessError as error:
            assert "\n" not in str(error)
