from __future__ import annotations

import numpy as np
import pytest

from harness.degradations import rgb2gray, rgb2ycbcr
from harness.errors import HarnessError
from harness.images import pixels_sha256
from harness.metrics import luma

# MATLAB's matrix for rgb2ycbcr, in units of 0..255 (ITU-R BT.601).
MATRIX = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
OFFSET = np.array([16, 128, 128])

PINNED = [
    "2c53c2276b3d5625b651d8995cc7c07ff0dbe792beb8cdd24cecb09d19a4cd9d",
    "c75e413ddeb270fd211d696006b5fef1b42dd8d4adb2933cc3800ee6ba6ad588",
]


def every_seventh_colour() -> np.ndarray:
    steps = np.arange(0, 256, 7)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), -1).reshape(37 * 37, 37, 3).astype(np.uint8)


def test_rgb2gray_weights_are_the_first_row_of_the_inverse_of_the_yiq_matrix() -> None:
    yiq = np.linalg.inv([[1, 0.956, 0.621], [1, -0.272, -0.647], [1, -1.106, 1.703]])
    np.testing.assert_allclose(yiq[0], [0.298936021293775, 0.587043074451121, 0.114020904255103], atol=1e-15)
    image = every_seventh_colour()
    np.testing.assert_allclose(rgb2gray(image.astype(float)), image @ yiq[0], atol=1e-12)
    np.testing.assert_array_equal(rgb2gray(image), np.floor(image @ yiq[0] + 0.5))


def test_gray_stays_what_it_is(synthetic) -> None:
    for value in (0, 1, 127, 255):
        np.testing.assert_array_equal(rgb2gray(np.full((2, 2, 3), value, np.uint8)), np.full((2, 2), value))
    image = synthetic(5, 6, 1)
    assert rgb2gray(image) is image


def test_rgb2ycbcr_is_matlab_s() -> None:
    image = every_seventh_colour()
    exact = image @ MATRIX.T + OFFSET
    np.testing.assert_allclose(rgb2ycbcr(image.astype(float)), exact, atol=1e-12)
    bytes_ = rgb2ycbcr(image)
    assert bytes_.dtype == np.uint8
    unsure = abs(exact % 1 - 0.5) < 1e-9
    np.testing.assert_array_equal(bytes_[~unsure], np.floor(exact + 0.5)[~unsure])


def test_the_corners_of_the_colour_cube() -> None:
    corners = np.array([[[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]], np.uint8)
    expected = [[16, 128, 128], [235, 128, 128], [81, 90, 240], [145, 54, 34], [41, 240, 110]]
    np.testing.assert_array_equal(rgb2ycbcr(corners)[0], expected)


def test_luma_is_the_first_plane(synthetic) -> None:
    image = synthetic()
    np.testing.assert_array_equal(rgb2ycbcr(image)[:, :, 0], luma(image, "uint8"))
    np.testing.assert_array_equal(rgb2ycbcr(image.astype(float))[:, :, 0], luma(image))


def test_pixels_are_pinned(synthetic) -> None:
    assert [pixels_sha256(rgb2gray(synthetic())), pixels_sha256(rgb2ycbcr(synthetic()))] == PINNED


def test_rgb2ycbcr_of_gray_is_refused(synthetic) -> None:
    with pytest.raises(HarnessError, match="RGB image"):
        rgb2ycbcr(synthetic(4, 4, 1))
