"""Weights of MXNet, Caffe and TensorFlow 1: what is read out of them, and every way in which they can be wrong."""

from __future__ import annotations

import contextlib
import random
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foreign_formats import (
    caffe_blob,
    caffe_layer,
    caffemodel,
    field,
    mxnet_array,
    mxnet_params,
    mxnet_state,
    table,
    tf1_checkpoint,
    tf1_entry,
    varint,
)

from harness.assets.weights import binary, importers, sorted_table
from harness.assets.weights.importers import import_weights
from harness.assets.weights.loading import load_weights, numbered
from harness.assets.weights.recording import recording
from harness.errors import HarnessError, NotAvailableError

RNG = np.random.default_rng(3)
WEIGHT = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
BIAS = RNG.normal(size=4).astype(np.float32)
ZOO = Path("extra/WolframRhodium+Super-Resolution-Zoo/IRCNN/color")


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    def write_and_read(form: str, data: bytes, numbers: bytes | None = None) -> dict[str, Any]:
        path = tmp_path / "a.index"
        path.write_bytes(data)
        if numbers is not None:
            (tmp_path / "a.data-00000-of-00001").write_bytes(numbers)
        return import_weights(path, form)

    return write_and_read


def refused(read: Callable[..., Any], form: str, *data: bytes) -> str:
    with pytest.raises(HarnessError) as error:
        read(form, *data)
    text = str(error.value)
    assert "\n" not in text and not text.endswith(".") and len(text) < 600
    return text


# MXNet --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_mxnet(read: Callable[..., Any], version: int) -> None:
    stored: dict[str, Any] = {
        "arg:conv1_weight": WEIGHT,
        "arg:conv1_bias": BIAS.astype(np.float16),
        "arg:norm_gamma": BIAS,
        "arg:norm_beta": BIAS.astype(np.float64),
        "aux:norm_moving_mean": BIAS,
        "aux:norm_moving_var": BIAS**2,
        "steps": np.arange(3, dtype=np.int64),
    }
    found = read("mxnet-params", mxnet_params(stored, version))
    assert list(found) == [
        "conv1.weight",
        "conv1.bias",
        "norm.weight",
        "norm.bias",
        "norm.running_mean",
        "norm.running_var",
        "steps",
    ]
    assert found["conv1.bias"].dtype == np.float32
    for array, expected in zip(found.values(), stored.values(), strict=True):
        np.testing.assert_array_equal(array, expected)


def test_mxnet_state_comes_back(read: Callable[..., Any]) -> None:
    state = {"a.weight": WEIGHT, "bn_a.weight": BIAS, "bn_a.bias": BIAS, "bn_a.running_mean": BIAS}
    found = read("mxnet-params", mxnet_state(state))
    assert found.keys() == state.keys()


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "declares 16 bytes where 0 are left"),
        (struct.pack("<QQQ", 0x113, 0, 0), "not that of an NDArray list"),
        (struct.pack("<QQQ", 0x112, 0, 2**63), "declares 9223372036854775808 of them"),
        (mxnet_params({}), "holds no arrays"),
        (mxnet_params({"arg:a": BIAS}) + b"\0", "1 bytes are left over"),
        (mxnet_params({"arg:a": BIAS, "aux:a": BIAS}), "a name is there twice"),
        (struct.pack("<QQQ", 0x112, 0, 1) + mxnet_array(BIAS) + struct.pack("<Q", 0), "1 arrays and 0 names"),
        (struct.pack("<QQQIi", 0x112, 0, 1, 0xF993FAC9, 1) + bytes(40), "an array is sparse"),
        (struct.pack("<QQQI", 0x112, 0, 1, 99) + bytes(40), "an array has 99 axes"),
        (struct.pack("<QQQIIQ3i", 0x112, 0, 1, 0xF993FAC8, 1, 1 << 62, 1, 0, 0), "bytes where 0 are left"),
        (struct.pack("<QQQIIq3i", 0x112, 0, 1, 0xF993FAC8, 1, -1, 1, 0, 0), "declares -4 bytes"),
        (struct.pack("<QQQIIqq3i", 0x112, 0, 1, 0xF993FAC8, 2, -1, -1, 1, 0, 3) + bytes(9), "has the shape"),
        (struct.pack("<QQQIIq3i", 0x112, 0, 1, 0xF993FAC8, 1, 1, 1, 0, 7) + bytes(16), "of the type 7"),
        (mxnet_params({"arg:a": np.array([np.inf], np.float32)}), "'a' holds NaN or infinity"),
        (mxnet_params({"arg:a": BIAS}).replace(b"arg:a", b"arg:\xff"), "UnicodeDecodeError"),
        (mxnet_params({"arg:a\x1b[2J": BIAS}), "a name has characters that cannot be printed"),
        (mxnet_params({"a" * 1025: BIAS}), "a name is longer than names are"),
    ],
)
def test_wrong_mxnet(read: Callable[..., Any], data: bytes, match: str) -> None:
    assert match in refused(read, "mxnet-params", data)


