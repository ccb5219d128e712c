from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from harness.degradations import imresize, modcrop
from harness.errors import HarnessError
from harness.images import pixels_sha256

SIDES = st.integers(1, 24)
IMAGES = arrays(np.uint8, st.tuples(SIDES, SIDES))
BORDERS = st.sampled_from(["symmetric", "replicate"])
SCALES = st.sampled_from([1 / 4, 1 / 3, 1 / 2, 0.7, 1, 1.5, 2, 3, 4])

PINNED = {
    "replicate": [
        "22a3d8aa856ba870a69a64503fd269700a1aae4536c4fa1703f0a96d0cfe1efb",
        "7d9f8efeb104658b806cdb314783e72feadb2584f07734f0f4e4f7e0933a0ef2",
        "6f59d6fa709db99937a562a4d5178fac81ff242f4cdf0bac344f3707c42a3947",
        "a5e10d619e8f14c9be82703e17f98cad0a6af79d1aec360c21934594744bb040",
        "553a489ff2a2bcd7ead7e2d8208b7d9821a6ab1f23629c0f5844bf44905179f2",
    ],
    "symmetric": [
        "8e27cb947639a68ef9d861f6a27b342a6b912a3852ebf5e169fe034e383c12f5",
        "8e8fc6dc14ff31fdb773ddf6aae64fbdf782c5ce3cef4a3dcc5ce0e508ce916a",
        "3d6618dd7eb77e46570ae16ffc1ec55b8e2d8b2b50f82b59fce5fa5cd3f81643",
        "85b8274fde4b6ec648adc865f275ddb2c7fdd050ad705dc317c2430768bcc6b8",
        "a13668ac798c6f393a0c5ed475214115b7ecd344ef01d2cde481e676e9c624a5",
    ],
}


def matrix(length: int, scale: float, border: str) -> NDArray[np.float64]:
    """MATLAB's weights as a dense matrix, written down tap by tap."""
    out = math.ceil(length * scale)
    weights = np.zeros((out, length))
    stretch = min(scale, 1)
    for i in range(out):
        centre = (i + 1) / scale + 0.5 * (1 - 1 / scale)
        for tap in range(math.floor(centre - 20), math.ceil(centre + 20)):
            x = abs(stretch * (centre - tap))
            value = 1.5 * x**3 - 2.5 * x**2 + 1 if x <= 1 else -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0
            if border == "replicate":
                position = min(max(tap, 1), length)
            else:
                position = (tap - 1) % (2 * length) + 1
                position = position if position <= length else 2 * length + 1 - position
            weights[i, position - 1] += value
    return weights / weights.sum(1, keepdims=True)


@given(IMAGES, SCALES, BORDERS)
def test_float_equals_the_dense_matrices(image, scale: float, border: str) -> None:
    rows, columns = (matrix(n, scale, border) for n in image.shape)
    expected = rows @ image.astype(float) @ columns.T
    np.testing.assert_allclose(imresize(image.astype(float), scale, border=border), expected, atol=1e-10)


@given(IMAGES, SCALES, BORDERS)
def test_uint8_is_rounded_after_each_axis(image, scale: float, border: str) -> None:
    def to_bytes(x):
        return np.clip(np.floor(x + 0.5), 0, 255)

    rows, columns = (matrix(n, scale, border) for n in image.shape)
    between = rows @ image.astype(float)
    expected = to_bytes(to_bytes(between) @ columns.T)
    made = imresize(image, scale, border=border)
    assert made.dtype == np.uint8
    # A dense matrix adds in another order: only an exact half may fall the other way.
    half = [(abs(x % 1 - 0.5) < 1e-9).any() for x in (between, to_bytes(between) @ columns.T)]
    assert abs(made.astype(int) - expected).max() <= (2 if any(half) else 0)


@given(st.integers(0, 255), SIDES, SIDES, SCALES, BORDERS, st.booleans())
def test_a_constant_image_stays_constant(value, height, width, scale, border, antialias) -> None:
    made = imresize(np.full((height, width, 3), value, np.uint8), scale, border=border, antialias=antialias)
    assert made.shape == (math.ceil(height * scale), math.ceil(width * scale), 3)
    assert (made == value).all()


