"""Where records, fetched files, manifests and remembered facts lie, and which names are safe to join to them.

Nothing here imports more than the standard library's small modules: it runs before every table.

::

    data/datasets/<name>/<file>             the images: links into a mirror or an own folder, or downloads
    data/manifests/datasets/<name>.json     what is there, with checksums: what DVC depends on
    data/state/datasets/<name>.json         file stats of verified files, so that nothing is hashed twice
    data/state/hosts.json                   hosts that could not be reached a short while ago
    data/state/own-folders.json             folders given with --from
    data/own/<name>/                        own copies, found without --from
    datasets/<name>.json                    records of the user's own sets, beside params.yaml
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.errors import HarnessError
from harness.names import is_name

# A user's own records: folders with one JSON file a dataset, separated like PATH.
RECORDS_VARIABLE = "HARNESS_DATASETS"
# Beside params.yaml: records that `harness datasets add` wrote.
OWN_RECORDS = "datasets"
_WORKSPACE_FILE = "params.yaml"
_REGISTRY = Path(__file__).with_name("registry")


def record_folders() -> list[Path]:
    """List the folders that hold registry records: the package's, those of the variable, the project's."""
    given = os.environ.get(RECORDS_VARIABLE, "")
    folders = [_REGISTRY, *(Path(part).expanduser() for part in given.split(os.pathsep) if part)]
    here = Path.cwd()
    for folder in (here, *here.parents):
        if (folder / _WORKSPACE_FILE).is_file():
            own = folder / OWN_RECORDS
            known = {path.resolve() for path in folders}
            return [*folders, own] if own.is_dir() and own.resolve() not in known else folders
    return folders


def record_path(name: str) -> Path | None:
    """Find the record of a dataset by its canonical name; None where there is none."""
    if is_name(name):
        for folder in record_folders():
            path = folder / f"{name}.json"
            if path.is_file():
                return path
    return None


def dataset_folder(data: Path, name: str) -> Path:
    """Folder of a dataset's files."""
    return data / "datasets" / name


def manifest_path(data: Path, name: str) -> Path:
    """Path of a dataset's manifest."""
    return data / "manifests" / "datasets" / f"{name}.json"


def state_folder(data: Path) -> Path:
    """Folder of what is remembered between runs; deleting it costs time and nothing else."""
    return data / "state"


def state_path(data: Path, name: str) -> Path:
    """Path of the stats of a dataset's verified files."""
    return state_folder(data) / "datasets" / f"{name}.json"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path in the folder of `path`; when the block ends well it takes the place of `path`.

    `harness.files.whole_file` does the same at the cost of importing msgspec, and is not made for several threads.

    Raises
    ------
    HarnessError
        The disk is full, the folder is read-only, or the like; `path` is as it was.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        with suppress(OSError):  # a read-only folder: the part was never made
            part.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> HarnessError:
    """Make the error for a file that could not be written."""
    return HarnessError(
        f"{path}: cannot be written ({error.strerror or error}); make room or name another folder with --data"
    )


def write_whole(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole, unless it already has this text."""
    data = text.encode("utf-8")
    with suppress(OSError):
        if path.read_bytes() == data:
            return
    with replacing(path) as part:
        part.write_bytes(data)
