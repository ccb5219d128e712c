"""Non-local means, by scikit-image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from harness.methods import method
from harness.methods.thin import Restore, on_thin_images

PATCH = 7  # side of the compared patches
REACH = 10  # greatest distance between them: a 21x21 window (Buades et al. 2005, section 5)
# Strength h of the fast algorithm in units of sigma: scikit-image's own advice ("h slightly less than sigma").
STRENGTH = 0.8


@method("nlm", tasks=["denoise-gray", "denoise-rgb"], title="NLM", paper="Buades et al., CVPR 2005", on="array")
def build(task: str, level: int) -> Restore:
    """Denoise, told sigma: the fast algorithm with 7x7 patches in a 21x21 window; colours are compared together."""
    from skimage.restoration import denoise_nl_means

    sigma = level / 255

    def restore(image: NDArray[np.float64]) -> NDArray[np.float64]:
        axis = -1 if image.ndim == 3 else None
        return np.asarray(
            denoise_nl_means(image, PATCH, REACH, h=STRENGTH * sigma, sigma=sigma, fast_mode=True, channel_axis=axis),
            dtype=np.float64,
        )

    return on_thin_images(restore, PATCH)
