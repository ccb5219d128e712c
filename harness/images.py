"""Reading and writing images of 8 bits a sample, and of 16 where that is said; the hash of their pixels."""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from harness.errors import HarnessError, UnreadableFileError
from harness.files import is_special, whole_file

# Of the many formats that Pillow knows: those that datasets and methods use. Others may run programs (EPS) or name
# other files.
FORMATS = ("PNG", "BMP", "TIFF", "JPEG", "PPM", "WEBP", "GIF")


class ImageError(HarnessError):
    """An image file that is not taken as it is.

    `damaged`: Whether it is no image at all, or a damaged one.
    """

    def __init__(self, where: object, problem: str, remedy: str = "", *, damaged: bool = False) -> None:
        self.problem = problem
        self.sentence = f"{problem}; {remedy}" if remedy else problem
        self.damaged = damaged
        super().__init__(f"{where}: {self.sentence}")


class UnreadableImageError(ImageError, UnreadableFileError):
    """An image file that is not there, or that the system does not give."""


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an image file as it is stored, without any colour conversion.

    `path`: A PNG, BMP, TIFF or JPEG file of 8 bits a sample.
    Returns: ``(H, W) uint8`` for a grayscale file, ``(H, W, 3) uint8`` RGB 0..255 for a colour or palette file.
    Raises HarnessError: The file is missing, damaged, or of a kind that has no one meaning here (16 bit, transparent,
        CMYK, several images, turned by an EXIF note).
    """
    return decode_image(_contents(Path(path)), str(path))


def read_result(path: str | os.PathLike[str], saving: str = "round") -> NDArray[np.uint8] | NDArray[np.float64]:
    """Read an image that was restored elsewhere; beyond `read_image` its file must have kept what was restored.

    `path`: A PNG, BMP, TIFF or PPM file, or a lossless WebP file.
    `saving`: ``unrounded`` takes 16 bits a sample at their precision, 0..65535 for 0..255; every other rule is one of
        8-bit images (`harness.records.cells.SAVINGS`).
    Returns: ``(H, W)`` or ``(H, W, 3)``, uint8, or float64 in units of 0..255 for a file of 16 bits.
    Raises HarnessError: As `read_image`; or the file's format changes samples (JPEG, GIF, a palette).
    """
    pixels = _decode(_contents(Path(path)), str(path), _not_kept)
    if pixels.dtype == np.uint8:
        return pixels
    if saving != "unrounded" or _is_8_bit(pixels):
        remedy = "store it with 8, or measure it at its precision with saving 'unrounded'"
        raise ImageError(path, _too_deep(pixels), remedy)
    return pixels / DEEP_STEPS


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file; the rules and results are those of `read_image`."""
    pixels = _decode(data, where)
    if pixels.dtype != np.uint8:
        raise ImageError(where, _too_deep(pixels), "store it with 8")
    return pixels


def look_at_image(path: Path) -> tuple[str, tuple[int, ...]]:
    """Read an image's header: what is wrong with it (empty where nothing is), and its shape.

    The rules are those of `decode_image`.

    Raises OSError: The file cannot be read.
    """
    if is_special(path):
        return "is no file, but a pipe or the like; take it away", ()
    try:
        with Image.open(path, formats=FORMATS) as image:
            size, mode = (image.height, image.width), image.mode
            problem = header_problem(image)
            deep = not problem and is_deep(image)
    except UnidentifiedImageError:
        return "not a readable image (no known image format)", ()
    except OSError:
        raise
    except Exception as error:  # a damaged header can fail anywhere inside Pillow
        return f"not a readable image ({error})", ()
    if deep:
        try:
            read_image(path)  # its samples tell which sentence is right
        except ImageError as error:
            return error.sentence, ()
    return problem, size if mode in ("1", "L") else (*size, 3)


def header_problem(image: ImageFile.ImageFile) -> str:
    """Say what keeps an opened file from being one plain image, as far as its header tells; empty where nothing does.

    What it cannot tell: whether 16 bits a sample hold more than 8 would.
    """
    turned = _orientation(image)
    if turned != 1:
        return (
            f"an EXIF note says that it is stored turned (orientation {turned}), which some programs heed and others "
            "do not; store it upright without the note"
        )
    # A camera's JPEG (MPO) holds a preview beside the image.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        return "holds several images; store the one that is meant"
    if image.mode not in _PLAIN_MODES and not _is_deep_gray(image):
        return f"image mode '{image.mode}' is not supported; store it as 8-bit grayscale or 8-bit RGB"
    if "transparency" in image.info:
        return "has transparent pixels; store it without them"
    return ""


