"""What collecting a dataset needs, whether its files are registered one by one or only counted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, wait
from pathlib import Path
from typing import Any

from harness.assets.datasets import folders, places
from harness.assets.datasets.hosts import Hosts
from harness.assets.datasets.manifest import DatasetManifest
from harness.assets.datasets.registry import Dataset
from harness.assets.datasets.verified import Hashes

HASHING_THREADS = 4


def _own_folders_path(data: Path) -> Path:
    return places.state_folder(data) / "own-folders.json"


def own_folders(data: Path) -> dict[str, str]:
    """Read the folders that were given with --from, by dataset."""
    try:
        plain = json.loads(_own_folders_path(data).read_bytes())
        return {str(name): str(folder) for name, folder in plain.items()}
    except (OSError, ValueError, AttributeError):
        return {}


def remember_folder(data: Path, name: str, folder: Path) -> None:
    """Remember a folder that was given with --from."""
    remembered = {**own_folders(data), name: os.path.abspath(folder)}
    places.write_whole(_own_folders_path(data), json.dumps(remembered, indent=1, sort_keys=True) + "\n")


class Collection:
    """One dataset being collected.

    Parameters
    ----------
    record : Dataset
        What is wanted.
    data : path
        Folder of fetched files.
    hashes : Hashes
        Checksums, with what earlier runs learned.
    hosts : Hosts
        Hosts that answer.
    jobs : int
        Downloads at a time.
    say : callable
        Gets remarks.
    folder : path or None
        The own folder given in this call.
    """

    def __init__(
        self,
        record: Dataset,
        data: Path,
        hashes: Hashes,
        hosts: Hosts,
        jobs: int,
        say: Callable[[str], None],
        folder: Path | None,
    ) -> None:
        self.record = record
        self.data = data
        self.folder = places.dataset_folder(data, record.name)
        self.hashes = hashes
        self.hosts = hosts
        self.jobs = jobs
        self.say = say
        self.given = folder
        self.mirror_folders, self.mirror_urls = folders.mirrors()
        self.have: set[str] = set()
        self.tried: list[str] = []

    def collect(self) -> DatasetManifest:
        """Get every file that can be had."""
        raise NotImplementedError

    def _path(self, name: str) -> Path:
        return self.folder / name

    def _in_mirror(self, mirror: Path) -> Path | None:
        for path in self.record.mirror_paths:
            if (mirror / path).is_dir():
                return mirror / path
        return None

    def _own(self) -> list[Path]:
        """Give the folder that was given with --from before, and the default one, where there are such."""
        remembered = own_folders(self.data).get(self.record.name)
        default = self.data / "own" / self.record.name
        return ([Path(remembered)] if remembered else []) + ([default] if default.is_dir() else [])


def wait_for(futures: Iterable[Future[Any]], cancel: Callable[[], None]) -> None:
    """Wait for all; at the first failure or Ctrl-C stop the others and pass it on."""
    waiting = list(futures)
    try:
        done, _ = wait(waiting, return_when=FIRST_EXCEPTION)
        for future in done:
            future.result()
    except BaseException:
        cancel()
        for future in waiting:
            future.cancel()
        raise
