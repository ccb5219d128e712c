"""BM3D, non-local means and classical demosaicing: they conform, and do what their names say."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from harness.degradations.mosaic import bayer_mosaic
from harness.errors import NotAvailableError
from harness.methods import build_method, get_method
from harness.methods.demosaicing import _samples
from harness.methods.thin import on_thin_images
from harness.metrics import psnr, to_uint8
from harness.run.conformance import check_method

DEMOSAICING = ("bilinear", "malvar", "menon")


def needs(package: str) -> None:
    """Skip without a package. It is not imported here: some turn numpy's way of printing for the whole process."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")


EXTRAS = {"bm3d": "bm3d", "cbm3d": "bm3d"} | dict.fromkeys(DEMOSAICING, "colour_demosaicing")


def scene(size: tuple[int, int] = (48, 56)) -> NDArray[np.uint8]:
    """Draw a smooth colour image with one edge."""
    rows, columns = np.mgrid[: size[0], : size[1]]
    base = 110 + 50 * np.sin(rows / 9) * np.cos(columns / 11) + 50 * (columns > size[1] // 2)
    return np.clip(np.stack([base, 0.8 * base + 20, 0.6 * base + 60], 2), 0, 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["bm3d", *DEMOSAICING, "nlm"])
def test_conformance(name: str) -> None:
    if name in EXTRAS:
        needs(EXTRAS[name])
    assert [check for check in check_method(get_method(name)) if not check.held] == []


@pytest.mark.parametrize(("name", "task"), [("bm3d", "denoise-gray"), ("cbm3d", "denoise-rgb"), ("nlm", "denoise-rgb")])
@pytest.mark.parametrize("sigma", [10, 50])
def test_denoising_gains(name: str, task: str, sigma: int) -> None:
    if name in EXTRAS:
        needs(EXTRAS[name])
    clean = scene() if task == "denoise-rgb" else scene()[:, :, 1]
    noisy = clean + np.random.default_rng(1).normal(0, sigma, clean.shape)
    restored = to_uint8(build_method(get_method(name), task, sigma)(noisy / 255) * 255)
    assert psnr(clean, restored) > psnr(clean, to_uint8(noisy)) + 4


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 8, 3), (3, 40, 3), (24, 24)])
def test_cbm3d_of_photographs_takes_any_size_and_gray(shape: tuple[int, ...]) -> None:
    """The package crashes, with the whole process, on an image of exactly one block."""
    needs("bm3d")
    noisy = np.random.default_rng(1).uniform(size=shape)
    restored = build_method(get_method("cbm3d-estimated"), "denoise-real", 0)(noisy)
    assert restored.shape == shape and np.isfinite(restored).all()
    if min(shape[:2]) > 1:
        assert restored.std() < noisy.std()


@pytest.mark.parametrize(("name", "least"), [("bilinear", 38), ("malvar", 41), ("menon", 48)])
def test_demosaicing(name: str, least: float) -> None:
    needs("colour_demosaicing")
    clean = scene()
    mosaic = bayer_mosaic(clean)
    restored = to_uint8(build_method(get_method(name), "demosaic", 0)(mosaic / 255) * 255)
    assert psnr(clean, restored) > least
    # Of the wrong pattern nothing good could come: red and blue would be exchanged.
    assert psnr(clean, restored[:, :, ::-1]) < 30
    known = mosaic > 0
    assert np.abs(restored.astype(int) - clean)[known].max() <= 1


def test_samples_are_those_of_the_mosaic() -> None:
    image = np.random.default_rng(0).integers(1, 255, size=(9, 7, 3)).astype(np.uint8)
    np.testing.assert_array_equal(_samples(image.astype(np.float64)), bayer_mosaic(image).sum(axis=2))


@settings(deadline=None)
@given(height=st.integers(1, 20), width=st.integers(1, 20), colour=st.booleans())
def test_thin_images(height: int, width: int, colour: bool) -> None:
    seen = []

    def double(image: NDArray[np.float64]) -> NDArray[np.float64]:
        seen.append(image.shape[:2])
        return 2 * image

    image = np.random.default_rng(0).uniform(size=(height, width, 3) if colour else (height, width))
    np.testing.assert_array_equal(on_thin_images(double, 8)(image), 2 * image)
    assert seen == [(max(height, 8), max(width, 8))]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "bm3d", None)
    with pytest.raises(NotAvailableError, match=r"pip install 'restoration-harness\[bm3d\]'"):
        build_method(get_method("bm3d"), "denoise-gray", 10)
