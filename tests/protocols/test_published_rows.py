"""Published rows that need no network, and an author's released images, to every printed digit."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.degradations import degradation, imresize, modcrop
from harness.images import read_image
from harness.metrics import STUDIO_RANGE, to_uint8
from harness.protocols import measure_many, protocol

Restore = Callable[[NDArray, int], NDArray]


def unchanged(low: NDArray, level: int) -> NDArray:
    return low


def enlarged(low: NDArray, scale: int, border: str = "symmetric", clip: bool = True) -> NDArray:
    high = imresize(low, scale, border=border)
    return to_uint8(np.clip(high, *STUDIO_RANGE) if clip else high)


def row(
    folder: Path,
    name: str,
    level: int,
    protocols: list[str],
    restore: Restore = unchanged,
) -> dict[str, float]:
    """Measure a method that needs no network over a set."""
    made = degradation(name)
    values: dict[str, list[float]] = {key: [] for key in protocols}
    files = sorted(file for file in folder.iterdir() if file.suffix in (".png", ".bmp", ".tif"))
    for file in files:
        reference = made.reference(read_image(file), level)
        restored = restore(made.degrade(reference, level), level)
        for key, value in measure_many(protocols, reference, restored, made.scale(level)).items():
            values[key].append(value)
    return {key: protocol(key).aggregate(found) for key, found in values.items()}


# PANet Table 3 and RNAN Table 5, JPEG row: PSNR and SSIM as printed, then SSIM-gauss as the networks' columns have it.
JPEG_ROW = {
    ("live1", 10): ("27.77", "0.7905", "0.77300"),
    ("live1", 20): ("30.07", "0.8683", "0.85123"),
    ("live1", 30): ("31.41", "0.9000", "0.88515"),
    ("live1", 40): ("32.35", "0.9173", "0.90412"),
    ("classic5", 10): ("27.82", "0.7800", "0.75952"),
    ("classic5", 20): ("30.12", "0.8541", "0.83440"),
    ("classic5", 30): ("31.48", "0.8844", "0.86663"),
    ("classic5", 40): ("32.43", "0.9011", "0.88494"),
}


@pytest.mark.parametrize(("dataset", "quality"), JPEG_ROW)
def test_jpeg_row(dataset: str, quality: int, mirror: Path) -> None:
    found = row(mirror / "datasets" / dataset, "jpeg-y8", quality, ["psnr", "ssim-8x8", "ssim-gauss"])
    printed = f"{found['psnr']:.2f}", f"{found['ssim-8x8']:.4f}", f"{found['ssim-gauss']:.5f}"
    assert printed == JPEG_ROW[dataset, quality]


def test_jpeg_of_another_luma_is_0_7_db_off(mirror: Path) -> None:
    folder = mirror / "datasets" / "live1"
    assert row(folder, "jpeg-rgb2gray", 10, ["psnr"])["psnr"] == pytest.approx(27.024, abs=1e-3)


# PANet Table 2 and RNAN Table 4, Mosaiced row (SSIM there has four digits).
MOSAICED_ROW = {"mcmaster18": ("9.168", "0.16742"), "kodak24": ("8.558", "0.06818"), "cbsd68": ("8.434", "0.08502")}


@pytest.mark.parametrize("dataset", MOSAICED_ROW)
def test_mosaiced_row(dataset: str, mirror: Path) -> None:
    found = row(mirror / "datasets" / dataset, "bayer-grbg", 0, ["psnr", "ssim-gauss"])
    assert (f"{found['psnr']:.3f}", f"{found['ssim-gauss']:.5f}") == MOSAICED_ROW[dataset]


# RNAN Table 6, PANet Table 5, CSNLN Table 1, Bicubic row.
BICUBIC_ROW = {
    ("set5", 2): ("33.66", "0.9299"),
    ("set5", 3): ("30.39", "0.8682"),
    ("set5", 4): ("28.42", "0.8104"),
    ("set14", 2): ("30.24", "0.8688"),
    ("set14", 3): ("27.55", "0.7742"),
    ("set14", 4): ("26.00", "0.7027"),
}
ON_RESTORED = ["psnr-y8-crop", "ssim-gauss-y8-crop"]


def bicubic(mirror: Path, dataset: str, scale: int, name: str, **how: object) -> tuple[str, str]:
    found = row(mirror / "datasets" / dataset, name, scale, ON_RESTORED, partial(enlarged, **how))
    return f"{found[ON_RESTORED[0]]:.2f}", f"{found[ON_RESTORED[1]]:.4f}"


@pytest.mark.parametrize(("dataset", "scale"), BICUBIC_ROW)
def test_bicubic_row(dataset: str, scale: int, mirror: Path) -> None:
    assert bicubic(mirror, dataset, scale, "bicubic-y8-float") == BICUBIC_ROW[dataset, scale]


@pytest.mark.parametrize(("dataset", "scale"), BICUBIC_ROW)
def test_bicubic_row_without_clipping_fits_set5_only(dataset: str, scale: int, mirror: Path) -> None:
    found = bicubic(mirror, dataset, scale, "bicubic-y8-float", clip=False)
    assert (found == BICUBIC_ROW[dataset, scale]) == (dataset == "set5")


def test_bicubic_row_with_repeated_border_misses_set14_x4(mirror: Path) -> None:
    assert bicubic(mirror, "set14", 4, "bicubic-y8-float-replicate", border="replicate") == ("26.01", "0.7027")


# RCAN's released images of Set5, published 38.27/0.9614, 34.74/0.9299, 32.63/0.9002.
RCAN = {2: ("38.274", "0.96144"), 3: ("34.742", "0.92989"), 4: ("32.634", "0.90024")}


@pytest.mark.parametrize("scale", RCAN)
def test_released_images_of_rcan(scale: int, mirror: Path) -> None:
    names = ["psnr-y-crop", "ssim-gauss-y-crop", "psnr-y8-crop", "psnr-yfull-crop"]
    values = []
    for file in sorted((mirror / "datasets" / "set5").iterdir()):
        restored = mirror / "released-images" / "rcan" / "set5" / f"x{scale}" / f"{file.stem.removesuffix('_GT')}.png"
        reference = modcrop(read_image(file), scale)
        values.append(measure_many(names, reference, read_image(restored), scale))
    found = {name: protocol(name).aggregate([value[name] for value in values]) for name in names}
    assert (f"{found['psnr-y-crop']:.3f}", f"{found['ssim-gauss-y-crop']:.5f}") == RCAN[scale]
    if scale == 2:
        assert f"{found['psnr-y8-crop']:.2f}" == "38.18"
    assert found["psnr-y-crop"] - found["psnr-yfull-crop"] == pytest.approx(1.32, abs=0.01)


# Wang et al., CVPR 2020 (RCDNet): the row Input of Rain100L.
def test_rainy_row(mirror: Path) -> None:
    folder = mirror / "datasets" / "rain100l"
    values: dict[str, list[float]] = {"psnr-y": [], "ssim-gauss-y": [], "psnr-y8": []}
    for file in sorted((folder / "target").iterdir()):
        found = measure_many(list(values), read_image(file), read_image(folder / "input" / file.name))
        for key, value in found.items():
            values[key].append(value)
    means = {key: protocol(key).aggregate(found) for key, found in values.items()}
    assert f"{means['psnr-y']:.2f}" == "26.90" and f"{means['ssim-gauss-y']:.4f}" == "0.8384"
    assert means["psnr-y8"] == pytest.approx(26.9001, abs=1e-4)
