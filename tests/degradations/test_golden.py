"""MATLAB's own outputs, reproduced bit for bit.

The expected pixels are held as SHA-256 (golden_pixels.json), so the ground truth alone suffices; a second test holds
that these hashes are those of the released files.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from harness.degradations import degradation, modcrop, rgb2gray
from harness.images import pixels_sha256, read_image

EXPECTED: dict[str, str] = json.loads((Path(__file__).parent / "golden_pixels.json").read_text())
LR_FILES = [name for name in EXPECTED if name.startswith("set5-lr")]
JPEG_FILES = [name for name in EXPECTED if name.startswith("classic5")]


def test_every_golden_file_is_listed() -> None:
    assert (len(LR_FILES), len(JPEG_FILES), len(EXPECTED)) == (30, 5, 37)


def test_the_hashes_are_those_of_the_released_files(golden: Path) -> None:
    for name, expected in EXPECTED.items():
        assert pixels_sha256(read_image(golden / "matlab" / name)) == expected, name


@pytest.mark.parametrize("name", LR_FILES)
def test_bicubic_lr_of_set5(name: str, mirror: Path) -> None:
    folder, scale_folder, file = name.split("/")
    made = degradation("bicubic-" + folder.removeprefix("set5-lr-").removesuffix("-border"))
    scale = int(scale_folder.removeprefix("x"))
    truth = read_image(mirror / "datasets" / "set5" / file.replace(".png", "_GT.bmp"))
    reference = made.reference(truth, scale)
    np.testing.assert_array_equal(reference, modcrop(truth, scale))
    assert pixels_sha256(made.degrade(reference, scale)) == EXPECTED[name]


def test_the_two_border_rules_differ_at_the_border_only(mirror: Path) -> None:
    truth = read_image(mirror / "datasets" / "set5" / "butterfly_GT.bmp")
    lows = [degradation(name).degrade(truth, 2) for name in ("bicubic-replicate", "bicubic-symmetric")]
    assert (lows[0] != lows[1]).any()
    np.testing.assert_array_equal(lows[0][2:-2, 2:-2], lows[1][2:-2, 2:-2])


@pytest.mark.parametrize("name", JPEG_FILES)
def test_jpeg_quality_10_of_classic5(name: str, mirror: Path) -> None:
    truth = read_image(mirror / "datasets" / "classic5" / name.split("/")[1].replace(".png", ".bmp"))
    made = degradation("jpeg-y8")
    assert pixels_sha256(made.degrade(made.reference(truth, 10), 10)) == EXPECTED[name]


def test_gray_and_mosaic_of_kodim01(mirror: Path) -> None:
    truth = read_image(mirror / "datasets" / "kodak24" / "kodim01.png")
    assert pixels_sha256(rgb2gray(truth)) == EXPECTED["kodim01-gray.png"]
    assert pixels_sha256(degradation("awgn-8bit-gray").reference(truth, 50)) == EXPECTED["kodim01-gray.png"]
    assert pixels_sha256(degradation("bayer-grbg").degrade(truth, 0)) == EXPECTED["kodim01-mosaic.png"]


@pytest.mark.parametrize("kind", ["rgb", "gray"])
def test_released_noise_is_rounded_and_clipped(kind: str, golden: Path, mirror: Path) -> None:
    # The authors' draw cannot be repeated, but its law can: the residual has sigma 10 where nothing saturates.
    truth = read_image(mirror / "datasets" / "kodak24" / "kodim01.png")
    truth = rgb2gray(truth) if kind == "gray" else truth
    noisy = read_image(golden / "matlab" / f"kodim01-noisy-sigma10-{kind}.png")
    inner = (truth > 60) & (truth < 195)
    residual = noisy[inner].astype(float) - truth[inner]
    assert abs(residual.mean()) < 0.05
    assert abs(residual.std() - 10) < 0.03
    assert (noisy.min(), noisy.max()) == (0, 255)
