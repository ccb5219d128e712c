from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.degradations.jpeg import jpeg
from harness.errors import HarnessError
from harness.images import pixels_sha256

PINNED_GRAY = {
    10: "de60874a0cebcda4aa511a383f74e08dfde2a4fd7a2d7a5c5528a6674aba1eba",
    20: "501cebc81dc4ac993f605cebaa34ddea29793f9b8384ce48b827efda56518061",
    30: "aa17d4f2e11a6934839144df64402190a59af82eba01e9186c60eba5a1aaf45c",
    40: "903b599e293df9eea4c0e4e9a6c0d45ec804c3d0030c1f3ac37173685fcd78d2",
}
PINNED_COLOUR = {
    10: "1cbca27c322b408d34656e6a3c1eca20b8a4ace04e31bc8771b3a84fb1746a91",
    20: "9bc2f81a529b66d6ea293baf6202787e7490f47607492cf7af71c42ac3fa44ca",
    30: "9c479216a1d36dd467c810d1a46f505a61675d52bb9d0f4e6582a9d9338da413",
    40: "815d269a790edddfac1381d109ba89795119c129493859caf55d740de8d7c6c2",
}


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3]), st.integers(1, 100))
def test_size_and_kind_are_preserved(height: int, width: int, channels: int, quality: int) -> None:
    shape = (height, width, 3) if channels == 3 else (height, width)
    image = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    decoded = jpeg(image, quality)
    assert decoded.shape == shape
    assert decoded.dtype == np.uint8


@pytest.mark.parametrize("quality", [10, 20, 30, 40])
def test_pixels_are_pinned(quality: int, synthetic) -> None:
    # Another libjpeg, or another of its transforms, would make other tables: it must be noticed here.
    assert pixels_sha256(jpeg(synthetic(97, 131, 1), quality)) == PINNED_GRAY[quality]
    assert pixels_sha256(jpeg(synthetic(97, 131), quality)) == PINNED_COLOUR[quality]


def test_higher_quality_means_less_error(synthetic) -> None:
    image = synthetic(64, 64, 1)
    errors = [np.mean((jpeg(image, quality) - image.astype(float)) ** 2) for quality in (10, 30, 60, 95)]
    assert errors == sorted(errors, reverse=True)


@pytest.mark.parametrize("quality", [0, 101, -1, 10.5, True])
def test_bad_quality_is_refused(quality, synthetic) -> None:
    with pytest.raises(HarnessError, match=r"1\.\.100"):
        jpeg(synthetic(8, 8, 1), quality)


def test_float_images_are_refused(synthetic) -> None:
    with pytest.raises(HarnessError, match="8-bit"):
        jpeg(synthetic(8, 8, 1).astype(float), 10)
