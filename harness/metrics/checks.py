"""Checks that every metric makes on its images before it computes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError

Image: TypeAlias = NDArray[np.uint8] | NDArray[np.float64]
"""An image: ``(H, W)`` gray or ``(H, W, 3)`` RGB, uint8, or float64 in units of 0..255."""


def check_image(image: NDArray[Any], role: str = "image") -> None:
    """Refuse an array that is not an image in the sense of this package.

    Parameters
    ----------
    image : ndarray
        The array to check.
    role : str
        What the array is called in the error, such as ``"reference"``.

    Raises
    ------
    InvalidArgumentError
        The array is not ``(H, W)`` or ``(H, W, 3)``, is empty, is neither uint8 nor float64, or holds NaN or infinity.
    """
    if not isinstance(image, np.ndarray):
        raise InvalidArgumentError(
            f"the {role} is a {type(image).__name__}, not a numpy array; convert it with numpy.asarray"
        )
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise InvalidArgumentError(
            f"the {role} has shape {image.shape}; an image is (H, W) gray or (H, W, 3) RGB, with the channels last"
        )
    if image.size == 0:
        raise InvalidArgumentError(f"the {role} has shape {image.shape}, which holds no pixel")
    if image.dtype not in (np.uint8, np.float64):
        raise InvalidArgumentError(
            f"the {role} has dtype {image.dtype}; give uint8, or float64 in units of 0..255 (astype(numpy.float64))"
        )
    if image.dtype == np.float64 and not np.isfinite(image).all():
        raise InvalidArgumentError(f"the {role} holds NaN or infinite samples; look for the step that made them")


def check_pair(reference: NDArray[Any], image: NDArray[Any]) -> None:
    """Refuse two arrays that cannot be compared sample by sample.

    Raises
    ------
    InvalidArgumentError
        One of them is no image (see `check_image`), or their shapes differ; both shapes are named.
    """
    check_image(reference, "reference")
    check_image(image, "image")
    if reference.shape != image.shape:
        raise InvalidArgumentError(
            f"the reference has shape {reference.shape}, the image {image.shape}; compare images of one size and kind"
        )
