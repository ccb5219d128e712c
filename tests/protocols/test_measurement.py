from __future__ import annotations

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness import metrics
from harness.errors import HarnessError
from harness.protocols import LUMAS, METRICS, measure_many, protocol, protocol_grid

# Floats are in units of 0..255 here; for bytes it is no news.
luma, psnr, ssim = (functools.partial(of, data_range=255) for of in (metrics.luma, metrics.psnr, metrics.ssim))

# Version and value on the images of `pair`, at scale 2.
PINNED = {
    "psnr": ("psnr.1", 7.642212988625),
    "psnr-crop": ("psnr.1-crop.1", 7.6296027253441),
    "psnr-crop+6": ("psnr.1-crop+6.1", 7.5079797127776),
    "psnr-crop6": ("psnr.1-crop6.1", 7.5646073985073),
    "psnr-y": ("psnr.1-y.1", 11.797061123414),
    "psnr-y8": ("psnr.1-y8.1", 11.7971500479546),
    "psnr-yfull": ("psnr.1-yfull.1", 10.4750402641615),
    "psnr-yfull8": ("psnr.1-yfull8.1", 10.4703981060837),
    "psnr-yiq": ("psnr.1-yiq.1", 10.4751398115373),
    "psnr-yiq8": ("psnr.1-yiq8.1", 10.4703798433845),
    "ssim-8x8": ("ssim-8x8.1", 0.329670344973),
    "ssim-downsampled": ("ssim-downsampled.1", 0.3674260600973),
    "ssim-gauss": ("ssim-gauss.1", 0.3674260600973),
    "ssim-gauss-sample": ("ssim-gauss-sample.1", 0.3673269624333),
    "ssim-skimage": ("ssim-skimage.1", 0.3562185011443),
    "ssim-skimage-range2": ("ssim-skimage-range2.1", 0.382102135972),
    "ssim-toolbox": ("ssim-toolbox.1", 0.3734477142768),
    "ssim-volume": ("ssim-volume.1", 0.2009735943808),
}


