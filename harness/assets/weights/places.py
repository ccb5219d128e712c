"""Where the records of weights, fetched files, their manifests and cached imports lie.

Nothing here imports more than small modules: it runs before every table.

::

    data/weights/<name>/<file>              links into a mirror or an own folder, or downloads
    data/manifests/weights/<name>.json      what is there, with checksums: what DVC depends on
    data/state/weights/<name>.json          file stats of verified files, so that nothing is hashed twice
    data/own/weights/<name>/                own copies, found without --from
    data/weights-cache/                     imported weights as safetensors, by checksum of the release
"""

from __future__ import annotations

import os
from pathlib import Path

from harness.records.in_use import root_in_use

REGISTRY = Path(__file__).with_name("registry")
DATA_VARIABLE = "HARNESS_DATA"
DEFAULT_DATA = "data"


def data_folder(data: str | os.PathLike[str] | None) -> Path:
    """Give the folder of fetched files: the given one, that of the project in use, HARNESS_DATA, or ``data``."""
    if data is None and (root := root_in_use()) is not None:
        return root / DEFAULT_DATA
    return Path(data if data is not None else os.environ.get(DATA_VARIABLE) or DEFAULT_DATA)


def weights_folder(data: Path, name: str) -> Path:
    """Folder of a weight set's files."""
    return data / "weights" / name


def manifest_path(data: Path, name: str) -> Path:
    """Path of a weight set's manifest."""
    return data / "manifests" / "weights" / f"{name}.json"


def state_path(data: Path, name: str) -> Path:
    """Path of the stats of a weight set's verified files."""
    return data / "state" / "weights" / f"{name}.json"


def own_folder(data: Path, name: str) -> Path:
    """Folder where a user's own copies are found without --from."""
    return data / "own" / "weights" / name


def cache_path(data: Path, sha256: str, format_name: str, version: int) -> Path:
    """Path of the import of a released file; importer and version are part of its name."""
    return data / "weights-cache" / f"{sha256}-{format_name}-{version}.safetensors"
