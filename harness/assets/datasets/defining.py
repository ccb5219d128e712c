"""A dataset of one's own whose images a function gives: made, read from an odd format, or cut out of other images."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import gray_among_colour
from harness.assets.datasets.registry import Dataset
from harness.assets.datasets.registry import dataset as dataset_of
from harness.assets.datasets.supplied import DatasetCollection, wrong_sizes
from harness.assets.manifest import DatasetManifest, DatasetManifestFile, Role, complete_dataset, missing_dataset
from harness.errors import HarnessError, InvalidArgumentError, NotAvailableError, missing_package, several
from harness.images import read_image, write_png
from harness.names import check_name, is_safe
from harness.process_state import left_alone
from harness.registries import Registry

Give = TypeVar("Give", bound=Callable[[], Iterable[Any]])
# One image under its name: the ground truth, and of pairs the degraded input.
Named = tuple[str, dict[Role, NDArray[np.uint8]]]


@dataclass(frozen=True)
class MadeDataset:
    """A dataset that a plugin defines.

    `record`: As of every dataset; the images are counted when they are made.
    `function`: Gives ``(name, image)``, or of pairs ``(name, ground truth, input)``, one after another.
    """

    record: Dataset
    function: Callable[[], Iterable[Any]]
    depends: tuple[Path, ...] = ()

    @property
    def name(self) -> str:
        """Name of the dataset."""
        return self.record.name

    def images(self) -> Iterable[Named]:
        """Call the function; give every image that it gives, checked.

        Raises HarnessError: The function failed, changed what its process shares, or gave what is no image or no name.
        Raises NotAvailableError: It lacks a package or a file, as it says.
        """
        what = f"dataset '{self.name}'"
        source = DATASETS.source(self.name) if self.name in DATASETS else None
        read = [(source.parent if source else Path()) / path for path in self.depends]
        for path in read:
            if not path.exists():
                raise NotAvailableError(f"{what}: {path} is not here, which its depends= names")
            if link := next((file for file in path.rglob("*") if file.is_symlink() and file.is_dir()), None):
                raise HarnessError(
                    f"{what}: {link} is a link to a folder, behind which no change is seen; name the folder"
                )
        roles: tuple[Role, ...] = ("target", "input") if self.record.kind == "pairs" else ("target",)
        names: set[str] = set()
        dimensions: dict[str, int] = {}
        try:
            with left_alone(what):
                for item in self.function():
                    if not isinstance(item, tuple) or len(item) != 1 + len(roles):
                        wanted = "(name, ground truth, input)" if len(roles) > 1 else "(name, image)"
                        raise InvalidArgumentError(f"{what} gave {_told(item)}; it must give {wanted}")
                    name = item[0]
                    if not isinstance(name, str) or not is_safe(name) or "/" in name:
                        raise InvalidArgumentError(f"{what}: {name!r} cannot name an image; give a text without '/'")
                    if name.casefold() in names:
                        raise InvalidArgumentError(f"{what} gave two images named '{name}'; give each its own name")
                    names.add(name.casefold())
                    found = {
                        role: _image(part, read, f"{what}, image '{name}'")
                        for role, part in zip(roles, item[1:], strict=True)
                    }
                    for _, problem in wrong_sizes(self.record, {(name, role): a.shape for role, a in found.items()}):
                        raise InvalidArgumentError(f"{what}, image '{name}': {problem}")
                    dimensions[name] = found["target"].ndim
                    yield name, found
        except HarnessError:
            raise
        except ImportError as error:
            raise NotAvailableError(f"{what}: {error}", missing_package(error)) from None
        except (Exception, SystemExit) as error:
            raise HarnessError(f"{what} failed: {type(error).__name__}: {error}") from None
        if not names:
            raise HarnessError(f"{what} gave no image")
        if mixed := gray_among_colour(dimensions):
            raise HarnessError(f"{what}: {mixed}")


def _told(item: Any) -> str:
    return f"{len(item)} values" if isinstance(item, tuple) else f"a {type(item).__name__}"


def _image(given: Any, read: Iterable[Path], what: str) -> NDArray[np.uint8]:
    if isinstance(given, str | Path):
        path = Path(given).resolve()
        # Else nobody would notice that the file is another one.
        if path.exists() and not any(path.is_relative_to(known.resolve()) for known in read):
            raise InvalidArgumentError(f"{what}: {given} is a file that depends= does not name; name it, or its folder")
        return read_image(given)
    if not isinstance(given, np.ndarray) or given.dtype != np.uint8:
        found = f"an array of {given.dtype}" if isinstance(given, np.ndarray) else f"a {type(given).__name__}"
        raise InvalidArgumentError(f"{what} is {found}; give an array of uint8, or the path of an image file")
    if given.ndim not in (2, 3) or given.shape[2:] not in ((), (3,)) or not given.size:
        raise InvalidArgumentError(f"{what} has the shape {given.shape}; an image is (H, W) or (H, W, 3)")
    return np.ascontiguousarray(given)


DATASETS: Registry[MadeDataset] = Registry("dataset", ())
"""Datasets that plugins define, by name."""


class Made(DatasetCollection):
    """Makes the images of a dataset by its function, and keeps them as files."""

    def _is_complete(self) -> bool:
        # What was typed in is known by nothing, so it is made again.
        return self.record.name in DATASETS.known_by and super()._is_complete()

    def collect(self) -> DatasetManifest:
        """Write every image, and remove those of an earlier function."""
        name = self.record.name
        if self.given is not None:
            raise HarnessError(f"dataset '{name}' is made by a function, not taken from a folder; leave --from out")
        files: list[DatasetManifestFile] = []
        try:
            for image, of_roles in DATASETS[name].images():
                for role, pixels in of_roles.items():
                    inside = f"{role}/{image}.png" if len(of_roles) > 1 else f"{image}.png"
                    path = self.path(inside)
                    write_png(path, pixels)
                    sha256, pixels_sha256, shape = self.hashes.image(path)
                    size = path.stat().st_size
                    files.append(DatasetManifestFile(inside, image, role, size, sha256, pixels_sha256, shape))
        except NotAvailableError as error:
            return missing_dataset(name, str(error))
        kept = {self.path(file.name) for file in files}
        for path in self.paths.folder.rglob("*.png"):
            if path not in kept:
                path.unlink()
        return complete_dataset(name, files)


def _refuse_taken(name: str) -> None:
    try:
        known = dataset_of(name).name
    except InvalidArgumentError:
        return
    raise HarnessError(f"a dataset '{name}' is there already ({known}); choose another name")


def dataset(
    name: str,
    *,
    pairs: bool = False,
    title: str = "",
    summary: str = "",
    licence: str = "not stated",
    homepage: str = "",
    citation: str = "",
    depends: Iterable[str | Path] = (),
) -> Callable[[Give], Give]:
    """Define a dataset by the function below, which gives its images one after another.

    It is called when the dataset is fetched, and again after its code, a package that it imports or a file of `depends`
    has changed; what is computed follows from the images that it then gives. For a folder of image files
    ``harness datasets add`` needs no function.

    Parameters
    ----------
    name : str
        Its name: lower-case letters, digits, ``-``.
    pairs : bool
        The function gives ``(name, ground truth, degraded input)``; else ``(name, image)``. An image is an array,
        ``(H, W)`` or ``(H, W, 3)`` uint8 RGB, or the path of an image file.
    title, summary, licence, homepage, citation : str
        For readers.
    depends : iterable of path
        Files that the function reads, relative to its own, images that it gives by path included; of a folder names,
        sizes and times of its files count.

    Raises
    ------
    HarnessError
        The name is no plain one or taken.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> @harness.dataset("ramps")
    ... def ramps():
    ...     for slope in (1, 2, 4):
    ...         yield f"slope-{slope}", np.tile(np.arange(64, dtype=np.uint8) * slope, (48, 1))
    """

    def register(function: Give) -> Give:
        check_name(name, "dataset")
        if name not in DATASETS:
            _refuse_taken(name)
        DATASETS.define(
            MadeDataset(
                Dataset(
                    name=name,
                    title=title or name,
                    kind="pairs" if pairs else "images",
                    count=0,
                    supply="made",
                    description=summary or f"{name}, a dataset of one's own",
                    licence=licence,
                    licence_note=licence,
                    homepage=homepage or "none",
                    citation=citation or "none",
                ),
                function,
                tuple(map(Path, several(depends, f"dataset '{name}': depends"))),
            )
        )
        return function

    return register
