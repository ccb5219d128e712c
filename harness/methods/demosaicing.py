"""Classical demosaicing of the GRBG mosaic, by the package `colour-demosaicing`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.methods import method
from harness.methods.thin import Restore, on_thin_images

PATTERN = "GRBG"  # rows G R G R, B G B G: the degradation bayer-grbg
SIDE = 8  # fewest rows and columns; the package cannot take a single one


@method("bilinear", tasks=["demosaic"], title="Bilinear", on="array", extra="demosaicing")
def bilinear(task: str, level: int) -> Restore:
    """Interpolate each colour by itself."""
    from colour_demosaicing import demosaicing_CFA_Bayer_bilinear as demosaic

    return on_thin_images(lambda image: np.asarray(demosaic(_samples(image), PATTERN), dtype=np.float64), SIDE)


@method(
    "malvar", tasks=["demosaic"], title="Malvar", paper="Malvar et al., ICASSP 2004", on="array", extra="demosaicing"
)
def malvar(task: str, level: int) -> Restore:
    """Interpolate linearly with gradients of the other colours (Malvar, He, Cutler)."""
    from colour_demosaicing import demosaicing_CFA_Bayer_Malvar2004 as demosaic

    return on_thin_images(lambda image: np.asarray(demosaic(_samples(image), PATTERN), dtype=np.float64), SIDE)


@method(
    "menon", tasks=["demosaic"], title="Menon", paper="Menon et al., IEEE TIP 2007", on="array", extra="demosaicing"
)
def menon(task: str, level: int) -> Restore:
    """Interpolate along the direction of least change, then refine (Menon, Andriani, Calvagno)."""
    from colour_demosaicing import demosaicing_CFA_Bayer_Menon2007 as demosaic

    return on_thin_images(lambda image: np.asarray(demosaic(_samples(image), PATTERN), dtype=np.float64), SIDE)


def _samples(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Take from a three-channel mosaic the sample that each pixel has."""
    mosaic = image[:, :, 1].copy()
    mosaic[0::2, 1::2] = image[0::2, 1::2, 0]
    mosaic[1::2, 0::2] = image[1::2, 0::2, 2]
    return mosaic
