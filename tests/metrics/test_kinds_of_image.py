"""Images of every kind a user has, and floats whose range nobody said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import harness
from harness.errors import HarnessError
from harness.images import write_png

X = np.random.default_rng(3).integers(0, 256, (24, 30, 3), dtype=np.uint8)
Y = np.random.default_rng(4).integers(0, 256, (24, 30, 3), dtype=np.uint8)


def tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


def floats(image: np.ndarray) -> np.ndarray:
    return image / 255


KINDS: dict[str, tuple[Callable[[np.ndarray], Any], float | None]] = {
    "bytes": (np.asarray, None),
    "16 bits": (lambda image: image.astype(np.uint16) * 257, None),
    "tensor of bytes": (tensor, None),
    "image of Pillow": (Image.fromarray, None),
    "floats in [0, 1]": (floats, 1),
    "floats in 0..255": (lambda image: image.astype(np.float64), 255),
    "tensor in [0, 1]": (lambda image: tensor(image).double() / 255, 1),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("measure", [harness.psnr, harness.ssim, harness.measure])
def test_every_kind_gives_the_same_number(kind: str, measure: Callable[..., float]) -> None:
    make, data_range = KINDS[kind]
    expected = measure(X, Y)
    assert measure(make(X), make(Y), data_range=data_range) == pytest.approx(expected, abs=1e-12)
    # The reference may be of another kind than the result.
    assert measure(X, make(Y), data_range=data_range) == pytest.approx(expected, abs=1e-12)


def test_files(tmp_path: Path) -> None:
    for name, image in (("x.png", X), ("y.png", Y)):
        write_png(tmp_path / name, image)
    assert harness.psnr(tmp_path / "x.png", str(tmp_path / "y.png")) == harness.psnr(X, Y)
    with pytest.raises(HarnessError, match=r"z\.png"):
        harness.psnr(tmp_path / "z.png", Y)


def test_a_tensor_of_bfloat16() -> None:
    x, y = (tensor(image).bfloat16() / 255 for image in (X, Y))
    assert harness.psnr(x, y, data_range=1) == pytest.approx(harness.psnr(X, Y), abs=0.05)


def test_a_tensor_of_one_channel_and_one_without() -> None:
    gray = torch.from_numpy(X[:, :, 0])
    assert harness.psnr(gray[None], gray) == float("inf")
    assert harness.luma(gray[None, None]).shape == (24, 30)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: harness.psnr(X / 255, Y / 255), "give data_range=1 for samples"),
        (lambda: harness.ssim(X / 255, Y / 255), "give data_range=1 for samples"),
        (lambda: harness.measure(X / 255, Y / 255), "give data_range=1 for samples"),
        (lambda: harness.luma(X / 255), "give data_range=1 for samples"),
        (lambda: harness.psnr(X.astype(np.float32), Y), "the reference has dtype float32"),
        (lambda: harness.psnr(X, Y, data_range=1), "the reference is uint8, whose white is 255, not 1"),
        (lambda: harness.psnr(X / 1.0, Y / 1.0, data_range=0), "data_range=0 is no largest sample value"),
        (lambda: harness.psnr(X / 1.0, Y / 1.0, data_range=float("nan")), "no largest sample value|whose white"),
        (lambda: harness.psnr(X / 1.0, Y / 1.0, data_range=1), "samples up to 255: data_range=1 is not theirs"),
        (lambda: harness.psnr(X / 255, Y / 255, data_range=255), "no sample above 1: data_range=255 is not theirs"),
        (lambda: harness.ssim(X, Y / 255 + 0.1, data_range=255), "the image holds no sample above 1.1"),
        (lambda: harness.measure(X / 1.0, Y / 1.0, data_range=65535), "no sample above 255: data_range=65535"),
        (lambda: harness.luma(X / 127.5 - 1, data_range=1), "below -0.25 as images whose black is negative"),
        (lambda: harness.psnr(X / 127.5 - 1, Y / 127.5 - 1, data_range=2), "data_range=2 is not theirs"),
        (lambda: harness.psnr(X / 1.0, Y / 1.0, data_range=True), "data_range=True is no number"),
        (lambda: harness.psnr(X / 1.0, Y / 1.0, data_range="1"), "data_range='1' is no number"),  # type: ignore[arg-type]
        (lambda: harness.psnr(X.astype(np.int64), Y), "has dtype int64; give uint8, uint16 or floats with data_range"),
        (lambda: harness.psnr(X > 9, Y > 9), "the reference has dtype bool"),
        (lambda: harness.psnr(X, Image.fromarray(X).convert("RGBA")), "the image is an image of mode RGBA"),
        (lambda: harness.psnr(tensor(X).repeat(2, 1, 1, 1), Y), r"shape \(2, 3, 24, 30\); give one image"),
        (lambda: harness.psnr(X.tolist(), Y), "the reference is a list; give an array"),
    ],
)
def test_what_cannot_be_measured_is_said(call: Callable[[], Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        call()


def test_dark_images_and_unclipped_noise_are_measured() -> None:
    black = np.zeros((16, 16))
    assert harness.psnr(black, black + 0.002, data_range=1) == pytest.approx(53.979, abs=1e-3)
    assert harness.psnr(black, black + 1, data_range=255) == pytest.approx(48.131, abs=1e-3)
    assert harness.psnr(black, black, data_range=255) == float("inf")
    dark = np.full((64, 64, 3), 12, np.uint8)
    assert 10 < harness.psnr(dark, harness.degrade(dark, "awgn-float", 70), data_range=255) < 12
