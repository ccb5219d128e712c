"""Reading MATLAB files, version 5 and 7.3, into plain Python values, without running anything in them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from harness.assets.bounds import MOST_BYTES
from harness.assets.hdf5 import HDF5File, holds_references, open_hdf5
from harness.assets.weights.mat_structure import check_structure
from harness.errors import HarnessError

# MathWorks, "MAT-File Format": the text header of a version 7.3 file begins so, and HDF5 starts at byte 512.
_V73_HEADER = b"MATLAB 7.3 MAT-file"
_V5_HEADER = b"MATLAB 5.0 MAT-file"
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def read_mat(path: Path) -> dict[str, Any]:
    """Read every variable of a MATLAB file.

    Parameters
    ----------
    path : path
        A ``.mat`` file of version 5 (R2006a to now, ``-v7`` too) or 7.3 (HDF5).

    Returns
    -------
    dict
        By variable name: an array in MATLAB's shape for numbers (a vector is (1, N) or (N, 1)), a ``str`` for text,
        a ``dict`` for a 1x1 struct, a list of ``dict`` for a struct array, a list for a cell array in column order.
        Function handles and objects become None: they are of no use here and nothing of them is run.

    Raises
    ------
    HarnessError
        It is no MATLAB file, or may not be read. A damaged one can fail anywhere inside scipy, zlib or HDF5, with
        whatever exception is at hand there.
    """
    with path.open("rb") as file:
        head = file.read(520)
    if head.startswith(_V73_HEADER) or head[512:520] == _HDF5_SIGNATURE or head.startswith(_HDF5_SIGNATURE):
        return _read_v73(path)
    if head.startswith(_V5_HEADER):
        return _read_v5(path)
    raise HarnessError(f"{path}: not a MATLAB file of version 5 or 7.3; delete it and fetch the weights again")


def _read_v5(path: Path) -> dict[str, Any]:
    from scipy.io import loadmat

    check_structure(path)
    variables = loadmat(path, struct_as_record=True, squeeze_me=False, chars_as_strings=True)
    return {name: _plain_v5(value) for name, value in variables.items() if not name.startswith("__")}


def _plain_v5(value: Any) -> Any:
    if not isinstance(value, np.ndarray) or type(value).__name__ in ("MatlabObject", "MatlabFunction", "MatlabOpaque"):
        return None
    if value.dtype.names is not None:
        records = [{name: _plain_v5(record[name]) for name in value.dtype.names} for record in value.ravel(order="F")]
        return records[0] if len(records) == 1 else records
    if value.dtype == object:
        return [_plain_v5(item) for item in value.ravel(order="F")]
    if value.dtype.kind == "U":
        return "".join(value.ravel())
    return value


# More values than any network has; references that name each other again and again would make any number.
_MOST_VALUES = 20_000


def _read_v73(path: Path) -> dict[str, Any]:
    with open_hdf5(path) as contents:
        values = _Values(contents)
        return {name: values.plain(contents.file[name], 0) for name in contents.file if not name.startswith("#")}


class _Values:
    """The values of one file of version 7.3, counted while they are read."""

    def __init__(self, contents: HDF5File) -> None:
        self._contents = contents
        self._left = _MOST_VALUES
        self._bytes_left = MOST_BYTES

    def plain(self, node: Any, depth: int) -> Any:
        """Give a variable as plain values."""
        import h5py

        self._left -= 1
        if depth > 16 or self._left < 0:  # networks nest four deep; a reference loop would never end
            raise ValueError("values are nested too deeply")
        if isinstance(node, h5py.Group):
            fields = {name: node[name] for name in node}
            arrays = [field for field in fields.values() if _is_struct_array_field(field)]
            if fields and len(arrays) == len(fields):
                columns = {name: self._followed(field) for name, field in fields.items()}
                return [
                    {name: self.plain(column[i], depth + 1) for name, column in columns.items()}
                    for i in range(arrays[0].size)
                ]
            return {name: self.plain(field, depth + 1) for name, field in fields.items()}
        kind = bytes(node.attrs.get("MATLAB_class", b"")).decode()
        if node.attrs.get("MATLAB_empty", 0):
            return [] if kind == "cell" else "" if kind == "char" else np.zeros(0)
        if holds_references(node):
            return [self.plain(value, depth + 1) for value in self._followed(node)]
        if kind in ("function_handle", "opaque"):
            return None
        self._bytes_left -= node.nbytes
        if self._bytes_left < 0:  # one array that many references name
            raise ValueError(f"unpacks to more than {MOST_BYTES} bytes")
        # HDF5 stores MATLAB's column-major arrays with the axes reversed.
        array = np.asarray(node[()]).T
        if kind == "char":
            return "".join(chr(code) for code in array.ravel(order="F"))
        return array

    def _followed(self, node: Any) -> list[Any]:
        """Give what an array refers to, in column order: reversed axes make that C order."""
        if node.size > self._left:
            raise ValueError("values are nested too deeply")
        return [self._contents.follow(reference) for reference in np.asarray(node[()]).ravel()]


def _is_struct_array_field(node: Any) -> bool:
    import h5py

    return isinstance(node, h5py.Dataset) and holds_references(node) and "MATLAB_class" not in node.attrs


def require(variables: Mapping[str, Any], name: str, where: str) -> Any:
    """Take a variable or struct field by name; a missing one raises HarnessError that lists what is there."""
    if name not in variables:
        there = ", ".join(sorted(variables)) or "nothing"
        raise HarnessError(
            f"{where}: '{name}' is missing (the file holds {there}); it is not this method's weights file"
        )
    return variables[name]


def number(value: Any, name: str, where: str) -> float:
    """Read a 1x1 number; anything else raises HarnessError."""
    if not isinstance(value, np.ndarray) or value.size != 1 or value.dtype.kind not in "iufb":
        raise HarnessError(f"{where}: '{name}' should be one number; it is not this method's weights file")
    return float(value.ravel()[0])
