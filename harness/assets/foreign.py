"""Files that strangers wrote: how much they may unpack to, and HDF5 (MATLAB 7.3), all of which is looked at first.

HDF5 can name other files of the machine, so that their bytes become samples: by soft and external links, external
storage, virtual datasets, and references to objects that no group holds. It can also declare terabytes in a kilobyte.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

# Ten times as much as any released weights, and eight times SIDD's validation blocks.
MOST_BYTES = 2**31
# RFC 1951: deflate makes at most 258 bytes out of two bits. A small file has a header and little else.
_RATIO = 1032
_SMALL = 1 << 20


def most_bytes(path: Path) -> int:
    """Give how many bytes a file may unpack to, by its own size; OSError where it cannot be read."""
    return min(MOST_BYTES, _RATIO * path.stat().st_size + _SMALL)


class HDF5File:
    """A file whose every object lies in it."""

    def __init__(self, path: Path, file: Any) -> None:
        self.file = file
        self._path = path
        self._known = _check(path, file)

    def follow(self, reference: Any) -> Any:
        """Give what a reference refers to; HarnessError where no group holds it, so that nobody looked at it."""
        import h5py

        node = self.file[reference]
        if h5py.h5o.get_info(node.id).addr not in self._known:
            raise HarnessError(f"{self._path}: refers to an object that no group holds; download it again")
        return node


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[HDF5File]:
    """Open a file and look at every object in it.

    Yields: Closed when the block ends.
    Raises HarnessError: It names another file, holds what MATLAB does not write, or declares more than a file of its
        size can hold. Of a damaged file h5py raises OSError, KeyError, RuntimeError, ValueError or TypeError.
    """
    import h5py

    with h5py.File(path, "r") as file:
        yield HDF5File(path, file)


def holds_references(node: Any) -> bool:
    """Return whether the samples of a dataset are references to objects; numpy takes text for the same type."""
    import h5py

    return h5py.check_ref_dtype(node.dtype) is h5py.Reference


def _check(path: Path, file: Any) -> set[int]:
    """Refuse what may not be in a file; give the addresses of everything that is."""
    import h5py

    most = most_bytes(path)
    declared = 0
    seen: set[int] = set()
    groups = [("", file)]
    while groups:
        where, group = groups.pop()
        for name in group:
            inside = f"{where}{name}"
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise HarnessError(f"{path}: '{inside}' is a link, which may lead out of the file; download it again")
            node = group[name]
            address = h5py.h5o.get_info(node.id).addr
            if address in seen:
                continue
            seen.add(address)
            if isinstance(node, h5py.Group):
                groups.append((f"{inside}/", node))
            elif isinstance(node, h5py.Dataset):
                if node.external or node.is_virtual:
                    raise HarnessError(f"{path}: '{inside}' lies in another file; download it again")
                if node.dtype.hasobject and not holds_references(node):
                    # Each of its samples could stand for the same long run of bytes.
                    raise HarnessError(f"{path}: '{inside}' has samples of any length; it is no MATLAB file")
                declared += max(node.size or 0, math.prod(node.chunks or (0,))) * node.dtype.itemsize
                if declared > most:
                    raise HarnessError(f"{path}: unpacks to more than {most} bytes; it is not what it should be")
    return seen
