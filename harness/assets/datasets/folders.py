"""Finding a dataset's images in folders: a mirror, a folder of the user's own, scikit-image's wheel."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from harness.assets.datasets.registry import File
from harness.assets.verified import Hashes
from harness.errors import HarnessError
from harness.images import ImageError

IMAGE_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".jpg", ".jpeg")
# What macOS adds to the archives that it packs: a folder with the names of the real ones, and nothing of use in it.
MAC_SHADOWS = "__MACOSX"


def embedded_folder() -> Path | None:
    """Folder of the photographs in scikit-image's wheel, found without importing it; None where it is not installed."""
    package = importlib.util.find_spec("skimage")
    if package is None or not package.submodule_search_locations:
        return None
    return Path(package.submodule_search_locations[0]) / "data"


def files_below(folder: Path) -> list[str]:
    """List the image files below a folder by relative name, sorted; hidden ones and macOS's shadows are left out."""
    found: list[str] = []
    visited: set[str] = set()
    for current, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(current)
        if real in visited:  # a link that leads upwards
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith(".") and name != MAC_SHADOWS)
        base = Path(current).relative_to(folder)
        found += [
            (base / name).as_posix()
            for name in files
            if not name.startswith(".") and name.lower().endswith(IMAGE_SUFFIXES)
        ]
    return sorted(found)


# How far below a folder a release may begin: archives unpack into folders of their own, such as GOPRO_Large/test.
DEEPEST = 3


def _levels(folder: Path) -> Iterator[list[os.DirEntry[str]]]:
    """Give the entries of a folder and of those up to three levels below, level by level, sorted; none hidden."""
    level = [str(folder)]
    for _ in range(DEEPEST + 1):
        entries: list[os.DirEntry[str]] = []
        for current in level:
            with contextlib.suppress(OSError), os.scandir(current) as found:
                entries += sorted(
                    (entry for entry in found if not entry.name.startswith(".") and entry.name != MAC_SHADOWS),
                    key=lambda entry: entry.name,
                )
        yield entries
        level = [entry.path for entry in entries if entry.is_dir()]


def find_below(folder: Path, name: str) -> Path | None:
    """Find a file or folder by its name, in whatever case, in a folder or up to three levels below; else None."""
    for entries in _levels(folder):
        alike = [entry for entry in entries if entry.name.casefold() == name.casefold()]
        if alike:
            return Path(min(alike, key=lambda entry: entry.name != name).path)
    return None


def files_near(folder: Path, suffix: str = "") -> list[str]:
    """List the files in a folder and up to three levels below, by relative name, the uppermost first."""
    return [
        Path(entry.path).relative_to(folder).as_posix()
        for entries in _levels(folder)
        for entry in entries
        if entry.name.lower().endswith(suffix) and entry.is_file()
    ]


def printable(name: str) -> str:
    """Write a file name whose bytes are no UTF-8 so that it can be printed and stored."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _candidates(file: File, folder: Path, dataset: str, below: list[str]) -> Iterator[Path]:
    """Give the files that may be the wanted one, the likeliest first: by name, then by stem."""
    for relative in (file.name, f"{dataset}/{file.name}"):
        if (folder / relative).is_file():
            yield folder / relative
    stem = Path(file.name).stem.casefold()
    parent = Path(file.name).parent.name.casefold()
    same = [name for name in below if Path(name).stem.casefold() == stem]
    # target/1.png and input/1.png have one stem: the folder's name decides which is looked at first.
    same.sort(key=lambda name: (Path(name).parent.name.casefold() != parent, name))
    yield from (folder / name for name in same)


class Match:
    """Files of a folder that are the registered ones.

    `found`: Path by registered name.
    `reencoded`: Names whose bytes differ and whose pixels agree.
    `differing`: By the name of a file that is there with other pixels, or damaged: what is wrong, such as ``is
        damaged``.
    """

    def __init__(self) -> None:
        self.found: dict[str, Path] = {}
        self.reencoded: list[str] = []
        self.differing: dict[str, str] = {}


def match_files(wanted: Iterable[File], folder: Path, dataset: str, hashes: Hashes) -> Match:
    """Find registered files in a folder, by bytes or else by pixels, whatever they are called there.

    `folder`: Where to look, subfolders included.
    """
    match = Match()
    below = files_below(folder)
    open_files: list[File] = []
    for file in wanted:
        problems: list[str] = []
        for path in dict.fromkeys(_candidates(file, folder, dataset, below)):
            problem = _compare(file, path, hashes)
            if problem in ("", "re-encoded"):
                match.found[file.name] = path
                if problem:
                    match.reencoded.append(file.name)
                break
            problems.append(problem)
        else:
            open_files.append(file)
            if problems:
                match.differing[file.name] = problems[0]
    if open_files:
        _match_by_pixels(open_files, folder, below, hashes, match)
    return match


def _compare(file: File, path: Path, hashes: Hashes) -> str:
    """Compare a file with a registered one: empty where it is the same, ``re-encoded``, or what is wrong."""
    try:
        if path.stat().st_size == file.bytes and file.is_at(path, hashes):
            return ""
        _, pixels, shape = hashes.image(path)
    except HarnessError as error:
        return "is damaged" if isinstance(error, ImageError) and error.damaged else "is of a wrong mode"
    except OSError:
        return "cannot be read"
    if pixels == file.pixels_sha256:
        return "re-encoded"
    if shape != file.shape:
        return f"is {size_text(shape)} instead of {size_text(file.shape)}"
    return "has a wrong checksum and other pixels"


def _match_by_pixels(wanted: list[File], folder: Path, below: list[str], hashes: Hashes, match: Match) -> None:
    """Find files under unknown names by decoding every image that is left."""
    taken = set(match.found.values())
    by_pixels: dict[str, Path] = {}
    for path in (folder / name for name in below):
        if path not in taken:
            try:
                by_pixels.setdefault(hashes.image(path)[1], path)
            except (HarnessError, OSError):
                continue
    for file in wanted:
        known = by_pixels.get(file.pixels_sha256)
        if known is not None:
            match.found[file.name] = known
            match.differing.pop(file.name, None)
            if hashes.image(known)[0] != file.sha256:
                match.reencoded.append(file.name)


def size_text(shape: tuple[int, ...]) -> str:
    """Write a shape for readers: width x height and colour or gray."""
    return f"{shape[1]}x{shape[0]} {'colour' if len(shape) == 3 else 'gray'}"
