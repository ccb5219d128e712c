"""BM3D and CBM3D, by the package `bm3d` of the authors' group."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.methods import method
from harness.methods.thin import Restore, on_thin_images

LEAST_SIDE = 9  # one more than the package's blocks: it crashes, with the whole process, on an image of a single block
LEAST_SIGMA = 0.1 / 255  # below a tenth of a gray level there is nothing to remove, and the package divides by sigma


def _profile() -> Any:
    """Make the package's default profile on one thread: more of them add in an order that changes the last digits."""
    from bm3d import BM3DProfile

    profile = BM3DProfile()
    profile.num_threads = 1
    return profile


@method("bm3d", tasks=["denoise-gray"], title="BM3D", paper="Dabov et al., IEEE TIP 2007", on="array", extra="bm3d")
def bm3d(task: str, level: int) -> Restore:
    """Denoise a gray image, told sigma; the package's default profile, which has both stages."""
    from bm3d import bm3d as denoise

    def restore(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(denoise(image, level / 255, _profile()), dtype=np.float64).reshape(image.shape)

    return on_thin_images(restore, LEAST_SIDE)


@method("cbm3d", tasks=["denoise-rgb"], title="CBM3D", paper="Dabov et al., ICIP 2007", on="array", extra="bm3d")
def cbm3d(task: str, level: int) -> Restore:
    """Denoise a colour image in the opponent space, blocks matched on luminance; told sigma."""
    from bm3d import bm3d_rgb as denoise

    def restore(image: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(denoise(image, level / 255, _profile()), dtype=np.float64)

    return on_thin_images(restore, LEAST_SIDE)


@method(
    "cbm3d-estimated",
    tasks=["denoise-real"],
    title="CBM3D (estimated sigma)",
    paper="Dabov et al., ICIP 2007",
    on="array",
    extra="bm3d",
)
def cbm3d_estimated(task: str, level: int) -> Restore:
    """Denoise a photograph whose noise level nobody tells: sigma is estimated on each image.

    By the median of its finest wavelet coefficients (Donoho and Johnstone 1994, as scikit-image has it), the mean over
    the channels. Real noise is neither white nor independent of brightness, so this is a floor and no more. A gray
    image is denoised as such.
    """
    from bm3d import bm3d, bm3d_rgb
    from skimage.restoration import estimate_sigma

    def restore(image: NDArray[np.float64]) -> NDArray[np.float64]:
        gray = image.ndim == 2
        sigma = float(np.mean(estimate_sigma(image, channel_axis=None if gray else -1)))
        if not sigma > LEAST_SIGMA:
            return image
        denoise = bm3d if gray else bm3d_rgb
        return np.asarray(denoise(image, sigma, _profile()), dtype=np.float64).reshape(image.shape)

    return on_thin_images(restore, LEAST_SIDE)