@pytest.fixture(scope="module")
def pair(synthetic):
    reference = synthetic(72, 90)
    restored = np.clip(reference.astype(int) + (synthetic(90, 72).swapaxes(0, 1) // 8 - 12), 0, 255).astype(np.uint8)
    return reference, restored


def test_the_parts_of_a_name_do_what_they_say(pair) -> None:
    x, y = pair
    assert protocol("psnr").measure(x, y) == psnr(x, y)
    assert protocol("ssim-8x8").measure(x, y) == ssim(x, y, "8x8")
    cut = np.s_[3:-3, 3:-3]
    assert protocol("psnr-y-crop").measure(x, y, 3) == psnr(luma(x)[cut], luma(y)[cut])
    assert protocol("ssim-gauss-y8-crop").measure(x, y, 3) == ssim(luma(x, "uint8")[cut], luma(y, "uint8")[cut])
    cut = np.s_[9:-9, 9:-9]
    full = luma(x, "none", "full")[cut], luma(y, "none", "full")[cut]
    assert protocol("psnr-yfull-crop+6").measure(x, y, 3) == psnr(*full)
    assert protocol("psnr-yiq8-crop6").measure(x, y, 3) == psnr(
        luma(x, "uint8", "yiq")[6:-6, 6:-6], luma(y, "uint8", "yiq")[6:-6, 6:-6]
    )


def test_many_at_once_equal_one_by_one(pair) -> None:
    grid = protocol_grid(crops=("", "crop", "crop+6", "crop6"), aggregations=("", "pooled"))
    found = measure_many(grid, *pair, scale=2)
    assert list(found) == [item.name for item in grid]
    assert found == {item.name: item.measure(*pair, scale=2) for item in grid}
    assert measure_many([item.name for item in grid], *pair, scale=2) == found


def test_the_same_protocol_twice_is_measured_once(pair) -> None:
    assert list(measure_many(["psnr", "ssim-gauss", "psnr"], *pair)) == ["psnr", "ssim-gauss"]


def test_values_are_pinned_at_these_versions(pair) -> None:
    # When this fails on purpose, raise the version of the part and note it in docs/protocols.md, "Changes".
    names = [*METRICS, *(f"psnr-{luma}" for luma in LUMAS if luma), "psnr-crop", "psnr-crop+6", "psnr-crop6"]
    found = measure_many(names, *pair, scale=2)
    versions = {name: protocol(name).version for name in names}
    assert versions == {name: version for name, (version, _) in PINNED.items()}
    for name, (_, value) in PINNED.items():
        assert found[name] == pytest.approx(value, abs=1e-11), name


@settings(max_examples=25)
@given(st.integers(12, 30), st.integers(12, 30), st.integers(1, 4))
def test_cropping_by_protocol_is_cropping_by_hand(height: int, width: int, scale: int) -> None:
    rng = np.random.default_rng(height * 100 + width)
    x, y = rng.integers(0, 256, (2, height, width)).astype(np.uint8)
    cut = np.s_[scale : height - scale, scale : width - scale]
    assert protocol("psnr-crop").measure(x, y, scale) == protocol("psnr").measure(x[cut], y[cut])


def test_gray_images_are_their_own_luma(pair) -> None:
    x, y = (luma(image, "uint8") for image in pair)
    names = ["psnr", "psnr-y", "psnr-y8", "psnr-yfull", "psnr-yiq8"]
    assert len(set(measure_many(names, x, y).values())) == 1
    assert protocol("psnr").measure(x, y) == protocol("psnr-y8").measure(*pair)


def test_a_restored_luma_is_compared_with_the_luma_of_an_rgb_reference(pair) -> None:
    x, y = pair
    restored = luma(y, "uint8")
    assert protocol("psnr-y8").measure(x, restored) == psnr(luma(x, "uint8"), restored)
    assert protocol("psnr-y").measure(x, restored) == psnr(luma(x), restored)
    assert protocol("psnr-y").measure(x, luma(y)) == protocol("psnr-y").measure(x, y)


def test_a_gray_reference_is_rgb_where_the_restored_image_is(pair, synthetic) -> None:
    gray, restored = synthetic(72, 90, 1), pair[1]
    as_rgb = np.stack([gray] * 3, axis=2)
    assert protocol("psnr-y").measure(gray, restored) == protocol("psnr-y").measure(as_rgb, restored)


@pytest.mark.parametrize("name", ["psnr", "ssim-gauss-crop"])
def test_channels_that_do_not_go_together_are_named(name: str, pair, synthetic) -> None:
    with pytest.raises(HarnessError, match=f"one channel and the reference three.*'{name}' compares all channels"):
        protocol(name).measure(pair[0], pair[1][:, :, 0])
    with pytest.raises(HarnessError, match="three channels and the reference one"):
        protocol(name).measure(pair[0][:, :, 0], pair[1])


def test_sizes_that_differ_are_named(pair) -> None:
    x, y = pair
    with pytest.raises(HarnessError, match="restored image is 90x71 pixels, the reference 90x72"):
        protocol("psnr").measure(x, y[:-1])
    with pytest.raises(HarnessError, match="crop the reference to a multiple of 4 first"):
        protocol("psnr-y-crop").measure(x[:, :-1], y[:, :88], 4)


@pytest.mark.parametrize("scale", [0, 1.5, True])
def test_bad_scales_are_refused(scale, pair) -> None:
    with pytest.raises(HarnessError, match="scale"):
        protocol("psnr").measure(*pair, scale=scale)


def test_other_bad_input_is_named(pair) -> None:
    x, y = pair
    with pytest.raises(HarnessError, match="restored image holds NaN"):
        protocol("psnr-y").measure(x, np.full(x.shape, np.nan))
    with pytest.raises(HarnessError, match="restored image has dtype float32"):
        protocol("psnr-y").measure(x, y.astype(np.float32))
    with pytest.raises(HarnessError, match="40 pixels leaves nothing"):
        protocol("psnr-crop").measure(x, y, 40)
    with pytest.raises(HarnessError, match="after a border of 32"):
        protocol("ssim-gauss-crop").measure(x, y, 32)
