"""Degrading one image by the name of a degradation, outside any dataset."""

from __future__ import annotations

from typing import Any

from numpy.typing import NDArray

from harness.degradations.noise import noise_generator
from harness.degradations.registry import degradation
from harness.errors import InvalidArgumentError, text, whole_number


def degrade(
    image: NDArray[Any], name: str, level: int = 0, *, draw: int = 0, dataset: str = "", image_id: str = ""
) -> NDArray[Any]:
    """Make a method's input of a ground-truth image, as the tables do.

    Parameters
    ----------
    image : ndarray
        ``(H, W, 3) uint8`` RGB or ``(H, W) uint8`` gray ground truth.
    name : str
        A name of `harness.degradations.DEGRADATIONS`, such as ``"awgn-float"``, ``"jpeg-y8"``, ``"bicubic-replicate"``.
    level : int
        Sigma in units of 0..255, JPEG quality 1..100, or scale; 0 where there is one level only.
    draw : int
        Number of the noise draw, its seed. It changes nothing where nothing is drawn, nor in MATLAB's one field
        (``"awgn-seed0-…"``).
    dataset, image_id : str
        Names that choose the noise stream with `level` and `draw`: ``"kodak24"`` and ``"kodim01"`` give the very
        noise of the tables.

    Returns
    -------
    ndarray
        uint8, or float64 in units of 0..255, also outside them. Its size is that of the reference: what a restored
        image is compared with is ``degradation(name).reference(image, level)``, which may be gray or cropped.

    Raises
    ------
    InvalidArgumentError
        The name is unknown, the level has no meaning here, or the image is not uint8.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> flat = np.full((4, 6), 128, np.uint8)
    >>> harness.degrade(flat, "awgn-8bit-gray", 25)[0]
    array([101, 108, 137, 145, 130,  99], dtype=uint8)
    >>> harness.degrade(flat, "bicubic-replicate", 2).shape
    (2, 3, 3)
    """
    if not isinstance(name, str):
        raise InvalidArgumentError(
            f"a degradation is named by a text, not by a {type(name).__name__}: harness.degrade(image, name, level)"
        )
    made = degradation(name)
    level = whole_number(level, "level")
    dataset, image_id = text(dataset, "dataset"), text(image_id, "image_id")
    rng = noise_generator(dataset, image_id, level, draw) if made.random else None
    return made.degrade(made.reference(image, level), level, rng)
