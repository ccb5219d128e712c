"""RealBlur's protocol: what alignment takes out, what it leaves, and the owners' program line by line."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.errors import HarnessError, NotAvailableError
from harness.metrics.alignment import align, aligned_psnr, aligned_ssim
from harness.protocols import ALIGNED, Protocol, measure_many, protocol

cv2 = pytest.importorskip("cv2", reason="the extra 'alignment' is not installed")

HOMOGRAPHY = np.array([[1.002, 0.003, 2.3], [-0.002, 0.999, -1.7], [1e-6, -1e-6, 1]])


@pytest.fixture(scope="module")
def pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    from skimage.data import chelsea

    sharp = chelsea()[:160, :200]
    moved = cv2.warpPerspective(chelsea(), HOMOGRAPHY, (451, 300), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    return sharp, (0.9 * moved[:160, :200]).astype(np.uint8)


def owners_program(gt: NDArray[np.uint8], image: NDArray[np.uint8]) -> tuple[float, float]:
    """The steps of evaluation_RealBlur_ecc.py, written down once more and apart from the code they test."""
    from skimage.metrics import structural_similarity

    x, z = gt.astype("float32") / 255, image.astype("float32") / 255
    scaled = (np.sum(x * z) / np.sum(z * z)) * z
    to_gray = lambda a: cv2.cvtColor(a.astype("float32"), cv2.COLOR_RGB2GRAY)  # noqa: E731
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 100, 0)
    _, warp = cv2.findTransformECC(
        to_gray(x), to_gray(scaled), np.eye(3, dtype="float32"), cv2.MOTION_HOMOGRAPHY, stop, None, 5
    )
    where = (x.shape[1], x.shape[0])
    cubic, nearest = cv2.INTER_CUBIC + cv2.WARP_INVERSE_MAP, cv2.INTER_NEAREST + cv2.WARP_INVERSE_MAP
    seen = cv2.warpPerspective(np.ones_like(scaled), warp, where, flags=nearest, borderMode=cv2.BORDER_CONSTANT)
    y = cv2.warpPerspective(scaled, warp, where, flags=cubic, borderMode=cv2.BORDER_REFLECT) * seen
    x = x * seen
    decibel = 10 * np.log10(1 / (np.sum((x - y) ** 2, dtype=np.float64) / np.sum(seen)))
    _, full = structural_similarity(
        x.astype(float), y.astype(float), channel_axis=2, gaussian_weights=True, use_sample_covariance=False,
        data_range=1.0, full=True,
    )  # fmt: skip
    inner, mask = (full * seen)[5:-5, 5:-5], seen[5:-5, 5:-5]
    return float(decibel), float(np.mean(inner.sum((0, 1)) / mask.sum((0, 1))))


def test_it_is_the_owners_program(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    found = measure_many(["psnr-aligned", "ssim-aligned", "psnr"], *pair)
    decibel, similarity = owners_program(*pair)
    assert found["psnr-aligned"] == pytest.approx(decibel, abs=1e-4)
    assert found["ssim-aligned"] == pytest.approx(similarity, abs=1e-6)
    assert found["psnr-aligned"] > found["psnr"] + 8


def test_the_homography_is_found(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    aligned = align(*pair)
    corners = np.array([[0, 0, 1], [199, 0, 1], [0, 159, 1], [199, 159, 1]]).T
    apart = (aligned.homography @ corners) / (aligned.homography @ corners)[2] - (HOMOGRAPHY @ corners) / (
        HOMOGRAPHY @ corners
    )[2]
    assert np.abs(apart).max() < 0.3
    assert 0.9 < aligned.mask.mean() < 1
    assert not aligned.reference[aligned.mask == 0].any()


def test_equal_images(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    aligned = align(pair[0], pair[0])
    assert aligned_psnr(aligned) > 90 and aligned_ssim(aligned) == pytest.approx(1, abs=1e-9)
    gray = pair[0][:, :, 0]
    assert aligned_psnr(align(gray, gray)) > 90


def test_what_cannot_be_aligned(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]]) -> None:
    with pytest.raises(HarnessError, match="a black image cannot be aligned"):
        align(pair[0], np.zeros_like(pair[0]))
    with pytest.raises(HarnessError, match="cannot be aligned with its ground truth"):
        align(pair[0], np.full_like(pair[0], 128))
    with pytest.raises(HarnessError):
        align(pair[0], pair[1][:50])


def test_without_opencv(pair: tuple[NDArray[np.uint8], NDArray[np.uint8]], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(NotAvailableError, match=r"pip install 'restoration-harness\[alignment\]'"):
        align(*pair)


@pytest.mark.parametrize("name", ALIGNED)
def test_names(name: str) -> None:
    made = protocol(name)
    assert (made.name, made.version, made.unit) == (name, f"{name}.1", "dB" if name.startswith("psnr") else "")
    assert "homography" in made.describe()
    for words in ("y", "crop", "pooled"):
        with pytest.raises(HarnessError):
            protocol(f"{name}-{words}")
    with pytest.raises(HarnessError, match="take neither a luma nor a border"):
        Protocol(name, luma="y")
