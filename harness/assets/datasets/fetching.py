"""Getting a dataset: from a mirror, from pinned public sources, from a folder of the user's own.

Every file is checked against its registered bytes and SHA-256 before it gets its name. Files of a folder are linked,
not copied. What cannot be had is no error: the manifest says why, and tables print it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.assets.datasets import places
from harness.assets.datasets.collection import Collection, remember_folder
from harness.assets.datasets.hosts import Hosts
from harness.assets.datasets.manifest import (
    DatasetManifest,
    DatasetManifestFile,
    complete_manifest,
    missing_manifest,
    read_manifest,
)
from harness.assets.datasets.registered import Registered
from harness.assets.datasets.registry import Dataset, dataset
from harness.assets.datasets.supplied import Supplied
from harness.assets.datasets.verified import Hashes, read_state, still_complete, write_state
from harness.errors import HarnessError, printable

DEFAULT_JOBS = 8


def fetch(
    name: str,
    data: str | os.PathLike[str] = "data",
    *,
    folder: str | os.PathLike[str] | None = None,
    retry: bool = False,
    jobs: int = DEFAULT_JOBS,
    hosts: Hosts | None = None,
    say: Callable[[str], None] | None = None,
) -> DatasetManifest:
    """Get a dataset and write its manifest.

    Parameters
    ----------
    name : str
        Dataset or alias.
    data : path
        Folder of fetched files.
    folder : path, optional
        The user's own copy; looked at before the network, and remembered for later calls.
    retry : bool
        Whether to ask hosts again that could not be reached a short while ago.
    jobs : int
        Downloads at a time.
    hosts : Hosts, optional
        Shared by several calls, so that a host is probed once.
    say : callable, optional
        Gets sentences about what was noticed; by default they go to standard error.

    Returns
    -------
    DatasetManifest
        Complete, or missing with its reason.

    Raises
    ------
    HarnessError
        The name is unknown, the folder is none or holds another set, HARNESS_MIRROR cannot be understood, or nothing
        can be written.
    """
    record = dataset(name)
    root = Path(data)
    given = Path(folder) if folder is not None else None
    if given is not None:
        if not given.is_dir():
            raise HarnessError(f"{given}: no such folder; name the one that holds your copy of '{record.name}'")
    elif still_complete(record.name, root) is not None:
        return read_manifest(places.manifest_path(root, record.name))
    hosts = hosts or Hosts(root, retry)
    say = say or _say
    if record.base:
        base = fetch(record.base, root, folder=folder, jobs=jobs, hosts=hosts, say=say)
        manifest = _derive(record, base)
        with _alone(root, record.name, say):
            _finish(root, record.name, manifest, Hashes({}))
        return manifest
    with _alone(root, record.name, say):
        if folder is None and still_complete(record.name, root) is not None:  # another process was quicker
            return read_manifest(places.manifest_path(root, record.name))
        hashes = Hashes(read_state(root, record.name).get("seen", {}))
        kind: type[Collection] = Registered if record.files else Supplied
        try:
            manifest = kind(record, root, hashes, hosts, jobs, say, given).collect()
        except BaseException:
            with contextlib.suppress(HarnessError):  # what was hashed is not lost
                write_state(root, record.name, "", hashes)
            raise
        if given is not None:
            remember_folder(root, record.name, given)
        _finish(root, record.name, manifest, hashes)
        return manifest


def _say(text: str) -> None:
    print(printable(text), file=sys.stderr)


def _finish(data: Path, name: str, manifest: DatasetManifest, hashes: Hashes) -> None:
    places.write_whole(places.manifest_path(data, name), manifest.text())
    write_state(data, name, manifest.text() if manifest.complete else "", hashes)


def _derive(record: Dataset, base: DatasetManifest) -> DatasetManifest:
    """Make the manifest of a derived dataset: the base's files with the registered derived pixels."""
    if not base.complete:
        return missing_manifest(record.name, f"it is made from '{base.dataset}': {base.reason}", base.dataset)
    derived = {file.name: file for file in record.files}
    files = [
        DatasetManifestFile(
            name=file.name,
            image=file.image,
            role=file.role,
            bytes=file.bytes,
            sha256=file.sha256,
            pixels_sha256=derived[file.name].pixels_sha256,
            shape=derived[file.name].shape,
        )
        for file in base.files
    ]
    return complete_manifest(record.name, files, base.dataset)


@contextlib.contextmanager
def _alone(data: Path, name: str, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the dataset's lock; the system drops it when the process ends, however it ends."""
    path = places.state_folder(data) / "locks" / f"{name}.lock"
    try:
        import fcntl
    except ImportError:  # no such locks on this system: files are still replaced whole
        yield
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "w")  # noqa: SIM115 (opening is what may fail; it is closed below)
    except OSError as error:
        raise places.cannot_write(path, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: another process fetches it; waiting")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:  # some network file systems have no locks
            pass
        yield
