"""Overlap between sets of images: the same photograph in two sets, also as a crop, smaller, flipped, gray or in colour.

Perceptual hashes (ImageHash) find whole images in any size and orientation; crops are found by correlating the smaller
image with the larger one at a quarter of the size. Every candidate is confirmed by the correlation of its pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.assets.datasets.reading import open_dataset
from harness.errors import HarnessError, NotAvailableError
from harness.metrics.luminance import luma

TRAINED_ON = ("bsd400", "t91-bsd200", "div2k-train")
"""Sets of the registry that networks of the papers were trained on."""
TESTED_ON = (
    "set5", "set12", "set14", "b100", "urban100", "manga109", "kodak24", "cbsd68", "bsd68-gray", "mcmaster18", "live1",
    "classic5", "rain100l", "rain100h",
)  # fmt: skip

# Of 64 bits: unrelated photographs differ in about 32 (standard deviation 4); copies of another size in 0 to 6.
HASH_DISTANCE = 10
CORRELATION = 0.95
"""A pair counts as the same photograph above this correlation of its pixels."""
SIDE = 48
SHRINK = 4
"""Crops are looked for at a quarter of the size."""
CROP_CANDIDATE = 0.8

Gray = NDArray[np.float64]


class Overlap(msgspec.Struct, frozen=True, order=True):
    """One photograph in two sets.

    `image`, `other`: Names in the two sets.
    `kind`: ``same`` (whole image, any size), ``flipped`` (mirrored or turned), ``crop``.
    `correlation`: Of the pixels, after they were brought to one place and size.
    """

    image: str
    other: str
    kind: str
    correlation: float


class SetImages(msgspec.Struct, frozen=True):
    """The images of a set, gray, by name."""

    name: str
    images: dict[str, Gray]


def read_set(name: str, data: Path) -> SetImages:
    """Read a fetched set below a folder of datasets as gray images (float64, 0..255).

    Raises NotAvailableError: It is not here.
    """
    fetched = open_dataset(name, data)
    images = {}
    for image in fetched.image_ids:
        try:
            images[image] = luma(fetched.read(image), "none", "full")
        except NotAvailableError:
            raise
        except HarnessError as error:
            raise NotAvailableError(f"dataset '{name}' cannot be read: {error}") from None
    return SetImages(name, images)


def find_overlap(
    one: SetImages, other: SetImages, progress: Callable[[str], None] = lambda text: None
) -> list[Overlap]:
    """Find the photographs that two sets share: for each image of `one` the best match of each image of `other`.

    `one`, `other`: Two different sets.
    `progress`: Called with what is being done.
    Returns: Sorted.
    """
    progress(f"{one.name} and {other.name}: hashes")
    pairs = {(match.image, match.other): match for match in _whole(one, other)}
    progress(f"{one.name} and {other.name}: crops")
    crops = [Overlap(small, large, "crop", value) for small, large, value in _inside(one, other)]
    crops += [Overlap(large, small, "crop", value) for small, large, value in _inside(other, one)]
    for match in crops:
        pairs.setdefault((match.image, match.other), match)
    return sorted(pairs.values())


def _hash_bits(image: Gray) -> NDArray[np.bool_]:
    import imagehash

    plain = Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    bits: NDArray[np.bool_] = imagehash.phash(plain, hash_size=8).hash.reshape(-1)
    return bits


def _whole(one: SetImages, other: SetImages) -> list[Overlap]:
    """Find images that are whole in both sets, in any size and orientation."""
    if not one.images or not other.images:
        return []
    others = list(other.images)
    hashes = np.array([_hash_bits(image) for image in other.images.values()])
    matches = []
    for name, image in one.images.items():
        turned = [np.flip(image, axes) for axes in ((), (0,), (1,), (0, 1))]
        # The eight flips and transposes, the image as it is first.
        for index, candidate in enumerate([*turned, *(part.T for part in turned)]):
            distances = (hashes != _hash_bits(candidate)).sum(axis=1)
            for hit in np.flatnonzero(distances <= HASH_DISTANCE):
                correlation = _correlation(_small(candidate), _small(other.images[others[hit]]))
                if correlation >= CORRELATION:
                    kind = "same" if index == 0 else "flipped"
                    matches.append(Overlap(name, others[hit], kind, round(correlation, 3)))
    return matches


def _small(image: Gray) -> Gray:
    plain = Image.fromarray(image.astype(np.float32))
    return np.asarray(plain.resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)


def _shrunk(image: Gray) -> Gray:
    height, width = (side // SHRINK * SHRINK for side in image.shape)
    blocks = image[:height, :width].reshape(height // SHRINK, SHRINK, width // SHRINK, SHRINK)
    small: Gray = blocks.mean(axis=(1, 3))
    return small


def _correlation(x: Gray, y: Gray) -> float:
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x * x).sum() * (y * y).sum()))
    return float((x * y).sum()) / norm if norm else 0.0


def _inside(small: SetImages, large: SetImages) -> list[tuple[str, str, float]]:
    """Correlate every small image with every larger one at every place, through Fourier transforms."""
    from scipy.fft import irfft2, next_fast_len, rfft2

    matches = []
    pieces = {name: _shrunk(image) for name, image in small.images.items()}
    for name, image in large.images.items():
        field = _shrunk(image)
        shape = [next_fast_len(side, real=True) for side in field.shape]
        transform = rfft2(field, shape)
        squares = rfft2(field * field, shape)
        boxes: dict[tuple[int, ...], tuple[Gray, Gray]] = {}
        for piece_name, piece in pieces.items():
            # A crop has fewer pixels on at least one side; equal sizes are for the hashes.
            if any(a > b for a, b in zip(piece.shape, field.shape, strict=True)) or piece.shape == field.shape:
                continue
            if min(piece.shape) < 8:
                continue
            if piece.shape not in boxes:
                window = np.conj(rfft2(np.ones(piece.shape), shape))
                sums, total = irfft2(transform * window, shape), irfft2(squares * window, shape)
                boxes[piece.shape] = sums, total
            sums, total = boxes[piece.shape]
            centred = piece - piece.mean()
            product = irfft2(transform * np.conj(rfft2(centred, shape)), shape)
            rows, columns = (b - a + 1 for a, b in zip(piece.shape, field.shape, strict=True))
            variance = np.maximum(total - sums * sums / piece.size, 1e-6)[:rows, :columns]
            values = product[:rows, :columns] / np.sqrt(variance * float((centred * centred).sum()) + 1e-9)
            place = np.unravel_index(int(np.argmax(values)), values.shape)
            if values[place] >= CROP_CANDIDATE:
                value = _confirm(small.images[piece_name], image, (int(place[0]), int(place[1])))
                if value >= CORRELATION:
                    matches.append((piece_name, name, round(value, 3)))
    return matches


def _confirm(piece: Gray, image: Gray, place: tuple[int, int]) -> float:
    """Correlate at full size around the place that was found at a quarter of it."""
    top, left = place[0] * SHRINK, place[1] * SHRINK
    height, width = piece.shape
    best = 0.0
    for row in range(max(0, top - SHRINK), min(image.shape[0] - height, top + SHRINK) + 1):
        for column in range(max(0, left - SHRINK), min(image.shape[1] - width, left + SHRINK) + 1):
            best = max(best, _correlation(piece, image[row : row + height, column : column + width]))
    return best
