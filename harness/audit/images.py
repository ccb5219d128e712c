"""Where an audit's restored images come from: the workspace's datasets, methods, weights and restored images."""

from __future__ import annotations

from pathlib import Path

import msgspec

from harness.assets.datasets import fetch
from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.audit.kept import Shelf
from harness.audit.sources import RestoredSet, Restorer
from harness.audit.variants import Making, dataset_variants
from harness.errors import HarnessError, NotAvailableError
from harness.methods import Method, build_method
from harness.records.cells import Group
from harness.records.in_use import loading_from
from harness.records.restored import RECORD, RestoredRecord, read_restored
from harness.records.runs import library_versions
from harness.run.apply import array_restorer, image_restorer, tensor_restorer
from harness.run.restore import depends_sha256
from harness.tables.workspace import Workspace


class Bench:
    """Where an audit gets its images from: one workspace, every source opened once.

    Parameters
    ----------
    workspace : Workspace
        Holds data/ and work/.
    workers : int
        Threads for methods that are no networks.
    """

    def __init__(self, workspace: Workspace, workers: int = 2) -> None:
        self.workspace = workspace
        self.methods = workspace.methods()
        self.workers = workers
        self.shelf = Shelf(workspace.work / "audit")
        self._sources: dict[tuple[str, str, int, Making, bool], RestoredSet] = {}
        self._opened: dict[str, FetchedDataset] = {}
        self._records: dict[Group, RestoredRecord | None] = {}
        self._restorers: dict[tuple[str, str, int, str, str], tuple[Restorer, str]] = {}

    def method(self, name: str) -> Method:
        """Look a method up among those known here."""
        return self.methods[name]

    def light(self, name: str) -> bool:
        """Whether a method is a plain function on arrays, or a folder of images."""
        found = self.methods[name]
        return found.on == "images" or (found.on == "array" and not found.weights and not found.extra)

    def parallel(self, name: str) -> bool:
        """Whether images may be restored side by side."""
        return self.light(name) and not self.methods[name].random

    def source(self, task: str, dataset: str, level: int, making: Making, here: bool = False) -> RestoredSet:
        """Open a source once; `here` leaves aside what is stored, so that every finish can be measured.

        Raises
        ------
        NotAvailableError
            The dataset is not here.
        """
        # The other datasets of a making do not matter to this one.
        plain = msgspec.structs.replace(making, datasets=())
        key = (task, dataset, level, plain, here)
        if key not in self._sources:
            self._sources[key] = RestoredSet(self, task, dataset, level, plain, here)
        return self._sources[key]

    def whole_source(self, task: str, dataset: str, level: int, making: Making, here: bool = False) -> RestoredSet:
        """Open a source that holds every image: where only some of them are stored, all are restored here.

        Raises
        ------
        NotAvailableError
            The dataset is not here.
        """
        source = self.source(task, dataset, level, making, here)
        if source.stored is not None and len(source.stored_part()) < len(source.images):
            return self.source(task, dataset, level, making, here=True)
        return source

    def open(self, name: str) -> FetchedDataset:
        """Open a dataset; one that is made from a dataset that is here is made."""
        if name not in self._opened:
            try:
                self._opened[name] = open_dataset(name, self.workspace.data)
            except NotAvailableError:
                base = next((other for other in dataset_variants(name) if other != name and self._is_here(other)), None)
                if base is None:
                    raise
                fetch(name, self.workspace.data)
                self._opened[name] = open_dataset(name, self.workspace.data)
        return self._opened[name]

    def _is_here(self, name: str) -> bool:
        try:
            open_dataset(name, self.workspace.data)
        except HarnessError:
            return False
        return True

    def restorer(self, task: str, dataset: str, level: int, making: Making) -> tuple[Restorer, str]:
        """Build a method once, or once a dataset if it has a model for each; with the identity of its code and weights.

        Raises
        ------
        NotAvailableError
            The method cannot do this, or its weights are not here.
        """
        chosen = dataset if self.methods[making.method].weights_for else ""
        key = (task, chosen, level, making.method, making.policy)
        if key not in self._restorers:
            self._restorers[key] = self._build(task, chosen, level, making)
        return self._restorers[key]

    def _build(self, task: str, dataset: str, level: int, making: Making) -> tuple[Restorer, str]:
        from harness.assets.weights.recording import recording

        found = self.methods[making.method]
        with loading_from(self.workspace.root), recording() as loaded:
            function = build_method(found, task, level, dataset)
        used = sorted(item.sha256 for item in loaded)
        if found.on == "images":
            find = image_restorer(function, "unrounded")
            return (lambda dataset, image, degraded: find(dataset, image)), ""
        if found.on == "tensor":
            scale = level if task == "sr" else 1
            plain = tensor_restorer(function, making.policy, found.chop.get(task, ""), scale)
        else:
            plain = array_restorer(function, making.policy)
        identity = ""
        if not self.light(making.method):
            from harness.methods.fingerprints import fingerprint, method_code, method_packages

            versions = library_versions(method_packages(found))
            parts = [used, sorted(depends_sha256(found).items()), sorted(versions.items())]
            identity = fingerprint(method_code(found)) + msgspec.json.encode(parts).decode()
        return (lambda dataset, image, degraded: plain(degraded)), identity

    def restored_folder(self, group: Group) -> Path:
        """Folder of a group's restored images in the workspace."""
        return self.workspace.work / "restored" / group.place

    def restored_record(self, group: Group) -> RestoredRecord | None:
        """Read the record of a group's restored images once; None where there are none."""
        if group not in self._records:
            folder = self.restored_folder(group)
            self._records[group] = read_restored(folder) if (folder / RECORD).is_file() else None
        return self._records[group]
