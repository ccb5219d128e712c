"""pyiqa measures the same, where its conventions are the same; the gaps are stated."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

from harness.degradations import awgn_8bit, noise_generator
from harness.protocols import measure_many

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("pyiqa") is None,
    reason="pyiqa (the extra 'iqa') is not installed: no second witness",
)


@pytest.fixture(scope="module")
def architectures() -> Any:
    from harness.networks.recognition import _declare_operators

    # pyiqa imports torchvision, whose compiled operators are missing beside a CPU-only torch.
    _declare_operators()
    from pyiqa.archs.psnr_arch import PSNR
    from pyiqa.archs.ssim_arch import SSIM

    return PSNR, SSIM


def images(sigma: int) -> tuple[np.ndarray, np.ndarray]:
    from skimage.data import astronaut

    reference = astronaut()
    return reference, awgn_8bit(reference, sigma, noise_generator("embedded", "astronaut", sigma, 0))


def tensor(image: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(image.transpose(2, 0, 1)[None].astype(np.float32) / 255)


@pytest.mark.parametrize("sigma", [10, 25])
def test_agreement_at_low_noise(sigma: int, architectures: Any) -> None:
    peak, structure = architectures
    x, y = images(sigma)
    ours = measure_many(["psnr", "psnr-y8", "psnr-yiq", "ssim-gauss-y8", "ssim-gauss-yiq8"], x, y)
    pair = tensor(y), tensor(x)
    # pyiqa rounds a luma in 0..255, and adds 1e-8 to a mean squared error in 0..1: 1e-4 dB at these levels.
    assert float(peak()(*pair)) == pytest.approx(ours["psnr"], abs=1e-4)
    luma = peak(test_y_channel=True, data_range=255, color_space="ycbcr")
    assert float(luma(*pair)) == pytest.approx(ours["psnr-y8"], abs=6e-5)
    assert float(peak(test_y_channel=True)(*pair)) == pytest.approx(ours["psnr-yiq"], abs=1e-4)
    assert float(structure(color_space="ycbcr")(*pair)) == pytest.approx(ours["ssim-gauss-y8"], abs=1.2e-6)
    assert float(structure()(*pair)) == pytest.approx(ours["ssim-gauss-yiq8"], abs=2e-5)


def test_the_default_colour_space_is_1_3_db_low(architectures: Any) -> None:
    x, y = images(10)
    ours = measure_many(["psnr-y"], x, y)["psnr-y"]
    assert 1.1 < ours - float(architectures[0](test_y_channel=True)(tensor(y), tensor(x))) < 1.4


def test_at_high_noise_it_clips_negative_values(architectures: Any) -> None:
    x, y = images(100)
    ours = measure_many(["ssim-gauss-y8"], x, y)["ssim-gauss-y8"]
    gap = float(architectures[1](color_space="ycbcr")(tensor(y), tensor(x))) - ours
    assert 1e-4 < gap < 1.2e-3


def test_down_sampled_first(architectures: Any) -> None:
    x, y = images(10)
    ours = measure_many(["ssim-downsampled-yiq8"], x, y)["ssim-downsampled-yiq8"]
    assert float(architectures[1](downsample=True)(tensor(y), tensor(x))) == pytest.approx(ours, abs=2e-5)
