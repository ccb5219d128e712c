"""PSNR and SSIM after a homography is taken out: the protocol of RealBlur (Rim et al., ECCV 2020).

The blurred and the sharp photograph of a pair come from two cameras and two exposure times. The set's owners therefore
match a restored image to the ground truth in brightness and by a homography before they measure it, and leave out what
then lies outside. The steps are those of their program ``evaluation_RealBlur_ecc.py``; OpenCV does the alignment, as
there (enhanced correlation coefficient: Evangelidis and Psarakis, TPAMI 2008).
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError, Missing, NotAvailableError
from harness.metrics.checks import check_pair
from harness.metrics.signal_noise import PEAK, psnr_of_mse

# The owners' program: 100 iterations whatever the progress, both images smoothed by a 5x5 Gaussian for the search.
ITERATIONS = 100
SMOOTHING = 5

# The window of the SSIM is 11x11 (sigma 1.5, cut at 3.5 sigma): the owners leave out its reach at the border.
REACH = 5


class Aligned(msgspec.Struct, frozen=True):
    """A ground truth and a restored image after alignment.

    Attributes
    ----------
    reference, restored : ndarray
        ``(H, W, C) float32`` in [0, 1]; 0 outside the part that both show.
    mask : ndarray
        ``(H, W, C) float32``: 1 inside that part, 0 outside.
    homography : ndarray
        ``(3, 3)``: where a pixel of the ground truth lies in the restored image.
    gain : float
        By which the restored image was multiplied.
    """

    reference: NDArray[np.float32]
    restored: NDArray[np.float32]
    mask: NDArray[np.float32]
    homography: NDArray[np.float32]
    gain: float


def align(reference: NDArray[Any], restored: NDArray[Any]) -> Aligned:
    """Match a restored image to its ground truth in brightness and by a homography.

    Parameters
    ----------
    reference, restored : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255, of one shape.

    Raises
    ------
    NotAvailableError
        OpenCV is not installed.
    InvalidArgumentError
        The shapes differ, or the two images have so little in common that no homography is found.
    """
    check_pair(reference, restored)
    try:
        import cv2
    except ImportError:
        raise NotAvailableError(
            "the package 'cv2' is not installed, and RealBlur is measured after an alignment by it; "
            "pip install 'restoration-harness[alignment]'",
            Missing("package", "cv2"),
        ) from None
    x, z = (_unit(image) for image in (reference, restored))
    energy = float(np.sum(z * z))
    if not energy:
        raise InvalidArgumentError("a black image cannot be aligned with its ground truth; look at what was restored")
    # The brightness that fits best in the least squares sense.
    gain = float(np.sum(x * z) / np.sum(z * z))
    z = (np.float32(gain) * z).astype(np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, ITERATIONS, 0)
    start = np.eye(3, 3, dtype=np.float32)
    gray = [image if image.shape[2] == 1 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (x, z)]
    find: Any = cv2.findTransformECC
    try:
        _, matrix = find(gray[0], gray[1], start, cv2.MOTION_HOMOGRAPHY, criteria, None, SMOOTHING)
    except cv2.error as error:
        reason = "too little in common" if all(np.ptp(image) for image in gray) else "no contrast"
        raise InvalidArgumentError(
            f"the image cannot be aligned with its ground truth ({reason}); look at what was restored"
        ) from error
    size = (x.shape[1], x.shape[0])
    inverse = cv2.WARP_INVERSE_MAP
    moved = cv2.warpPerspective(z, matrix, size, flags=cv2.INTER_CUBIC + inverse, borderMode=cv2.BORDER_REFLECT)
    mask = cv2.warpPerspective(
        np.ones_like(z), matrix, size, flags=cv2.INTER_NEAREST + inverse, borderMode=cv2.BORDER_CONSTANT, borderValue=0
    )
    moved, mask = (plane.reshape(x.shape).astype(np.float32) for plane in (moved, mask))
    return Aligned(x * mask, moved * mask, mask, np.asarray(matrix, dtype=np.float32), gain)


def aligned_psnr(pair: Aligned) -> float:
    """PSNR in dB over the part that both images show."""
    inside = float(np.sum(pair.mask, dtype=np.float64))
    error = float(np.sum((pair.reference - pair.restored) ** 2, dtype=np.float64)) / inside
    return psnr_of_mse(error * PEAK**2)


def aligned_ssim(pair: Aligned) -> float:
    """SSIM (11x11 Gaussian window of sigma 1.5) over the part that both images show, the mean of the channels."""
    from skimage import metrics

    structural_similarity: Any = metrics.structural_similarity
    if min(pair.mask.shape[:2]) <= 2 * REACH:
        raise InvalidArgumentError(
            f"an image of {pair.mask.shape[1]}x{pair.mask.shape[0]} pixels is too small for SSIM"
        )
    # The owners' version of scikit-image computes in double precision, as this does for double input.
    _, similarity = structural_similarity(
        pair.reference.astype(np.float64),
        pair.restored.astype(np.float64),
        channel_axis=2,
        gaussian_weights=True,
        use_sample_covariance=False,
        data_range=1.0,
        full=True,
    )
    inner = (slice(REACH, -REACH), slice(REACH, -REACH))
    mask = pair.mask[inner].astype(np.float64)
    weighted = (similarity[inner] * mask).sum(axis=(0, 1)) / mask.sum(axis=(0, 1))
    return float(np.mean(weighted))


def _unit(image: NDArray[Any]) -> NDArray[np.float32]:
    plane = image[:, :, None] if image.ndim == 2 else image
    return (plane.astype(np.float32) / np.float32(PEAK)).astype(np.float32)
