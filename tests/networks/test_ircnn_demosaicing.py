"""IRCNN's demosaicing, checked against its program read pixel by pixel, its schedule, and the number that it prints.

cszn/IRCNN ``Demo_demosaiking.m`` lists what its authors measured for each image of McMaster18 and Kodak24, 10 pixels at
the border left out. There are no golden outputs of it.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from harness.degradations.mosaic import bayer_mosaic
from harness.images import read_image
from harness.methods import build_method, get_method
from harness.metrics import psnr, to_uint8
from harness.networks.bayer import bayer_mask, interpolate_bayer
from harness.networks.ircnn import IRCNN, IRCNNDemosaicing, denoiser_for

Plane = NDArray[np.float64]


def colour_at(row: int, column: int) -> str:
    return ("GR" if row % 2 == 0 else "BG")[column % 2]


def along(plane: Plane, row: int, column: int, steps: list[tuple[int, int]]) -> list[tuple[float, float]]:
    """Give the two opposite neighbours in each direction."""
    return [(plane[row + r, column + c], plane[row - r, column - c]) for r, c in steps]


def smoothest(estimates: list[tuple[float, float]]) -> float:
    """Take the estimate of least change, the mean of those that change alike."""
    least = min(change for _, change in estimates)
    taken = [value for value, change in estimates if change == least]
    return sum(taken) / len(taken)


def green_by_pixel(mosaic: Plane) -> Plane:
    green = mosaic.copy()
    height, width = mosaic.shape
    for row in range(2, height - 2):
        for column in range(2, width - 2):
            if colour_at(row, column) != "G":
                near = along(mosaic, row, column, [(0, 1), (1, 0)])
                far = along(mosaic, row, column, [(0, 2), (2, 0)])
                bends = [2 * mosaic[row, column] - sum(pair) for pair in far]
                green[row, column] = smoothest(
                    [(sum(n) / 2 + b / 4, abs(n[0] - n[1]) + abs(b)) for n, b in zip(near, bends, strict=True)]
                )
    return green


def chroma_by_pixel(mosaic: Plane, green: Plane, colour: str) -> Plane:
    found = mosaic.copy()
    height, width = mosaic.shape
    for row in range(height):
        for column in range(width):
            if colour_at(row, column) == colour:
                continue
            beside = column % 2 != (1 if colour == "R" else 0)
            above = row % 2 != (0 if colour == "R" else 1)
            if (beside and not 0 < column < width - 1) or (above and not 0 < row < height - 1):
                continue
            steps = [(1, 1), (1, -1)] if above and beside else [(int(above), int(beside))]
            share = len(steps) / 4
            samples, greens = along(mosaic, row, column, steps), along(green, row, column, steps)
            bends = [2 * green[row, column] - sum(pair) for pair in greens]
            found[row, column] = smoothest(
                [(sum(s) / 2 + share * b, abs(s[0] - s[1]) + abs(b)) for s, b in zip(samples, bends, strict=True)]
            )
    return found


@pytest.mark.parametrize("size", [(8, 10), (9, 7), (4, 4), (3, 5), (1, 2), (1, 1)])
def test_interpolation(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(size[0])
    for levels in (4, 1000):  # few values make many directions alike
        mosaic = rng.integers(0, levels, size).astype(np.float64)
        green = green_by_pixel(mosaic)
        expected = [chroma_by_pixel(mosaic, green, "R"), green, chroma_by_pixel(mosaic, green, "B")]
        found = interpolate_bayer(torch.from_numpy(mosaic)[None])[0].numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)


def test_interpolation_of_a_plane_is_exact_inside() -> None:
    rows, columns = np.mgrid[:12, :14].astype(np.float64)
    image = np.stack([3 * rows + columns, 3 * rows + columns + 50, 3 * rows + columns - 20], axis=2)
    samples = torch.from_numpy(bayer_mosaic(image)).permute(2, 0, 1)[None]
    found = interpolate_bayer(samples.sum(1))[0].permute(1, 2, 0).numpy()
    np.testing.assert_allclose(found[3:-3, 3:-3], image[3:-3, 3:-3], atol=1e-9)


def test_mask_is_that_of_the_degradation() -> None:
    mask = bayer_mask(torch.ones(2, 3, 5, 7))
    np.testing.assert_array_equal(mask[0].permute(1, 2, 0), bayer_mosaic(np.ones((5, 7, 3))))


def test_schedule() -> None:
    network = IRCNNDemosaicing()
    expected = np.logspace(math.log10(49), math.log10(2), 30)
    np.testing.assert_allclose(network.sigmas, expected, rtol=1e-12)
    assert [denoiser_for(sigma) for sigma in (0.5, 2, 2.1, 4, 10, 11, 49, 50, 80)] == [1, 1, 2, 2, 5, 6, 25, 25, 25]
    used = {f"level{denoiser_for(sigma)}" for sigma in expected}
    assert {name for name, _ in network.named_children()} == used and len(used) == 19
    one = sum(parameter.numel() for parameter in IRCNN(3).parameters())
    assert sum(parameter.numel() for parameter in network.parameters()) == 19 * one == 19 * 188163


@pytest.mark.parametrize("size", [(64, 64), (13, 9)])
def test_full_size_on_seeded_weights(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    network = IRCNNDemosaicing().eval()
    for parameter in network.parameters():  # denoisers that take off little
        torch.nn.init.normal_(parameter, std=0.02)
    image = torch.rand(1, 3, *size)
    with torch.inference_mode():
        found = network(image)
        assert found.shape == image.shape and bool(found.isfinite().all())
        # Only the samples of the mosaic are looked at.
        assert torch.equal(network(image * bayer_mask(image)), found)


def test_without_denoising_the_samples_stay() -> None:
    network = IRCNNDemosaicing().eval()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    image = torch.rand(1, 3, 16, 18)
    mask = bayer_mask(image)
    with torch.inference_mode():
        found = network(image)
    first = interpolate_bayer((image * mask).sum(1))
    torch.testing.assert_close(found, torch.where(mask == 1, image, first), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("number", "rows", "expected"), [(1, slice(200, 296), 27.271), (18, slice(100, 195), 37.938)])
def test_real_crops(
    mirror: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, rows: slice, expected: float
) -> None:
    """Crops of two images; whole ones give the authors' numbers."""
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    clean = read_image(mirror / f"datasets/mcmaster18/{number}.tif")[rows, 200:301]
    restore = build_method(get_method("ircnn"), "demosaic", 0)
    given = torch.from_numpy(bayer_mosaic(clean) / 255).float().permute(2, 0, 1)[None]
    found = restore(given)[0].permute(1, 2, 0).double().numpy() * 255
    assert psnr(clean, to_uint8(found, "round")) == pytest.approx(expected, abs=2e-3)
