"""Reading MATLAB arrays of every version a piece at a time."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from release_folders import matlab_hdf5
from scipy.io import savemat

from harness.assets.datasets import arrays
from harness.assets.datasets.arrays import open_array
from harness.errors import HarnessError

FORMS = ("v5", "v5 compressed", "v7.3")


def write(path: Path, form: str, **variables: np.ndarray) -> Path:
    if form == "v7.3":
        return matlab_hdf5(path, **variables)
    savemat(path, variables, do_compression=form.endswith("compressed"))
    return path


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64", "uint16"])
def test_an_array_comes_back(tmp_path, form, dtype):
    values = np.random.default_rng(0).integers(0, 200, (3, 4, 5, 6, 2)).astype(dtype)
    path = write(tmp_path / "a.mat", form, other=np.arange(3.0), wanted=values, last=np.ones((2, 2)))
    with open_array(path, "wanted") as found:
        assert found.shape == values.shape
        np.testing.assert_array_equal(found, values)


@settings(max_examples=30, deadline=None)
@given(
    shape=st.lists(st.integers(1, 9), min_size=2, max_size=5).map(tuple),
    step=st.integers(8, 400),
    form=st.sampled_from(FORMS),
)
def test_any_shape_in_pieces_of_any_size(tmp_path_factory, shape, step, form):
    """The pieces are so small here that every way of cutting is taken."""
    values = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    path = write(tmp_path_factory.mktemp("m") / "a.mat", form, wanted=np.tile(values, 8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(arrays, "_STEP", step)
        with open_array(path, "wanted") as found:
            np.testing.assert_array_equal(found, np.tile(values, 8))


@pytest.mark.parametrize("form", FORMS)
def test_memory_is_bounded_by_the_piece(tmp_path, form, monkeypatch):
    monkeypatch.setattr(arrays, "_STEP", 1 << 16)
    values = np.random.default_rng(2).integers(0, 255, (40, 32, 48, 48, 3), dtype=np.uint8)  # 8.8 MB
    path = write(tmp_path / "a.mat", form, wanted=values)
    tracemalloc.start()
    with open_array(path, "wanted") as found:
        block = np.array(found[39, 31])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(block, values[39, 31])
    # numpy reports a memory map to tracemalloc as nothing; HDF5 holds a chunk or two and the piece.
    assert peak < 2_500_000


@pytest.mark.parametrize(
    ("form", "name", "told"),
    [
        ("v5", "wanted", r"a\.mat: holds 'other', 'text' and no array 'wanted'"),
        ("v5", "text", r"a\.mat: 'text' is no plain array"),
        ("v7.3", "wanted", r"a\.mat: holds 'other' and no array 'wanted'"),
        ("", "wanted", r"a\.mat: cannot be read \(No such file"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, form, name, told):
    path = tmp_path / "a.mat"
    if form == "v5":
        write(path, form, other=np.ones((3, 3)), text=np.array(["x"]))
    elif form:
        write(path, form, other=np.ones((3, 3)))
    with pytest.raises(HarnessError, match=told), open_array(path, name):
        pass


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("keep", [0, 60, 127, 140, 200, 0.5, 0.99])
def test_a_truncated_file_is_refused(tmp_path, form, keep):
    values = np.random.default_rng(3).integers(0, 255, (20, 20, 20), dtype=np.uint8)
    path = write(tmp_path / "a.mat", form, wanted=values)
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if keep < 1 else keep])
    with pytest.raises(HarnessError, match=r"a\.mat: cannot be read"), open_array(path, "wanted"):
        pass


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 1500), value=st.integers(0, 255), form=st.sampled_from(FORMS))
def test_a_changed_byte_is_read_or_refused(tmp_path_factory, position, value, form):
    """Whatever a byte is, there is an array or one sentence, and no other exception."""
    values = np.random.default_rng(4).integers(0, 255, (8, 9, 10), dtype=np.uint8)
    path = write(tmp_path_factory.mktemp("m") / "a.mat", form, wanted=values)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(bytes(data))
    try:
        with open_array(path, "wanted") as found:
            assert found.size < 10**9
    except HarnessError as error:
        assert str(path) in str(error)
