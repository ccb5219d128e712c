"""Rows that restore nothing: the degraded input itself, and bicubic interpolation.

They need no network, so they prove degradation and metric to the printed digit.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from harness.methods import method

Restore = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _unchanged(array: NDArray[np.float64]) -> NDArray[np.float64]:
    return array


@method("noisy", tasks=["denoise-rgb", "denoise-gray", "denoise-real"], title="Noisy", on="array")
def noisy(task: str, level: int) -> Restore:
    """Return the noisy input (clipped to 8 bits when it is saved)."""
    return _unchanged


@method("jpeg", tasks=["jpeg"], title="JPEG", on="array")
def jpeg(task: str, level: int) -> Restore:
    """Return the decoded JPEG."""
    return _unchanged


@method("mosaiced", tasks=["demosaic"], title="Mosaiced", on="array")
def mosaiced(task: str, level: int) -> Restore:
    """Return the mosaic as a three-channel image with zeros where a sample is missing."""
    return _unchanged


@method("blurry", tasks=["deblur"], title="Blurry", on="array")
def blurry(task: str, level: int) -> Restore:
    """Return the blurry input."""
    return _unchanged


@method("rainy", tasks=["derain"], title="Rainy", on="array")
def rainy(task: str, level: int) -> Restore:
    """Return the rainy input."""
    return _unchanged


@method("bicubic", tasks=["sr"], title="Bicubic", on="array")
def bicubic(task: str, level: int) -> Restore:
    """Enlarge with MATLAB's bicubic `imresize`."""
    from harness.degradations import imresize

    def enlarge(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return imresize(array, float(level), border="symmetric")

    return enlarge


@method("bicubic-luma", tasks=["sr"], title="Bicubic (luma)", paper="Kim et al., CVPR 2016", on="array")
def bicubic_luma(task: str, level: int) -> Restore:
    """Enlarge a luma image and clip it to luma's own range, 16..235, as the programs of VDSR and DRCN do.

    The Bicubic rows of super-resolution tables descend from there: without the clip Set14 misses five of six numbers.
    """
    from harness.degradations import imresize
    from harness.metrics.luminance import STUDIO_RANGE

    low, high = (limit / 255 for limit in STUDIO_RANGE)

    def enlarge(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.clip(imresize(array, float(level), border="symmetric"), low, high)

    return enlarge