def test_the_zoos_denoisers_are_those_of_the_mirror(mirror: Path) -> None:
    """Where both have a level of noise, they hold the same numbers; each of the 25 is read whole."""
    files = sorted((mirror / ZOO).glob("*.params"))
    if not files:
        pytest.skip(f"{mirror / ZOO} is not there")
    for path in files:
        import torch

        found = import_weights(path, "mxnet-params")
        layers = numbered({name: torch.from_numpy(array) for name, array in found.items()})
        assert sorted(layers) == sorted(f"convs.{index}.{kind}" for index in range(7) for kind in ("weight", "bias"))
        level = path.name.partition("=")[2].partition("-")[0]
        twin = mirror / f"weights/ircnn/color-sigma{level}.npz"
        if twin.is_file():
            expected = import_weights(twin, "npz")
            assert all(np.array_equal(layers[name].numpy(), array) for name, array in expected.items())


# Caffe ---------------------------------------------------------------------------------------------------------------


def test_caffe(read: Callable[..., Any]) -> None:
    mean, variance, factor = BIAS, BIAS**2, np.array([4], np.float32)
    found = read(
        "caffemodel",
        caffemodel(
            caffe_layer("data", "Input"),
            caffe_layer("conv1", "Convolution", WEIGHT, BIAS),
            caffe_layer("norm", "BatchNorm", mean, variance, factor),
            caffe_layer("scale", "Scale", BIAS.astype(np.float64), BIAS),
            caffe_layer("relu1", "ReLU"),
            caffe_layer("up", "Deconvolution", WEIGHT),
            caffe_layer("lstm", "LSTM", BIAS, BIAS, BIAS),
        ),
    )
    assert list(found) == [
        "conv1.weight",
        "conv1.bias",
        "norm.running_mean",
        "norm.running_var",
        "scale.weight",
        "scale.bias",
        "up.weight",
        "lstm.0",
        "lstm.1",
        "lstm.2",
    ]
    np.testing.assert_array_equal(found["conv1.weight"], WEIGHT)
    np.testing.assert_array_equal(found["norm.running_mean"], mean / 4)
    np.testing.assert_array_equal(found["norm.running_var"], variance / 4)
    np.testing.assert_array_equal(found["scale.weight"], BIAS)
    assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}


def test_caffe_of_the_first_version(read: Callable[..., Any]) -> None:
    found = read("caffemodel", caffemodel(caffe_layer("conv1", "", WEIGHT, BIAS, old=True)))
    np.testing.assert_array_equal(found["conv1.weight"], WEIGHT)
    np.testing.assert_array_equal(found["conv1.bias"], BIAS)