def is_deep(image: ImageFile.ImageFile) -> bool:
    """Whether an opened file has 16 bits a sample."""
    if image.format == "PPM":
        return image.mode == "I" or (isinstance(image.tile[0][3], tuple) and int(image.tile[0][3][-1]) > 255)
    return _is_deep_gray(image) or max(getattr(image, "tag_v2", {}).get(_BITS, (8,))) > 8 or _other_bytes(image) != ""


# 16-bit samples are whole multiples of 1/257 of a gray level: 65535 is 255.
DEEP_STEPS = 257

_PLAIN_MODES = ("1", "P", "L", "RGB")
_ORIENTATION, _BITS, _PHOTOMETRIC, _PLANES = 274, 258, 262, 284  # tags of TIFF 6.0, the first also of EXIF
# Pillow's names for the halves of a 16-bit colour sample, the one that it keeps and the other.
_HALVES = {"RGB;16B": "RGB;16L", "RGB;16L": "RGB;16B"}
_HALVES["RGB;16N"] = "RGB;16B" if sys.byteorder == "little" else "RGB;16L"


def _contents(path: Path) -> bytes:
    if is_special(path):
        raise UnreadableImageError(path, "is no file, but a pipe or the like", "take it away")
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UnreadableImageError(path, "no such image", "check the folder or make it again") from None
    except IsADirectoryError:
        raise UnreadableImageError(path, "is a folder, an image file is needed") from None
    except OSError as error:
        raise UnreadableImageError(path, f"cannot be read ({error.strerror or error})") from None


def _decode(data: bytes, where: str, also: Callable[[ImageFile.ImageFile], str] = lambda image: "") -> NDArray[Any]:
    """Decode a file to uint8 or uint16 samples; `also` looks at the header for problems of its own."""
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            problem = header_problem(image) or also(image)
            deep, other = not problem and is_deep(image), _other_bytes(image)
            if deep and not other and not _is_deep_gray(image):
                problem = f"has more than 8 bits a sample in a form that is not read ({image.format})"
            if problem:
                raise ImageError(where, problem)
            image.load()
            if not deep:
                plain = image.convert("RGB" if image.mode == "P" else "L") if image.mode in ("1", "P") else image
                return np.array(plain, dtype=np.uint8)
            pixels = np.array(image).astype(np.uint16)
        if other:
            # Pillow keeps 8 bits of a colour sample, and which ones is a matter of the byte order it is told.
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                image.tile = [tile._replace(args=_with_mode(tile.args, other)) for tile in image.tile]
                pixels = pixels << 8 | np.array(image)
        return pixels
    except HarnessError:
        raise
    # A damaged file can fail anywhere inside Pillow, with whatever exception is at hand there.
    except Exception as error:
        detail = "no known image format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise ImageError(where, f"not a readable image ({detail})", "replace the file", damaged=True) from None


def _orientation(image: ImageFile.ImageFile) -> int:
    # Pillow looks for a PNG's note behind the pixels, too, and would decode them for that.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # a damaged note says nothing
        return 1


def _is_deep_gray(image: ImageFile.ImageFile) -> bool:
    if image.format == "TIFF":
        tags = getattr(image, "tag_v2", {})
        # Pillow does not turn a white 0 of 16 bits around.
        return image.mode.startswith("I;16") and tags.get(_BITS) == (16,) and tags.get(_PHOTOMETRIC) == 1
    return image.format in ("PNG", "PPM") and image.mode.startswith("I")


def _raw_mode(image: ImageFile.ImageFile) -> str:
    """Name Pillow's form of the stored samples, where it says it."""
    arguments = image.tile[0][3] if image.tile else ""
    return str(arguments[0] if isinstance(arguments, tuple) else arguments)


def _with_mode(arguments: Any, mode: str) -> Any:
    return (mode, *arguments[1:]) if isinstance(arguments, tuple) else mode


