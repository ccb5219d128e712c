"""DND (Plotz and Roth, CVPR 2017): restored boxes in the files that the benchmark's server takes.

The format is that of the owners' devkit (``bundle_submissions_srgb``): one file an image, ``0001.mat`` to ``0050.mat``,
each with a cell ``Idenoised`` of the 20 restored boxes in the order of ``info.mat`` (single precision, [0, 1]),
``israw`` (false) and ``eval_version`` ("1.0"). A box is given by its corners, counted from 1 and both inside:
top, left, bottom, right.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.unpacking import DND_FOLDER, DND_INFO, find_dnd, read_dnd_image
from harness.assets.foreign import open_hdf5
from harness.assets.hosts import mirrors
from harness.assets.places import AssetPaths
from harness.assets.weights.matlab import variables_v5
from harness.assets.weights.recording import recording
from harness.errors import HarnessError, NotAvailableError
from harness.files import file_sha256, refuse_special, whole_file, write_json
from harness.methods import Method, build_method
from harness.records.loading import load_json
from harness.records.runs import library_versions
from harness.run.apply import WrongResultError, array_restorer, tensor_restorer
from harness.run.restore import depends_sha256

IMAGES = 50
BOXES = 20
EVAL_VERSION = "1.0"
TASK = "denoise-real"

RECORD = "submission.json"

# A file of the server holds 20 boxes of 512x512 in single or double precision: 63 or 126 MB. Anything far beyond is
# none, and is not unpacked.
_LARGEST = 1 << 30


Box = tuple[int, int, int, int]
"""Top, left, bottom and right of a box, counted from 1, all inside."""


class Release(msgspec.Struct, frozen=True):
    """The benchmark's files on this machine: ``0001.mat`` and so on, the boxes of each, the SHA-256 of info.mat."""

    images: tuple[Path, ...]
    boxes: tuple[tuple[Box, ...], ...]
    info_sha256: str


class SubmissionRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a folder of submitted files was made from.

    `method`, `policy`, `origin`, `code`: What restored, and the fingerprint of its code.
    `weights`: SHA-256 of every weights file used, and of the files that the method depends on.
    `info`: SHA-256 of info.mat.
    `files`, `images`: SHA-256 of every finished file, and of the benchmark's file that each was made from.
    `libraries`: Versions of the libraries that may move a digit, and of the packages that the method imports.
    """

    method: str
    policy: str
    origin: str
    code: str
    weights: dict[str, str]
    info: str
    files: dict[str, str] = {}
    images: dict[str, str] = {}
    libraries: dict[str, str] = {}


def open_release(folder: Path, images: int = IMAGES) -> Release:
    """Find the benchmark's files in a folder, or up to three levels below, and read the boxes.

    Raises HarnessError: Files are missing or damaged, or the boxes are none.
    """
    holder, info = find_dnd(folder)
    if holder is None or info is None:
        missing = DND_FOLDER + "/" if holder is None else DND_INFO
        raise HarnessError(f"{folder}: holds no {missing}; name the folder with {DND_FOLDER}/0001.mat … and {DND_INFO}")
    files = tuple(holder / f"{number:04}.mat" for number in range(1, images + 1))
    absent = [file.name for file in files if not file.is_file()]
    if absent:
        raise HarnessError(f"{holder}: lacks {absent[0]}" + (f" and {len(absent) - 1} more" if absent[1:] else ""))
    return Release(files, read_boxes(info, images), file_sha256(info))


def read_boxes(path: Path, images: int = IMAGES) -> tuple[tuple[Box, ...], ...]:
    """Read the boxes of every image from info.mat (MATLAB 7.3); HarnessError where it holds other ones than DND's."""
    try:
        with open_hdf5(path) as contents:
            references = contents.file["info"]["boundingboxes"]
            nodes = [contents.follow(reference) for reference in np.asarray(references).ravel()]
            shapes = [tuple(reversed(node.shape)) for node in nodes]
            sound = len(shapes) == images and set(shapes) == {(BOXES, 4)}
            tables = [np.asarray(node, dtype=np.float64).T for node in nodes] if sound else []
    except (OSError, KeyError, RuntimeError, ValueError, TypeError, AttributeError) as error:
        brief = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise HarnessError(f"{path}: cannot be read as DND's {DND_INFO} ({brief}); download it again") from None
    if not sound:
        raise HarnessError(
            f"{path}: holds boxes of {len(shapes)} images, {shapes[0] if shapes else ()} each, "
            f"instead of {images} of ({BOXES}, 4)"
        )
    result = []
    for number, table in enumerate(tables, 1):
        corners = [tuple(int(value) for value in row) for row in table]
        if (table != np.rint(table)).any() or any(t < 1 or left < 1 or b < t or r < left for t, left, b, r in corners):
            raise HarnessError(f"{path}: image {number} has a box that is none; download it again")
        result.append(tuple(corners))
    return tuple(result)  # type: ignore[arg-type]