def test_a_blob_may_come_in_parts(read: Callable[..., Any]) -> None:
    blob = field(7, field(1, 1) + field(1, 4)) + field(5, BIAS[:1].tobytes()) + field(5, BIAS[1:].tobytes())
    found = read("caffemodel", field(100, field(1, "a") + field(7, blob)))
    np.testing.assert_array_equal(found["a.weight"], BIAS[None])


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "holds no arrays"),
        (b"<html>", "a field is of the wire type 4"),
        (caffemodel(caffe_layer("relu", "ReLU")), "holds no arrays"),
        (caffe_layer("", "Convolution", BIAS), "a layer has blobs and no name"),
        (caffe_layer("a", "Convolution", BIAS) * 2, "'a.weight' is there twice"),
        (field(100, field(1, "a") + field(7, field(7, field(1, 1)) * 100_000)), "a blob has 33 axes"),
        (caffe_layer("a", "BatchNorm", BIAS, BIAS), "mean, variance and their factor"),
        (
            caffe_layer("a", "BatchNorm", BIAS, BIAS, np.array([1e-45], np.float32)),
            "'a.running_mean' holds NaN or infinity",
        ),
        (caffe_layer("a", "Convolution", np.array([1e300])), "'a.weight' holds NaN or infinity"),
        (field(100, field(1, "a") + field(7, field(5, BIAS.tobytes()))), "an array of the shape (0, 0, 0, 0) has"),
        (field(100, field(1, "a") + field(7, field(5, 3))), "not packed"),
        (
            field(100, field(1, "a") + field(7, field(7, field(1, varint(1 << 62) * 2)) + field(5, b"1234"))),
            "4611686018427387904) has 4 bytes",
        ),
        (
            field(100, field(1, "a") + field(7, field(7, field(1, b"\1" * 40)) + field(5, b"1234"))),
            "a blob has 40 axes",
        ),
        (field(100, field(1, "a") + field(7, field(7, field(1, b"\1" * 9)) + field(5, b"1234"))), "has the shape"),
        (field(100, field(1, "a") + field(7, caffe_blob(BIAS) + field(8, bytes(32)))), "in single and in double"),
        (varint(100 << 3 | 2) + varint(1 << 40), "declares 1099511627776 bytes"),
        (b"\xff" * 11, "more than 64 bits"),
        (b"\xff" * 9 + b"\x7f", "more than 64 bits"),
        (b"\0\0", "a field has the number 0"),
    ],
)
def test_wrong_caffe(read: Callable[..., Any], data: bytes, match: str) -> None:
    assert match in refused(read, "caffemodel", data)


# TensorFlow 1 --------------------------------------------------------------------------------------------------------

VARIABLES: dict[str, Any] = {
    "net/conv1/weights": np.ascontiguousarray(WEIGHT.transpose(2, 3, 1, 0)),
    "net/conv1/weights/Adam": np.ascontiguousarray(WEIGHT.transpose(2, 3, 1, 0)),
    "net/conv1/biases": BIAS,
    "net/slopes": BIAS.astype(np.float16),
    "global_step": np.array(7, np.int64),
    "beta1_power": np.array(0.9, np.float32),
}


def test_tensorflow(read: Callable[..., Any]) -> None:
    found = read("tf1-checkpoint", *tf1_checkpoint(VARIABLES))
    assert list(found) == ["net/conv1/biases", "net/conv1/weights", "net/slopes"]
    np.testing.assert_array_equal(found["net/conv1/weights"], WEIGHT)
    np.testing.assert_array_equal(found["net/conv1/biases"], BIAS)
    assert found["net/slopes"].dtype == np.float32


def test_a_checkpoint_of_many_blocks(read: Callable[..., Any]) -> None:
    variables = {f"layer_{index}/kernel": np.full((1, index % 3), index, np.float32) for index in range(1, 300)}
    found = read("tf1-checkpoint", *tf1_checkpoint(variables))
    assert found.keys() == variables.keys()
    assert all(np.array_equal(found[name], array) for name, array in variables.items())


def test_checksums() -> None:
    assert sorted_table.crc32c(b"123456789") == 0xE3069283  # the check value of CRC-32C (RFC 3720)
    assert sorted_table.crc32c(bytes(32)) == 0x8A9136AA  # RFC 3720, B.4
    data = random.Random(1).randbytes(5 * 4096 + 33)
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    assert sorted_table.crc32c(data) == crc ^ 0xFFFFFFFF


