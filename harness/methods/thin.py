"""Images that are thinner than a method's blocks: mirrored until they are wide enough, and cropped afterwards."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Restore = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def on_thin_images(restore: Restore, side: int) -> Restore:
    """Make a function on arrays of at least `side` rows and columns serve images of any size.

    Parameters
    ----------
    restore : callable
        Takes and returns float64 (H, W) or (H, W, 3).
    side : int
        Fewest rows and columns it can take.
    """

    def apply(image: NDArray[np.float64]) -> NDArray[np.float64]:
        height, width = image.shape[:2]
        missing = (max(side - height, 0), max(side - width, 0))
        if not any(missing):
            return restore(image)
        # "reflect" leaves the edge sample out, so that the rows of a Bayer mosaic stay in turn.
        margins = ((0, missing[0]), (0, missing[1]), (0, 0))[: image.ndim]
        return restore(np.pad(image, margins, mode="reflect"))[:height, :width]

    return apply
