"""Unpacking releases that are not image files."""

from __future__ import annotations

from pathlib import Path

from harness.errors import HarnessError

# The release of SIDD's validation blocks: a variable of its own name in each file, (40, 32, 256, 256, 3) uint8.
_SIDD_FILES = {"input": "ValidationNoisyBlocksSrgb", "target": "ValidationGtBlocksSrgb"}


def unpack_sidd_blocks(folder: Path, target: Path, count: int) -> bool:
    """Write SIDD's validation blocks as PNG pairs, ``01-01`` to ``40-32`` (photograph, block).

    Parameters
    ----------
    folder : path
        Holds the two MATLAB files.
    target : path
        Gets ``input/`` and ``target/``; what an earlier run wrote there from these files stays.
    count : int
        Pairs that there should be.

    Returns
    -------
    bool
        Whether the MATLAB files are there.

    Raises
    ------
    HarnessError
        They are damaged or hold something else.
    """
    paths = {role: folder / f"{variable}.mat" for role, variable in _SIDD_FILES.items()}
    if not all(path.is_file() for path in paths.values()):
        return False
    newest = max(path.stat().st_mtime for path in paths.values())
    written = [path for role in paths for path in (target / role).glob("*.png")]
    if len(written) == len(paths) * count and min(path.stat().st_mtime for path in written) >= newest:
        return True
    import numpy as np
    import scipy.io

    from harness.images import write_png

    for role, variable in _SIDD_FILES.items():
        try:
            blocks = scipy.io.loadmat(paths[role], variable_names=[variable])[variable]
        except Exception as error:  # scipy raises many kinds for a damaged file
            raise HarnessError(f"{paths[role]}: cannot be read ({error}); download it again") from None
        if blocks.ndim != 5 or blocks.shape[-1] != 3 or blocks.dtype != np.uint8:
            raise HarnessError(
                f"{paths[role]}: holds {blocks.shape} {blocks.dtype} instead of (40, 32, 256, 256, 3) uint8; "
                "download it again"
            )
        for photograph, row in enumerate(blocks, start=1):
            for block, pixels in enumerate(row, start=1):
                write_png(target / role / f"{photograph:02}-{block:02}.png", np.ascontiguousarray(pixels))
    return True