def _other_bytes(image: ImageFile.ImageFile) -> str:
    """Name the mode that gives the bytes which Pillow drops of every sample; empty where there is none."""
    if getattr(image, "tag_v2", {}).get(_PLANES, 1) != 1:
        return ""
    return _HALVES.get(_raw_mode(image), "")


def _not_kept(image: ImageFile.ImageFile) -> str:
    """Say what a restored image lost when it was stored; empty where it lost nothing."""
    lossless = "store results as PNG, BMP or TIFF"
    kind = str(image.format)
    compression = str(image.info.get("compression", ""))
    if kind in ("JPEG", "MPO") or "jpeg" in compression or "webp" in compression:
        return f"JPEG compression has changed the samples that were restored; {lossless}"
    if kind == "WEBP" and not _is_lossless_webp(image):
        return f"WebP compression has changed the samples that were restored; {lossless}"
    if image.mode in ("1", "P") or kind == "GIF" or _raw_mode(image) in ("L;2", "L;4"):
        return f"a palette or few gray levels hold less than was restored; {lossless} of 8 bits a sample"
    return ""


def _is_lossless_webp(image: ImageFile.ImageFile) -> bool:
    assert image.fp is not None
    image.fp.seek(0)
    return bool(image.fp.read(16)[12:] == b"VP8L")


def _is_8_bit(pixels: NDArray[Any]) -> bool:
    return 0 < int(pixels.max()) <= 255


def _too_deep(pixels: NDArray[Any]) -> str:
    if _is_8_bit(pixels):
        return "has 16 bits a sample and in them values of 8 (none is above 255 of 65535)"
    return "has 16 bits a sample"


def write_png(path: str | os.PathLike[str], pixels: NDArray[np.uint8]) -> None:
    """Write an 8-bit PNG so that a reader sees either the whole file or none.

    `path`: Target file; its folder is made.
    `pixels`: ``(H, W) uint8`` or ``(H, W, 3) uint8`` RGB.
    """
    if pixels.dtype != np.uint8:
        raise TypeError(f"PNG pixels must be uint8, not {pixels.dtype}")
    with whole_file(path) as part:
        # Level 1: files are read back soon and often; a smaller file is not worth ten times the time.
        Image.fromarray(pixels).save(part, format="PNG", compress_level=1)


# What an unrounded pixel is stored as: steps of 1/256 of a gray level in a 16-bit PNG.
FINE_STEPS = 256
# Text entry of such a PNG with the number of channels that lie one below the other.
_CHANNELS = "channels"


def write_fine_png(path: str | os.PathLike[str], pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Write an image without rounding it to 8 bits, as a 16-bit gray PNG in steps of 1/256 of a gray level.

    The channels of a colour image are stored one below the other, and the file says how many there are.

    `pixels`: ``(H, W)`` or ``(H, W, 3) float64`` in units of 0..255; values outside are clipped.
    Returns: The pixels as a reader will get them.
    """
    stored = np.clip(np.rint(pixels * FINE_STEPS), 0, 255 * FINE_STEPS).astype(np.uint16)
    note = PngInfo()
    stacked = stored
    if pixels.ndim == 3:
        note.add_text(_CHANNELS, str(pixels.shape[2]))
        stacked = np.concatenate([stored[:, :, channel] for channel in range(pixels.shape[2])])
    with whole_file(path) as part:
        Image.fromarray(stacked).save(part, format="PNG", compress_level=1, pnginfo=note)
    return stored / FINE_STEPS


def read_fine_png(path: str | os.PathLike[str]) -> NDArray[np.float64]:
    """Read what `write_fine_png` wrote: ``(H, W)`` or ``(H, W, 3) float64`` in units of 0..255."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if not image.mode.startswith("I"):
                raise HarnessError(f"{path}: not a 16-bit gray PNG; restore it again")
            stacked = np.array(image, dtype=np.uint16) / FINE_STEPS
            channels = int(getattr(image, "text", {}).get(_CHANNELS, "1"))
        return stacked if channels == 1 else np.stack(np.split(stacked, channels), axis=2)
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such image; check the folder or make it again") from None
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(f"{path}: not a readable image ({error}); replace the file") from None


def pixels_sha256(pixels: NDArray[np.generic]) -> str:
    """Hash an array's samples in row-major order (the file format plays no part).

    `pixels`: Any array; its bytes are hashed in C order, little-endian.
    Returns: SHA-256 in hexadecimal.
    """
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()
