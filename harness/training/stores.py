"""Training images, decoded once into one memory-mapped file of 8-bit samples.

Random degradations (noise) and the mosaic are applied to each patch when it is drawn. JPEG and bicubic reduction are
made of whole images, here and once, because the evaluation does so: a patch of the stored input is a patch of the very
image that the evaluation would restore. Both call `harness.degradations`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.assets.datasets.reading import FetchedDataset
from harness.degradations.kinds import Bicubic, Degradation, Jpeg, Mosaic, Noise
from harness.errors import HarnessError
from harness.files import write_json
from harness.records.loading import load_json
from harness.records.tasks import Task

INDEX = "index.json"
FORMAT = 1


class StoredImage(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where an image lies: first sample and shape in each of the two files (`input` is empty without one)."""

    image: str
    target: int
    shape: tuple[int, ...]
    input: int = 0
    input_shape: tuple[int, ...] = ()


class StoreIndex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a store holds."""

    dataset: str
    degradation: str
    level: int
    images: tuple[StoredImage, ...]


class Store:
    """Images of a training set, memory-mapped; cheap to open in every process.

    `folder`: What `make_store` made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.index = load_json(folder / INDEX, StoreIndex)
        files = {name: folder / f"{name}.u8" for name in ("target", "input")}
        self._samples = {
            name: np.memmap(file, dtype=np.uint8, mode="r") if file.exists() else None for name, file in files.items()
        }

    def __len__(self) -> int:
        """Number of images."""
        return len(self.index.images)

    @property
    def has_inputs(self) -> bool:
        """Whether degraded images are stored too."""
        return self._samples["input"] is not None

    def target(self, index: int) -> NDArray[np.uint8]:
        """Ground truth ``(H, W, C) uint8``, a view into the file."""
        item = self.index.images[index]
        return self._view("target", item.target, item.shape)

    def input(self, index: int) -> NDArray[np.uint8]:
        """Degraded image ``(H, W, C) uint8``, a view into the file."""
        item = self.index.images[index]
        return self._view("input", item.input, item.input_shape)

    def _view(self, name: str, start: int, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        samples = self._samples[name]
        assert samples is not None
        return samples[start : start + int(np.prod(shape))].reshape(shape)


def stores_inputs(made: Degradation) -> bool:
    """Return whether a degradation is applied to whole images beforehand, and not to each patch."""
    if isinstance(made, Noise | Mosaic):
        return False
    if isinstance(made, Jpeg | Bicubic) or made.name == "pairs":
        if made.output != "uint8":
            raise HarnessError(f"degradation '{made.name}' gives floats; a recipe takes one that gives 8-bit images")
        return True
    raise HarnessError(f"training does not know whether '{made.name}' may be applied to patches; use another")


def store_place(fetched: FetchedDataset, made: Degradation, level: int) -> str:
    """Name a store by everything that determines its bytes."""
    # The reference of noise and mosaic does not depend on the level.
    level = level if stores_inputs(made) else 0
    digest = hashlib.sha256()
    for part in (FORMAT, fetched.name, made.name, made.version, level):
        digest.update(f"{part}\0".encode())
    for image in fetched.image_ids:
        digest.update("\0".join([image, *fetched.all_sha256(image)]).encode() + b"\n")
    return f"{fetched.name}-{made.name}-{level}-{digest.hexdigest()[:16]}"


def make_store(fetched: FetchedDataset, made: Degradation, level: int, stores: Path) -> Path:
    """Decode a dataset into a store, unless it is there already; return its folder.

    Raises HarnessError: An image is damaged, or the disk is full; nothing half-made is left.
    """
    folder = stores / store_place(fetched, made, level)
    if (folder / INDEX).is_file():
        return folder
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    inputs = stores_inputs(made)
    # The level of a noise store does not matter, but it must be one that the degradation has.
    level = level if inputs or made.level_name else 0
    images: list[StoredImage] = []
    try:
        part.mkdir(parents=True)
        at = {"target": 0, "input": 0}
        with open(part / "target.u8", "wb") as targets, open(part / ("input.u8" if inputs else "none"), "wb") as others:
            for image in fetched.image_ids:
                reference = made.reference(fetched.read(image), level)
                target = _channels(reference)
                item = StoredImage(image, at["target"], target.shape)
                targets.write(target.tobytes())
                at["target"] += target.size
                if inputs:
                    degraded = _degraded(fetched, made, image, reference, level)
                    item = msgspec.structs.replace(item, input=at["input"], input_shape=degraded.shape)
                    others.write(degraded.tobytes())
                    at["input"] += degraded.size
                images.append(item)
        (part / "none").unlink(missing_ok=True)
        write_json(part / INDEX, StoreIndex(fetched.name, made.name, level, tuple(images)))
        try:
            os.replace(part, folder)
        except OSError:
            if not (folder / INDEX).is_file():  # another process was faster
                raise
    except OSError as error:
        raise HarnessError(
            f"{folder}: the training images cannot be written ({error.strerror or error}); "
            "free some space or move work/ elsewhere"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder


def check_channels(kind: str, fetched: FetchedDataset, found: Mapping[str, int], task: Task, made: Degradation) -> None:
    """Refuse gray images where a network of colour images is trained or validated.

    `kind`: ``training`` or ``validation``.
    `found`: Channels of its images' references, by image.
    Raises HarnessError: There are some; the first three files are named.
    """
    level = task.levels[0] if made.level_name else 0
    side = 4 * made.scale(level)
    of_colour = _channels(made.reference(np.zeros((side, side, 3), np.uint8), level)).shape[2]
    gray = [image for image, channels in found.items() if channels == 1]
    if gray and (len(gray) < len(found) or 1 not in (of_colour, task.channels)):
        names = ", ".join(fetched.path(image).name for image in gray[:3])
        more = f" and {len(gray) - 3} more" if len(gray) > 3 else ""
        are = "is" if len(gray) == 1 else "are"
        raise HarnessError(
            f"{kind} set '{fetched.name}': {names}{more} of {len(found)} images {are} gray, and the others or the "
            "task are of colour; store all in colour, or leave the gray ones out"
        )


def _degraded(
    fetched: FetchedDataset, made: Degradation, image: str, reference: NDArray[np.uint8], level: int
) -> NDArray[np.uint8]:
    """Make an input exactly as the evaluation does (`harness.assets.inputs.make_input`)."""
    degraded = fetched.read_input(image) if made.name == "pairs" else made.degrade(reference, level)
    if made.name == "pairs" and degraded.shape != reference.shape:
        raise HarnessError(
            f"dataset '{fetched.name}', image '{image}': the input is {degraded.shape}, the ground truth is "
            f"{reference.shape}; a pair must have one size"
        )
    return _channels(np.asarray(degraded, dtype=np.uint8))


def _channels(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return image[:, :, None] if image.ndim == 2 else image