def _index(*entries: tuple[bytes, bytes], header: bytes = field(1, 1)) -> bytes:
    return table([(b"", header), *entries])


ENTRY = tf1_entry(BIAS, 0)


@pytest.mark.parametrize(
    ("index", "numbers", "match"),
    [
        (b"", b"", "declares 1 bytes where 0 are left"),
        (bytes(60), b"", "does not end as a table does"),
        (_index((b"a", ENTRY))[:-1] + b"\0", BIAS.tobytes(), "does not end as a table does"),
        (_index((b"a", ENTRY)), b"", "declares 16 bytes where 0 are left"),
        (_index((b"a", ENTRY)), BIAS.tobytes() + b"1", "1 bytes are left over"),
        (_index((b"a", ENTRY)), bytes(16), "the numbers of 'a' have another checksum"),
        (_index((b"a", ENTRY), (b"b", ENTRY)), BIAS.tobytes(), "does not begin where"),
        (_index((b"b", ENTRY), (b"a", ENTRY)), BIAS.tobytes(), "its names are not sorted"),
        (_index((b"a", tf1_entry(BIAS, 0, shard=1))), b"", "lies in a file that there is not"),
        (_index((b"a", ENTRY), header=field(1, 1) + field(2, 1)), BIAS.tobytes(), "big-endian"),
        (_index((b"a", ENTRY), header=field(1, 10**6)), BIAS.tobytes(), "in 1000000 files"),
        (table([(b"a", ENTRY)]), BIAS.tobytes(), "has no header"),
        (_index((b"a", field(1, 7) + field(5, 3))), b"abc", "TensorFlow's type 7, which is no number"),
        (_index((b"a", ENTRY + field(7, b""))), BIAS.tobytes(), "a variable is in slices"),
        (_index((b"a", ENTRY + field(2, field(3, 1)))), BIAS.tobytes(), "a variable has no shape"),
        (_index((b"a", ENTRY + field(2, field(2, field(1, 1 << 60))))), BIAS.tobytes(), "1152921504606846976,) has 16"),
        (_index((b"a" * 1025, ENTRY)), BIAS.tobytes(), "a name is longer than names are"),
        (_index((b"a\xff", ENTRY)), BIAS.tobytes(), "UnicodeDecodeError"),
    ],
)
def test_wrong_tensorflow(read: Callable[..., Any], index: bytes, numbers: bytes, match: str) -> None:
    assert match in refused(read, "tf1-checkpoint", index, numbers)


def test_every_byte_of_a_table_counts(read: Callable[..., Any]) -> None:
    """A changed bit is found by a checksum, or because nothing is left over."""
    index, numbers = tf1_checkpoint({"a/b": BIAS, "a/c": BIAS})
    for at in range(len(index)):
        refused(read, "tf1-checkpoint", index[:at] + bytes([index[at] ^ 64]) + index[at + 1 :], numbers)


def test_a_checkpoint_without_its_numbers(tmp_path: Path) -> None:
    index, numbers = tf1_checkpoint({"a": BIAS})
    (tmp_path / "m.index").write_bytes(index)
    with pytest.raises(HarnessError, match=r"m\.data-00000-of-00001: no such file; fetch the weights again"):
        import_weights(tmp_path / "m.index", "tf1-checkpoint")
    (tmp_path / "elsewhere").write_bytes(numbers)
    assert list(import_weights(tmp_path / "m.index", "tf1-checkpoint", tmp_path / "elsewhere")) == ["a"]
    with pytest.raises(HarnessError, match="its numbers lie in 1 files, not in 2"):
        import_weights(tmp_path / "m.index", "tf1-checkpoint", *[tmp_path / "elsewhere"] * 2)
    with pytest.raises(HarnessError, match=r"elsewhere: holds the numbers of a .* load its \.index"):
        import_weights(tmp_path / "elsewhere", "tf1-data")


