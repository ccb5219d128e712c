"""Reading and writing 8-bit images, and the hash of their pixels."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from harness.errors import HarnessError
from harness.files import whole_file

# Of the many formats that Pillow knows: those that datasets and methods use. Others may run programs (EPS) or name
# other files.
FORMATS = ("PNG", "BMP", "TIFF", "JPEG", "PPM", "WEBP", "GIF")


def read_image(path: str | os.PathLike[str]) -> NDArray[np.uint8]:
    """Read an image file as it is stored, without any colour conversion.

    Parameters
    ----------
    path : path
        A PNG, BMP, TIFF or JPEG file of 8 bits a sample.

    Returns
    -------
    ndarray
        ``(H, W) uint8`` for a grayscale file, ``(H, W, 3) uint8`` RGB 0..255 for a colour or palette file.

    Raises
    ------
    HarnessError
        The file is missing, damaged, or of a kind (16 bit, transparent, CMYK) that has no meaning here.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise HarnessError(f"{path}: no such image; check the folder or make it again") from None
    except IsADirectoryError:
        raise HarnessError(f"{path}: is a folder, an image file is needed") from None
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror or error})") from None
    return decode_image(data, str(path))


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode the bytes of an image file; the rules and results are those of `read_image`.

    Parameters
    ----------
    data : bytes
        Contents of the file.
    where : str
        Begins the error message.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            image.load()
            plain = image.convert("RGB" if image.mode == "P" else "L") if image.mode in ("1", "P") else image
            if plain.mode not in ("L", "RGB"):
                raise HarnessError(
                    f"{where}: image mode '{plain.mode}' is not supported; store it as 8-bit grayscale or 8-bit RGB"
                )
            return np.array(plain, dtype=np.uint8)
    except HarnessError:
        raise
    # A damaged file can fail anywhere inside Pillow, with whatever exception is at hand there.
    except Exception as error:
        detail = "no known image format" if isinstance(error, UnidentifiedImageError) else str(error)
        raise HarnessError(f"{where}: not a readable image ({detail}); replace the file") from None


def write_png(path: str | os.PathLike[str], pixels: NDArray[np.uint8]) -> None:
    """Write an 8-bit PNG so that a reader sees either the whole file or none.

    Parameters
    ----------
    path : path
        Target file; its folder is made.
    pixels : ndarray
        ``(H, W) uint8`` or ``(H, W, 3) uint8`` RGB.
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

    Parameters
    ----------
    path : path
        Target file.
    pixels : ndarray
        ``(H, W)`` or ``(H, W, 3) float64`` in units of 0..255; values outside are clipped.

    Returns
    -------
    ndarray of float64
        The pixels as a reader will get them.
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

    Parameters
    ----------
    pixels : ndarray
        Any array; its bytes are hashed in C order, little-endian.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    little = np.ascontiguousarray(pixels, dtype=pixels.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()
