"""Writers of the released formats, so that importers are tried on files made the way MATLAB and PyTorch make them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.assets.places import REGISTRIES


class V73Writer:
    """Writes MATLAB 7.3 files: HDF5 behind a 512-byte text header, reversed axes, cells as references."""

    def __init__(self, path: Path) -> None:
        import h5py

        self.h5py = h5py
        self.path = path
        self.file = h5py.File(path, "w", userblock_size=512)
        self.references = self.file.create_group("#refs#")
        self.count = 0

    def close(self) -> Path:
        self.file.close()
        with self.path.open("r+b") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: TEST, HDF5 schema 1.00 .".ljust(124) + b"\x00\x02IM")
        return self.path

    def put(self, value: Any, name: str, parent: Any = None) -> Any:
        parent = self.file if parent is None else parent
        if isinstance(value, dict):
            group = parent.create_group(name)
            group.attrs["MATLAB_class"] = np.bytes_("struct")
            for key, item in value.items():
                self.put(item, key, group)
            return group
        if isinstance(value, str):
            data = parent.create_dataset(name, data=np.array([[ord(c)] for c in value], dtype=np.uint16))
            data.attrs["MATLAB_class"] = np.bytes_("char")
            return data
        if isinstance(value, list) and not value:
            data = parent.create_dataset(name, data=np.array([0, 0], dtype=np.uint64))
            data.attrs["MATLAB_class"], data.attrs["MATLAB_empty"] = np.bytes_("cell"), np.uint8(1)
            return data
        if isinstance(value, list):
            references = [[self._reference(item)] for item in value]  # a row: 1 x N, axes reversed
            data = parent.create_dataset(name, data=np.array(references, dtype=self.h5py.ref_dtype))
            data.attrs["MATLAB_class"] = np.bytes_("cell")
            return data
        if isinstance(value, StructArray):
            group = parent.create_group(name)
            group.attrs["MATLAB_class"] = np.bytes_("struct")
            for key in value.records[0]:
                references = [[self._reference(record[key])] for record in value.records]
                group.create_dataset(key, data=np.array(references, dtype=self.h5py.ref_dtype))
            return group
        array = np.asarray(value)
        data = parent.create_dataset(name, data=np.ascontiguousarray(array.T))
        kinds = {"float32": "single", "float64": "double", "uint8": "uint8"}
        data.attrs["MATLAB_class"] = np.bytes_(kinds[array.dtype.name])
        return data

    def _reference(self, value: Any) -> Any:
        self.count += 1
        return self.put(value, f"r{self.count}", self.references).ref


class StructArray:
    """A MATLAB struct array of more than one element."""

    def __init__(self, records: list[dict[str, Any]]) -> None:
        self.records = records


def v73(path: Path, **variables: Any) -> Path:
    writer = V73Writer(path)
    for name, value in variables.items():
        writer.put(value, name)
    return writer.close()


def _v5_value(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _v5_value(item) for key, item in value.items()}
    if isinstance(value, list):
        cells = np.empty((1, len(value)), dtype=object)
        cells[0, :] = [_v5_value(item) for item in value]
        return cells
    if isinstance(value, StructArray):
        names = list(value.records[0])
        array = np.empty((1, len(value.records)), dtype=[(name, object) for name in names])
        for index, record in enumerate(value.records):
            for name in names:
                array[name][0, index] = _v5_value(record[name])
        return array
    return value


def v5(path: Path, **variables: Any) -> Path:
    from scipy.io import savemat

    savemat(path, {name: _v5_value(value) for name, value in variables.items()}, do_compression=True)
    return path


@pytest.fixture(params=["v5", "v7.3"])
def write_mat(request: pytest.FixtureRequest) -> Callable[..., Path]:
    """Write a MATLAB file, once of each version."""
    return v5 if request.param == "v5" else v73


@pytest.fixture
def struct_array() -> type[StructArray]:
    return StructArray


def conv_layer(weight: np.ndarray, bias: np.ndarray) -> dict[str, Any]:
    """Make a MatConvNet convolution from OIHW filters: HWIO, trailing 1 dropped as MATLAB does."""
    filters = weight.transpose(2, 3, 1, 0).astype(np.float32)
    if filters.shape[3] == 1:
        filters = filters[:, :, :, 0]
    return {
        "type": "conv",
        "name": "c",
        "weights": [filters, bias.reshape(-1, 1).astype(np.float32)],
        "pad": np.array([[1.0]]),
        "stride": np.array([[1.0]]),
    }


@pytest.fixture
def simplenn_layers() -> Callable[..., list[dict[str, Any]]]:
    """Make the layers of a SimpleNN file from lists of (weight OIHW, bias)."""

    def make(convs: list[tuple[np.ndarray, np.ndarray]], around: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        layers: list[dict[str, Any]] = [{"type": kind, "name": kind} for kind in around]
        for index, (weight, bias) in enumerate(convs):
            layers.append(conv_layer(weight, bias))
            if index < len(convs) - 1:
                layers.append({"type": "relu", "name": "r", "leak": np.array([[0.0]])})
        return layers + [{"type": kind, "name": kind} for kind in around[:1]]

    return make


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Put a weight set into a registry of its own; give a folder that holds the files as a mirror would."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setitem(REGISTRIES, "weights", folder)
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    monkeypatch.delenv("HARNESS_DATA", raising=False)

    def add(
        name: str, files: dict[str, tuple[str, bytes, bool]], sources: tuple[dict[str, str], ...] = (), **more: Any
    ) -> Path:
        """`files`: name → (format, content, whether the checksum is registered)."""
        mirror = tmp_path / "mirror" / "weights" / name
        mirror.mkdir(parents=True, exist_ok=True)
        entries = []
        for file, (form, content, pinned) in files.items():
            (mirror / file).write_bytes(content)
            entry: dict[str, Any] = {"name": file, "format": form, "makes": "a test"}
            if pinned:
                entry |= {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
                entry["at"] = [[index, f"some folder/{file}"] for index in range(len(sources))]
            entry |= more.get(file, {})
            entries.append(entry)
        record = {
            "name": name,
            "title": name.upper(),
            "licence": "not stated",
            "licence_note": "None.",
            "homepage": "https://example.org",
            "citation": "Nobody, 2026",
            "obtain": "ask its authors",
            "sources": list(sources),
            "files": entries,
        }
        (folder / f"{name}.json").write_text(json.dumps(record))
        return tmp_path / "mirror"

    return add
