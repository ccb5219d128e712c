"""Baseline JPEG, there and back, in memory."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from harness.errors import InvalidArgumentError
from harness.metrics.checks import check_image


def jpeg(image: NDArray[Any], quality: int) -> NDArray[np.uint8]:
    """Encode an image as baseline JPEG and decode it again.

    Both steps are libjpeg's (through Pillow), with its accurate integer transform; MATLAB's ``imwrite(…, "jpg",
    "Quality", q)`` and ``imread`` do the same, bit for bit on gray images (Classic5, quality 10, 5 of 5).

    Parameters
    ----------
    image : ndarray
        ``(H, W) uint8`` gray or ``(H, W, 3) uint8`` RGB; colour is stored with chroma halved both ways (4:2:0).
    quality : int
        1..100 in libjpeg's scale.

    Returns
    -------
    ndarray of uint8
        Same shape.

    Raises
    ------
    InvalidArgumentError
        The image is not uint8, is larger than JPEG allows, or the quality is not a whole number in 1..100.
    """
    check_image(image)
    if image.dtype != np.uint8:
        raise InvalidArgumentError(
            f"JPEG takes 8-bit images, not {image.dtype}; round first (harness.metrics.to_uint8)"
        )
    if isinstance(quality, bool) or quality != int(quality) or not 1 <= quality <= 100:
        raise InvalidArgumentError(f"JPEG quality {quality} is not a whole number in 1..100")
    if max(image.shape[:2]) > 65500:
        raise InvalidArgumentError(f"JPEG stores at most 65500 pixels a side, the image has shape {image.shape}")
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="JPEG", quality=int(quality))
    with Image.open(buffer) as decoded:
        return np.array(decoded, dtype=np.uint8)
