"""Classical demosaicing of the GRBG mosaic, by the package `colour-demosaicing`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.methods import method
from harness.methods.thin import Restore

PATTERN = "GRBG"  # rows G R G R, B G B G: the degradation bayer-grbg
MARGIN = 8  # more than the reach of any of the three; even, so that the pattern begins as it does in the image


@method("bilinear", tasks=["demosaic"], title="Bilinear", on="array", extra="demosaicing")
def bilinear(task: str, level: int) -> Restore:
    """Interpolate each colour by itself."""
    from colour_demosaicing import demosaicing_CFA_Bayer_bilinear as demosaic

    return _framed(demosaic)


@method(
    "malvar", tasks=["demosaic"], title="Malvar", paper="Malvar et al., ICASSP 2004", on="array", extra="demosaicing"
)
def malvar(task: str, level: int) -> Restore:
    """Interpolate linearly with gradients of the other colours (Malvar, He, Cutler)."""
    from colour_demosaicing import demosaicing_CFA_Bayer_Malvar2004 as demosaic

    return _framed(demosaic)


@method(
    "menon", tasks=["demosaic"], title="Menon", paper="Menon et al., IEEE TIP 2007", on="array", extra="demosaicing"
)
def menon(task: str, level: int) -> Restore:
    """Interpolate along the direction of least change, then refine (Menon, Andriani, Calvagno)."""
    from colour_demosaicing import demosaicing_CFA_Bayer_Menon2007 as demosaic

    return _framed(demosaic)


def _framed(demosaic: Callable[..., Any]) -> Restore:
    """Mirror the mosaic around its outermost samples, demosaic, and cut the frame off.

    The package mirrors with the outermost samples repeated, which breaks the pattern there: its bilinear result is up
    to half as bright again in the first and last rows and columns.
    """

    def restore(image: NDArray[np.float64]) -> NDArray[np.float64]:
        framed = np.pad(_samples(image), MARGIN, mode="reflect")
        return np.asarray(demosaic(framed, PATTERN), dtype=np.float64)[MARGIN:-MARGIN, MARGIN:-MARGIN]

    return restore


def _samples(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take from a three-channel mosaic the sample that each pixel has."""
    mosaic = image[:, :, 1].copy()
    mosaic[0::2, 1::2] = image[0::2, 1::2, 0]
    mosaic[1::2, 0::2] = image[1::2, 0::2, 2]
    return mosaic