@given(IMAGES, SCALES, BORDERS)
def test_channels_are_resized_one_by_one(image, scale: float, border: str) -> None:
    colour = np.stack([image, 255 - image, image // 2], axis=-1)
    made = imresize(colour, scale, border=border)
    for channel in range(3):
        np.testing.assert_array_equal(made[:, :, channel], imresize(colour[:, :, channel], scale, border=border))


@given(IMAGES, SCALES, BORDERS)
def test_float_images_can_be_transposed(image, scale: float, border: str) -> None:
    image = image.astype(float)
    np.testing.assert_allclose(
        imresize(image.T, scale, border=border).T, imresize(image, scale, border=border), atol=1e-10
    )


@given(IMAGES)
def test_scale_one_changes_nothing(image) -> None:
    np.testing.assert_array_equal(imresize(image, 1), image)
    np.testing.assert_array_equal(imresize(image, size=image.shape), image)


def test_float64_is_never_clipped() -> None:
    step = np.zeros((12, 12))
    step[:, 6:] = 255
    made = imresize(step, 2)
    assert made.dtype == np.float64
    assert made.min() < 0
    assert made.max() > 255


def test_a_reduced_multiple_of_the_scale_has_the_exact_size() -> None:
    for scale in range(2, 9):
        for n in range(1, 4000):
            assert math.ceil(n * scale * (1 / scale)) == n


def test_size_gives_each_axis_its_scale(synthetic) -> None:
    image = synthetic(20, 31, 1).astype(float)
    made = imresize(image, size=(10, 62))
    np.testing.assert_allclose(made, matrix(20, 0.5, "symmetric") @ image @ matrix(31, 2, "symmetric").T, atol=1e-10)
    # MATLAB begins with the axis that shrinks more: on 8-bit images the order shows.
    bytes_ = synthetic(20, 31, 1)
    rows_first = imresize(imresize(bytes_, size=(10, 31)), size=(10, 62))
    np.testing.assert_array_equal(imresize(bytes_, size=(10, 62)), rows_first)
    columns_first = imresize(imresize(bytes_, size=(20, 15)), size=(40, 15))
    np.testing.assert_array_equal(imresize(bytes_, size=(40, 15)), columns_first)


def test_without_antialiasing_only_four_neighbours_count() -> None:
    image = np.zeros((16, 16))
    image[:, 5] = 1
    expected = np.zeros((4, 4))
    expected[:, 1] = 0.5625
    np.testing.assert_allclose(imresize(image, 1 / 4, antialias=False), expected, atol=1e-15)
    assert (imresize(image, 1 / 4) != 0).sum(axis=1).tolist() == [3] * 4


def test_bilinear_halving_is_matlab_s_triangle() -> None:
    row = np.array([[0.0, 0, 0, 8, 0, 0, 0, 0]])
    np.testing.assert_allclose(imresize(row, size=(1, 4), method="bilinear"), [[0, 3, 1, 0]])


@pytest.mark.parametrize("border", ["symmetric", "replicate"])
def test_pixels_are_pinned(border: str, synthetic) -> None:
    digests = [pixels_sha256(imresize(synthetic(), scale, border=border)) for scale in (1 / 2, 1 / 3, 1 / 4, 2)]
    digests.append(pixels_sha256(imresize(synthetic(60, 61, 1).astype(float), 1 / 3, border=border)))
    assert digests == PINNED[border]


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 8))
def test_modcrop_keeps_the_top_left(height: int, width: int, scale: int) -> None:
    image = np.arange(height * width, dtype=np.int64).reshape(height, width)
    if min(height, width) < scale:
        with pytest.raises(HarnessError, match="too small"):
            modcrop(image, scale)
        return
    cropped = modcrop(image, scale)
    assert cropped.shape == (height - height % scale, width - width % scale)
    np.testing.assert_array_equal(cropped, image[: cropped.shape[0], : cropped.shape[1]])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "either a scale or an output size"),
        ({"scale": 2, "size": (3, 3)}, "not both"),
        ({"scale": 0}, "positive scale"),
        ({"scale": float("nan")}, "positive scale"),
        ({"size": (0, 3)}, "3x0"),
        ({"scale": 2, "border": "replicat"}, "'replicate'"),
        ({"scale": 2, "method": "cubic"}, "'bicubic'"),
    ],
)
def test_errors_say_what_to_do(arguments, says: str, synthetic) -> None:
    with pytest.raises(HarnessError, match=says):
        imresize(synthetic(6, 6), **arguments)


@pytest.mark.parametrize("scale", [0, -2, 1.5])
def test_modcrop_refuses_a_scale_that_is_no_scale(scale, synthetic) -> None:
    with pytest.raises(HarnessError, match="scale"):
        modcrop(synthetic(6, 6), scale)
