"""The folder a user works in: its parameters, and where everything lies.

``data/`` holds what was fetched, ``work/`` what was computed, ``results/`` the rendered tables. Only the last is kept
in git; DVC and checksums keep track of the other two.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path, PurePosixPath
from typing import Self

import msgspec

from harness.errors import HarnessError
from harness.records.cells import NoiseDraws
from harness.records.loading import convert, read_yaml

PARAMS_FILE = "params.yaml"
# A network library on a cold network disk takes half a minute; what takes four times as long will not come.
IMPORT_SECONDS = 120.0


class Limits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a method may use; no part of a result's identity.

    `image_seconds`: Seconds for one image, after which a method is taken for hung. A whole Urban100 image through an
        averaged non-local network takes hours on a CPU.
    `import_seconds`: Seconds for the import of a plugin, after which it is left out.
    """

    image_seconds: float = 6 * 3600.0
    import_seconds: float = IMPORT_SECONDS


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Contents of params.yaml: folders of methods, of tables and of what else is defined, noise draws, limits."""

    methods: tuple[str, ...] = ()
    plugins: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    noise: NoiseDraws = NoiseDraws()
    limits: Limits = Limits()


class Folder:
    """A project folder: the one with params.yaml; what is known in it is `harness.tables.workspace.Workspace`'s.

    `root`: The folder; params.yaml may be absent, then the defaults hold.
    """

    def __init__(self, root: str | os.PathLike[str] = ".") -> None:
        self.root = Path(root)

    @classmethod
    def find(cls, start: str | os.PathLike[str] = ".", *, needed: bool = True) -> Self:
        """Find the nearest folder upwards that holds params.yaml.

        `needed`: Whether there must be one. What reads no results of earlier commands goes without: the folder is then
            `start`, with the parameters' defaults.
        Raises HarnessError: There is none, and it is needed: a pipeline, for example, must be written somewhere.
        """
        here = Path(start).resolve()
        for folder in (here, *here.parents):
            if (folder / PARAMS_FILE).is_file():
                return cls(os.path.relpath(folder, Path.cwd()) if start == "." else folder)
        if not needed:
            return cls(start)
        raise HarnessError(
            f"{here}: no {PARAMS_FILE} here or above, so this is no workspace; `harness init` makes one of this folder"
        )

    @functools.cached_property
    def params(self) -> Params:
        """The parameters, checked."""
        path = self.root / PARAMS_FILE
        given = read_yaml(path) if path.is_file() else None
        # A file of comments alone says nothing, and nothing is wrong with it.
        return Params() if given is None else convert(given, Params, str(path))

    @property
    def exists(self) -> bool:
        """Whether this is a workspace, and not a folder that stands in for one."""
        return (self.root / PARAMS_FILE).is_file()

    @property
    def data(self) -> Path:
        """Folder of fetched files."""
        return self.root / "data"

    @property
    def work(self) -> Path:
        """Folder of computed files."""
        return self.root / "work"

    @property
    def results(self) -> Path:
        """Folder of rendered tables."""
        return self.root / "results"

    def _inside(self, name: str, key: str) -> Path:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts:
            raise HarnessError(f"{PARAMS_FILE}: '{name}' under '{key}' leaves the project; name a folder inside it")
        path = self.root / name
        if not path.is_dir():
            raise HarnessError(f"{PARAMS_FILE}: '{name}' under '{key}' is not a folder; make it or take the line out")
        return path
