"""Where records, fetched files, manifests and remembered facts of datasets and weights lie.

Nothing here imports more than the standard library's small modules: it runs before every table.

::

    data/datasets/<name>/<file>             the images: links into a mirror or an own folder, or downloads
    data/weights/<name>/<file>              weights, likewise
    data/manifests/<kind>/<name>.json       what is there, with checksums: what DVC depends on
    data/state/<kind>/<name>.json           file stats of verified files, so that nothing is hashed twice
    data/state/hosts.json                   hosts that could not be reached a short while ago
    data/state/own-folders.json             folders given with --from
    data/own/<name>/, own/weights/<name>/   own copies, found without --from
    data/archives/<folder>/                 archives of datasets, unpacked
    data/state/archives/<archive>.json      their checksums, and what was unpacked from them
    data/weights-cache/                     imported weights as safetensors, by checksum of the release
    datasets/<name>.json                    records of the user's own datasets, beside params.yaml
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal, NamedTuple

from harness.files import update_text
from harness.names import is_name
from harness.records.in_use import root_in_use

Kind = Literal["datasets", "weights"]

DATA_VARIABLE = "HARNESS_DATA"
DEFAULT_DATA = "data"
# What to do about a file below the folder of fetched files that cannot be written.
ADVICE = "make room or name another folder with --data"
# A user's own records of datasets: folders with one JSON file each, separated like PATH.
RECORDS_VARIABLE = "HARNESS_DATASETS"
# Beside params.yaml: records that `harness datasets add` wrote.
OWN_RECORDS = "datasets"
_WORKSPACE_FILE = "params.yaml"
REGISTRIES: dict[Kind, Path] = {
    "datasets": Path(__file__).parent / "datasets" / "registry",
    "weights": Path(__file__).parent / "weights" / "registry",
}


class AssetPaths(NamedTuple):
    """Where one dataset or weight set lies.

    `kind`: ``datasets`` or ``weights``.
    """

    data: Path
    kind: Kind
    name: str

    @property
    def folder(self) -> Path:
        """Folder of its files."""
        return self.data / self.kind / self.name

    @property
    def manifest(self) -> Path:
        """Its manifest."""
        return self.data / "manifests" / self.kind / f"{self.name}.json"

    @property
    def state(self) -> Path:
        """Stats of its verified files; deleting them costs time and nothing else."""
        return self.data / "state" / self.kind / f"{self.name}.json"

    @property
    def own_folders(self) -> list[Path]:
        """Folders of the user's own copies: that given with --from before, and the default one if there is one."""
        remembered = _own_folders(self.data).get(self._own_key)
        default = self.data / "own" / self._own_key
        return ([Path(remembered)] if remembered else []) + ([default] if default.is_dir() else [])

    @property
    def _own_key(self) -> str:
        return self.name if self.kind == "datasets" else f"{self.kind}/{self.name}"

    def remember_folder(self, folder: Path) -> None:
        """Remember a folder that was given with --from."""
        remembered = {**_own_folders(self.data), self._own_key: os.path.abspath(folder)}
        update_text(_own_folders_path(self.data), json.dumps(remembered, indent=1, sort_keys=True) + "\n", ADVICE)


def _own_folders_path(data: Path) -> Path:
    return data / "state" / "own-folders.json"


def _own_folders(data: Path) -> dict[str, str]:
    try:
        plain = json.loads(_own_folders_path(data).read_bytes())
        return {str(name): str(folder) for name, folder in plain.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def data_folder(data: str | os.PathLike[str] | None) -> Path:
    """Give the folder of fetched files: the given one, that of the project in use, HARNESS_DATA, or ``data``."""
    if data is None and (root := root_in_use()) is not None:
        return root / DEFAULT_DATA
    return Path(data if data is not None else os.environ.get(DATA_VARIABLE) or DEFAULT_DATA)


def record_folders(kind: Kind) -> list[Path]:
    """List the folders that hold records: the package's; of datasets also those of the variable and the project's."""
    folders = [REGISTRIES[kind]]
    if kind == "weights":
        return folders
    given = os.environ.get(RECORDS_VARIABLE, "")
    folders += [Path(part).expanduser() for part in given.split(os.pathsep) if part]
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / _WORKSPACE_FILE).is_file():
            own = folder / OWN_RECORDS
            known = {path.resolve() for path in folders}
            return [*folders, own] if own.is_dir() and own.resolve() not in known else folders
    return folders


def record_path(kind: Kind, name: str) -> Path | None:
    """Find a record by its canonical name; None where there is none."""
    if is_name(name):
        for folder in record_folders(kind):
            path = folder / f"{name}.json"
            if path.is_file():
                return path
    return None
