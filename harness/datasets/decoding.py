"""Decoding an image from bytes that were already read and checked."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from harness.errors import HarnessError


def decode_image(data: bytes, where: str) -> NDArray[np.uint8]:
    """Decode an image as it is stored, without any colour conversion (the rules of `harness.images.read_image`).

    Parameters
    ----------
    data : bytes
        Contents of a PNG, BMP, TIFF or JPEG file of 8 bits a sample.
    where : str
        Begins the error message.

    Returns
    -------
    ndarray
        ``(H, W) uint8`` for grayscale, ``(H, W, 3) uint8`` RGB 0..255 for colour or a palette.

    Raises
    ------
    HarnessError
        Damaged, or of a kind (16 bit, transparent, CMYK) that has no meaning here.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            plain = image.convert("RGB" if image.mode == "P" else "L") if image.mode in ("1", "P") else image
            if plain.mode not in ("L", "RGB"):
                raise HarnessError(
                    f"{where}: image mode '{plain.mode}' is not supported; store it as 8-bit grayscale or 8-bit RGB"
                )
            return np.array(plain, dtype=np.uint8)
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        detail = str(error) if not isinstance(error, UnidentifiedImageError) else "no known image format"
        raise HarnessError(f"{where}: not a readable image ({detail}); replace the file") from None