def test_a_set_of_two_files(tmp_path: Path, registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Both files are looked for, held to their checksums, recorded, and part of what the cached import is known by."""
    index, numbers = tf1_checkpoint({"a": BIAS})
    files = {"m.index": ("tf1-checkpoint", index, True), "m.data": ("tf1-data", numbers, True)}
    mirror = registry("toy", files, **{"m.index": {"with_files": ["m.data"]}})
    with pytest.raises(NotAvailableError, match=r"toy/m\.index are not here"):
        load_weights("toy", "m.index", tmp_path / "data")
    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    for _ in range(2):
        with recording() as used:
            assert load_weights("toy", "m.index", tmp_path / "data")["a"].tolist() == BIAS.tolist()
        assert [entry.file for entry in used] == ["m.index", "m.data"]
    (mirror / "weights/toy/m.data").write_bytes(bytes(16))
    with pytest.raises(HarnessError, match=r"m\.data: has the SHA-256 .* not the released file"):
        load_weights("toy", "m.index", tmp_path / "data")
    (mirror / "weights/toy/m.data").unlink()
    with pytest.raises(NotAvailableError, match=r"toy/m\.data are not here"):
        load_weights("toy", "m.index", tmp_path / "data")


def test_a_file_known_by_its_git_blob(
    tmp_path: Path, registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = mxnet_params({"arg:a": BIAS})
    path = tmp_path / "blob"
    path.write_bytes(content)
    from harness.files import git_blob

    about = {"git_blob": git_blob(path)}
    mirror = registry("toy", {"a.params": ("mxnet-params", content, False)}, **{"a.params": about})
    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    assert list(load_weights("toy", "a.params", tmp_path / "data")) == ["a"]
    (mirror / "weights/toy/a.params").write_bytes(mxnet_params({"arg:b": BIAS}))
    with pytest.raises(HarnessError, match="is not the released file, whose git blob is"):
        load_weights("toy", "a.params", tmp_path / "data")


# All of them ----------------------------------------------------------------------------------------------------------

SEEDS: dict[str, tuple[bytes, ...]] = {
    "mxnet-params": (mxnet_params({"arg:c_weight": WEIGHT[:1, :1], "arg:c_bias": BIAS}),),
    "caffemodel": (caffemodel(caffe_layer("c", "Convolution", WEIGHT[:1, :1], BIAS)),),
    "tf1-checkpoint": tf1_checkpoint({"c/w": WEIGHT[:1, :1], "c/b": BIAS}),
}


@pytest.mark.parametrize("form", SEEDS)
def test_cut_off_anywhere(read: Callable[..., Any], form: str) -> None:
    """What is cut off is refused, but for a Caffe network cut between two of its fields, which is a shorter network."""
    files = SEEDS[form]
    whole = read(form, *files)
    for number, data in enumerate(files):
        for size in range(len(data)):
            cut = [*files[:number], data[:size], *files[number + 1 :]]
            if form == "caffemodel" and not number:
                with contextlib.suppress(HarnessError):
                    assert read(form, *cut).keys() < whole.keys()
                continue
            refused(read, form, *cut)


@pytest.mark.parametrize("form", SEEDS)
def test_wrong_files_cost_little(read: Callable[..., Any], form: str) -> None:
    """A bit anywhere changed to make sizes huge: memory stays in proportion to the file."""
    files = SEEDS[form]
    read(form, *files)
    tracemalloc.start()
    try:
        for at in range(len(files[0])):
            data = files[0][:at] + b"\xff\xff\xff\x7f" + files[0][at + 4 :]
            try:
                read(form, data, *files[1:])
            except HarnessError as error:
                assert len(str(error)) < 600
        assert tracemalloc.get_traced_memory()[1] < 1 << 21
    finally:
        tracemalloc.stop()


def test_a_file_larger_than_weights_are(read: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binary, "MOST_BYTES", 100)
    for form, files in SEEDS.items():
        assert "more than weights have" in refused(read, form, *files)


def test_each_format_is_known() -> None:
    assert {"mxnet-params", "caffemodel", "tf1-checkpoint", "tf1-data"} <= importers.FORMATS.keys()
