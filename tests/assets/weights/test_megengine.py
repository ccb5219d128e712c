"""State dictionaries that MegEngine pickled: read as numbers; nothing in them runs."""

from __future__ import annotations

import os
import pickle
import pickletools
import resource
import struct
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.assets.weights.importers import import_weights
from harness.errors import HarnessError

RANDOM = np.random.default_rng(3)
STATE = OrderedDict(
    {
        "conv.weight": RANDOM.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "conv.bias": RANDOM.normal(size=(1, 4, 1, 1)).astype(np.float32),
        "turned": np.asfortranarray(RANDOM.normal(size=(2, 5))),
        "swapped": RANDOM.normal(size=3).astype(">f4"),
        "count": np.arange(3, dtype=np.int64),
    }
)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("wrapped", [True, False])
def test_numbers(tmp_path: Path, protocol: int, wrapped: bool) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps({"epoch": 70, "state_dict": STATE} if wrapped else STATE, protocol))
    found = import_weights(path, "megengine")
    assert list(found) == list(STATE)
    for name, value in STATE.items():
        np.testing.assert_array_equal(found[name], value)
        assert found[name].dtype == value.dtype.newbyteorder("=") and found[name].flags.c_contiguous


class Harm:
    """Unpickled, this would make a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


@pytest.mark.parametrize("inside", [True, False])
def test_code_is_refused(tmp_path: Path, inside: bool) -> None:
    path, made = tmp_path / "a.pkl", tmp_path / "made"
    array = np.array([Harm(made)], dtype=object)
    path.write_bytes(pickle.dumps({"state_dict": {**STATE, "x": array if inside else Harm(made)}}))
    with pytest.raises(HarnessError, match=r"holds more than arrays|samples of type"):
        import_weights(path, "megengine")
    assert not made.exists()


@pytest.mark.parametrize(
    "state",
    [
        3,
        [STATE],
        {"a": 3},
        {3: STATE["count"]},
        {"state_dict": {"a": "b"}},
        {},
        {"a": np.array(["text"])},
        {"a": np.array([1j])},
        {"a": np.array([np.nan])},
    ],
)
def test_what_holds_no_weights_is_refused(tmp_path: Path, state: Any) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(state))
    with pytest.raises(HarnessError) as error:
        import_weights(path, "megengine")
    assert str(error.value).startswith(str(path)) and "\n" not in str(error.value)


def rewritten(old: bytes, new: bytes) -> bytes:
    data = pickle.dumps({"a": np.zeros((2, 3), np.float32)}, 2)
    assert data.count(old) == 1, pickletools.dis(data)
    return data.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"K\x02K\x03\x86", b"K\xffK\xff\x86"),  # a shape that the samples do not fill
        (b"K\x02K\x03\x86", b"J\xfe\xff\xff\xffK\x03\x86"),  # a side of -2
        (b"f4", b"O8"),  # samples that would be objects
    ],
)
def test_impossible_arrays_are_refused(tmp_path: Path, old: bytes, new: bytes) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(rewritten(old, new))
    with pytest.raises(HarnessError):
        import_weights(path, "megengine")


def test_one_array_under_many_names_is_no_bomb(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    array = np.zeros(1 << 18, np.float32)
    path.write_bytes(pickle.dumps({f"n{i}": array for i in range(3000)}))
    with pytest.raises(HarnessError, match="unpacks to more bytes"):
        import_weights(path, "megengine")


def test_numbers_of_a_memo_take_no_room(tmp_path: Path) -> None:
    """Nine bytes: pickle's own unpickler makes a table of a gigabyte for them."""
    path = tmp_path / "a.pkl"
    path.write_bytes(b"\x80\x02}r" + struct.pack("<I", 2**28) + b".")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(HarnessError, match=r"no state dictionary|holds no arrays"):
        import_weights(path, "megengine")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes


@pytest.mark.parametrize(
    ("content", "match"),
    [
        # (t, t) of (t, t) and so on as a key: hashing it would take for ever.
        (b"\x80\x02})q\x00" + b"h\x00h\x00\x86q\x00" * 60 + b"K\x01s.", "keys are no texts"),
        (b"\x80\x02}(" + b"K\x01K\x02" + b"u.", "keys are no texts"),
        (b"\x80\x04\x8f.", "instruction"),
        (b"\x80\x02}h\x05.", "instruction|memo|Memo"),
        (pickle.dumps(STATE) + b"x", "more bytes than the pickle"),
    ],
)
def test_other_instructions_are_refused(tmp_path: Path, content: bytes, match: str) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(content)
    with pytest.raises(HarnessError, match=match):
        import_weights(path, "megengine")