def cut(image: NDArray[Any], box: Box) -> NDArray[Any]:
    """Cut a box out of an image ``(H, W, 3)``; HarnessError where it leaves the image."""
    top, left, bottom, right = box
    if bottom > image.shape[0] or right > image.shape[1]:
        raise HarnessError(
            f"box {box} leaves an image of {image.shape[1]}x{image.shape[0]} pixels; download info.mat again"
        )
    return image[top - 1 : bottom, left - 1 : right]


def make_submission(
    method: Method,
    release: Release,
    target: Path,
    *,
    policy: str = "",
    code: str = "",
    packages: Collection[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> SubmissionRecord:
    """Restore every box and write the server's files into a folder; an interrupted run goes on where it stopped.

    `method`, `release`: A method for real noise, and the benchmark's files.
    `target`: Gets ``0001.mat`` and so on and ``submission.json`` (which is not submitted).
    `policy`: Inference policy; empty for the method's own.
    `code`, `packages`: Fingerprint of the restoring code, and the installed packages that it imports.
    `progress`: Called with the numbers of finished and of all images.
    Raises NotAvailableError: The method's weights are not here.
    Raises HarnessError: The method does not do real noise, fails, or returns no image of a box's size; or the folder
        holds another submission.
    """
    policy = policy or method.policy
    with recording() as loaded:
        restore = _restorer(method, policy)
    weights = {f"{item.name}/{item.file}": item.sha256 for item in loaded} | depends_sha256(method)
    libraries = library_versions(packages)
    info = release.info_sha256
    record = SubmissionRecord(method.name, policy, method.origin, code, weights, info, libraries=libraries)
    record = _taken_up(target, record)
    for done, path in enumerate(release.images, 1):
        source = file_sha256(path, "")
        if record.images.get(path.name) != source:
            image = read_dnd_image(path)
            boxes = release.boxes[done - 1]
            crops = [
                _restore_box(restore, cut(image, box), method, f"{path.stem}, box {n}")
                for n, box in enumerate(boxes, 1)
            ]
            files = {**record.files, path.name: _write_file(target / path.name, crops)}
            images = {**record.images, path.name: source}
            record = msgspec.structs.replace(record, files=dict(sorted(files.items())), images=images)
            write_json(target / RECORD, record)
        progress(done, len(release.images))
    return record


def _restorer(method: Method, policy: str) -> Callable[[NDArray[Any]], NDArray[np.float64]]:
    if method.on == "images":
        raise HarnessError(f"method '{method.name}' is a folder of images; DND needs a method that takes an image")
    function = build_method(method, TASK, 0, "dnd")
    if method.on == "tensor":
        return tensor_restorer(function, policy, method.chop.get(TASK, ""))
    return array_restorer(function, policy)


def _restore_box(
    restore: Callable[[NDArray[Any]], NDArray[np.float64]], crop: NDArray[np.float32], method: Method, where: str
) -> NDArray[np.float32]:
    what = f"method '{method.name}' on DND {where}"
    try:
        restored = restore(crop.astype(np.float64) * 255) / 255
    except WrongResultError as error:
        raise HarnessError(f"{what} {error}; nothing is written for this image") from None
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"{what} failed: {type(error).__name__}: {error}") from error
    if restored.shape != crop.shape:
        raise HarnessError(f"{what}: returned {restored.shape} for a box of {crop.shape}")
    return np.clip(restored, 0, 1).astype(np.float32)


def _taken_up(target: Path, record: SubmissionRecord) -> SubmissionRecord:
    """Take up the files of an interrupted run that was made from the same; refuse a folder of another."""
    path = target / RECORD
    if not path.is_file():
        strange = sorted(file.name for file in target.glob("*.mat")) if target.is_dir() else []
        if strange:
            raise HarnessError(f"{target}: holds {strange[0]} and no {RECORD}; name an empty folder with --out")
        return record
    found = load_json(path, SubmissionRecord)
    if msgspec.structs.replace(found, files={}, images={}) != record:
        raise HarnessError(
            f"{target}: holds a submission of '{found.method}' under '{found.policy}', made with other code, weights, "
            "libraries or boxes; delete it or name another folder with --out"
        )
    files = {name: sha256 for name, sha256 in found.files.items() if file_sha256(target / name, "") == sha256}
    images = {name: sha256 for name, sha256 in found.images.items() if name in files}
    return msgspec.structs.replace(record, files=files, images=images)


def _write_file(path: Path, crops: list[NDArray[np.float32]]) -> str:
    from scipy.io import savemat

    cell = np.empty((1, len(crops)), dtype=object)
    for index, crop in enumerate(crops):
        cell[0, index] = crop
    with whole_file(path) as part, open(part, "wb") as file:
        savemat(file, {"Idenoised": cell, "israw": False, "eval_version": EVAL_VERSION})
        # scipy names the second in which it wrote; the same images are to be the same bytes.
        file.seek(0)
        file.write(b"MATLAB 5.0 MAT-file".ljust(116))
    return file_sha256(path)


def pack(folder: Path, images: int = IMAGES) -> Path:
    """Pack the server's files into ``<folder>.zip``, without folders inside and without the record."""
    target = folder.with_name(f"{folder.name}.zip")
    with whole_file(target) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        for number in range(1, images + 1):
            # One time for all: the same files give the same archive.
            entry = zipfile.ZipInfo(f"{number:04}.mat", (1980, 1, 1, 0, 0, 0))
            with (folder / entry.filename).open("rb") as source, archive.open(entry, "w", force_zip64=True) as inside:
                while block := source.read(1 << 20):
                    inside.write(block)
    return target


def check_submission(path: Path, release: Release) -> list[str]:
    """Read a submission (a folder or a zip file) back: what keeps the server from taking it, one sentence each.

    Raises HarnessError: There is no such folder or zip file.
    """
    problems = []
    wanted = {file.name: boxes for file, boxes in zip(release.images, release.boxes, strict=True)}
    seen: set[str] = set()
    for name, data in _files(path, wanted):
        if name in seen or name not in wanted:
            told = "is there twice" if name in seen else "does not belong into a submission"
            problems.append(f"{name}: {told}")
            continue
        seen.add(name)
        if isinstance(data, str):
            problems.append(f"{name}: {data}")
        else:
            problems += [f"{name}: {problem}" for problem in _check_file(data, wanted[name])]
    absent = [name for name in wanted if name not in seen]
    if absent:
        problems.append(f"{absent[0]}" + (f" and {len(absent) - 1} more are missing" if absent[1:] else " is missing"))
    return problems


def _files(path: Path, wanted: Collection[str]) -> Iterator[tuple[str, bytes | str]]:
    """Give the files of a folder or zip by name; the first of each name that is wanted with its bytes or its fault."""
    if path.is_dir():
        for file in sorted(path.iterdir()):
            if file.name != RECORD and not file.name.startswith("."):
                small = file.is_file() and file.stat().st_size <= _LARGEST
                known = file.name in wanted
                yield file.name, file.read_bytes() if known and small else "is no file of at most a gigabyte"
        return
    left = set(wanted)
    refuse_special(path)
    try:
        with zipfile.ZipFile(path) as archive:
            for entry in archive.infolist():
                first, small = entry.filename in left, entry.file_size <= _LARGEST
                left.discard(entry.filename)
                yield entry.filename, archive.read(entry) if first and small else "unpacks to more than a gigabyte"
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such folder or zip file") from None
    # A damaged archive fails anywhere in zipfile and zlib, with whatever is at hand there.
    except Exception as error:
        raise HarnessError(f"{path}: not a readable zip file ({error})") from None


def _check_file(data: bytes, boxes: tuple[Box, ...]) -> list[str]:
    try:
        return list(_check_variables(variables_v5(data), boxes))
    # A damaged file can fail anywhere in scipy, and variables of other kinds in what looks at them.
    except Exception as error:
        return [f"cannot be read ({(str(error).splitlines() or [type(error).__name__])[0][:100]})"]


def _check_variables(held: dict[str, Any], boxes: tuple[Box, ...]) -> Iterator[str]:
    if set(held) != {"Idenoised", "israw", "eval_version"}:
        yield f"holds {', '.join(sorted(held)) or 'nothing'} instead of Idenoised, israw and eval_version"
        return
    if np.asarray(held["israw"]).ravel().tolist() != [False]:
        yield "israw is not false"
    if "".join(np.asarray(held["eval_version"]).ravel().tolist()) != EVAL_VERSION:
        yield f"eval_version is not {EVAL_VERSION}"
    cell = held["Idenoised"]
    if cell.dtype != object or cell.size != len(boxes):
        yield f"Idenoised is {cell.shape} {cell.dtype} instead of a cell of {len(boxes)} boxes"
        return
    for number, (crop, (top, left, bottom, right)) in enumerate(zip(cell.ravel(), boxes, strict=True), 1):
        wanted = (bottom - top + 1, right - left + 1, 3)
        if not isinstance(crop, np.ndarray) or crop.shape != wanted:
            yield f"box {number} is {getattr(crop, 'shape', type(crop).__name__)} instead of {wanted}"
        elif crop.dtype not in (np.float32, np.float64):
            yield f"box {number} is {crop.dtype} instead of single precision"
        elif not np.isfinite(crop).all() or crop.min() < 0 or crop.max() > 1:
            yield f"box {number} leaves the range [0, 1]"


def find_release(data: Path, images: int = IMAGES) -> Release:
    """Find the benchmark's files where `harness datasets fetch dnd --from FOLDER` found them, or in a mirror.

    Raises NotAvailableError: They are in neither place.
    """
    mirrored = [mirror / "datasets" / "dnd" for mirror in mirrors()[0]]
    for folder in [*AssetPaths(data, "datasets", "dnd").own_folders, *mirrored]:
        if find_dnd(folder)[0] is not None:
            return open_release(folder, images)
    raise NotAvailableError(
        "DND's arrays are not here; get images_srgb/ and info.mat from https://noise.visinf.tu-darmstadt.de/ "
        "and give their folder with --from"
    )
