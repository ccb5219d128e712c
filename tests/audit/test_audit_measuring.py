"""Every reading at once: the same numbers as the protocols give one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.audit.measuring import Reference, psnr_values, set_values, ssim_values
from harness.audit.variants import AVERAGES, PSNR_READINGS, SSIM_READINGS, set_readings
from harness.degradations import awgn, noise_generator
from harness.degradations.jpeg import jpeg
from harness.errors import HarnessError
from harness.metrics.quantization import to_uint8
from harness.protocols import measure_many, protocol
from tests.conftest import Synthetic


def pair(synthetic: Synthetic, channels: int, whole: bool) -> tuple[NDArray[Any], NDArray[Any]]:
    image = synthetic(61, 74, channels)
    noisy = awgn(image, 20, noise_generator("test", "x", 20, 0))
    return image, to_uint8(noisy) if whole else np.clip(noisy, 0, 255)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("scale", [1, 3])
def test_values_are_those_of_the_protocols(synthetic: Synthetic, channels: int, whole: bool, scale: int) -> None:
    reference, restored = pair(synthetic, channels, whole)
    for readings, measure in ((PSNR_READINGS, psnr_values), (SSIM_READINGS, ssim_values)):
        found = measure(Reference(reference, scale), restored)
        expected = measure_many([r.protocol for r in readings], reference, restored, scale)
        for reading, value in zip(readings, found, strict=True):
            assert value == pytest.approx(expected[reading.protocol], abs=1e-9), reading.protocol


def test_only_wanted_readings_are_taken(synthetic: Synthetic) -> None:
    reference, restored = pair(synthetic, 3, True)
    wanted = np.zeros(len(SSIM_READINGS), dtype=bool)
    wanted[[3, 40]] = True
    whole, part = (ssim_values(Reference(reference, 2), restored, mask) for mask in (None, wanted))
    assert np.array_equal(part[wanted], whole[wanted])
    assert np.isnan(part[~wanted]).all()


def test_gray_reference_and_colour_image(synthetic: Synthetic) -> None:
    reference, restored = synthetic(40, 50, 1), synthetic(40, 50, 3)
    found = psnr_values(Reference(reference, 1), restored)
    for reading, value in zip(PSNR_READINGS, found, strict=True):
        try:
            (expected,) = measure_many([reading.protocol], reference, restored, 1).values()
        except HarnessError:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(expected, abs=1e-9)


def test_readings_without_meaning_are_nan_on_tiny_images(synthetic: Synthetic) -> None:
    image = synthetic(15, 15, 1)
    found = dict(zip(SSIM_READINGS, ssim_values(Reference(image, 2), jpeg(image, 30)), strict=True))
    kept = {r.protocol for r, value in found.items() if not math.isnan(value)}
    assert "ssim-gauss-crop" in kept
    assert "ssim-gauss-crop+6" not in kept


def test_set_values_are_those_of_the_protocols() -> None:
    values = np.array([[30.0] * len(PSNR_READINGS), [20.0] * len(PSNR_READINGS)])
    pixels = np.array([[100.0] * len(PSNR_READINGS), [300.0] * len(PSNR_READINGS)])
    wanted = set_readings("psnr", same_size=False)
    found = dict(zip(wanted, set_values("psnr", values, pixels, wanted), strict=True))
    assert {reading.average for reading in found} == set(AVERAGES)
    for reading, value in found.items():
        weights = [100, 300] if reading.average == "pooled by pixels" else None
        assert value == pytest.approx(protocol(reading.protocol).aggregate([30.0, 20.0], weights), abs=1e-9)
