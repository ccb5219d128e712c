"""Writes small releases in the layouts and file formats of their owners."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

Picture = Callable[[int], NDArray[np.uint8]]
REALBLUR = {"J": "RealBlur-J_ECC_IMCORR_centroid_itensity_ref", "R": "RealBlur-R_BM3D_ECC_IMCORR_centroid_itensity_ref"}


def picture(seed: int, height: int = 40, width: int = 60) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def put(path: Path, pixels: NDArray[np.uint8]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def matlab_hdf5(path: Path, **arrays: NDArray[np.generic]) -> Path:
    """Write arrays as MATLAB's -v7.3 does: axes reversed, compressed chunks, and 512 bytes before the HDF5 part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            turned = np.ascontiguousarray(array.transpose())
            chunks = tuple(max(1, min(length, 16)) for length in turned.shape)
            file.create_dataset(name, data=turned, chunks=chunks, compression="gzip")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return path


def dnd_release(folder: Path, count: int = 2, boxes: int = 20, side: int = 8) -> Path:
    """Write images_srgb/0001.mat and so on, and info.mat with boxes counted from 1, both as MATLAB 7.3 does."""
    height, width = 3 * side, 8 * side
    for number in range(1, count + 1):
        image = picture(number, height, width).astype(np.float32) / np.float32(255)
        image[0, 0] = 0.12345678  # not on the 8-bit grid
        matlab_hdf5(folder / "images_srgb" / f"{number:04}.mat", InoisySRGB=image)
    path = folder / "info.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        info = file.create_group("info")
        references = info.create_dataset("boundingboxes", (1, count), dtype=h5py.ref_dtype)
        for index in range(count):
            tops = [1 + (box % 3) * side for box in range(boxes)]
            lefts = [1 + (box % 8) * side for box in range(boxes)]
            table = np.array([[t, left, t + side - 1, left + side - 1] for t, left in zip(tops, lefts, strict=True)])
            stored = file.create_dataset(f"#refs#/b{index}", data=table.T.astype(np.float64))
            references[0, index] = stored.ref
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    return folder


def sidd_blocks(photographs: int = 2, blocks: int = 3, side: int = 16, seed: int = 0) -> NDArray[np.uint8]:
    """Make blocks (photographs, blocks, side, side, 3)."""
    return np.stack(
        [np.stack([picture(100 * seed + 10 * p + b, side, side) for b in range(blocks)]) for p in range(photographs)]
    )


def sidd_validation(folder: Path, clean: NDArray[np.uint8], noisy: NDArray[np.uint8]) -> None:
    """Write the two files of SIDD's validation blocks, MATLAB 5, compressed."""
    folder.mkdir(parents=True, exist_ok=True)
    for variable, blocks in (("ValidationGtBlocksSrgb", clean), ("ValidationNoisyBlocksSrgb", noisy)):
        savemat(folder / f"{variable}.mat", {variable: blocks}, do_compression=True)


# Below: pair `n` of each release, ground truth and degraded, where its owners' archive has it.


def gopro(folder: Path, clean: Picture, worse: Picture, part: str = "test") -> None:
    """Write three pairs of two sequences, with the gamma-corrected third kind that nobody measures."""
    frames = [("GOPR0384_11_00", "000001"), ("GOPR0384_11_00", "000002"), ("G2", "000001")]
    for n, (sequence, frame) in enumerate(frames):
        below = folder / "GOPRO_Large" / part / sequence
        put(below / f"sharp/{frame}.png", clean(n))
        put(below / f"blur/{frame}.png", worse(n))
        put(below / f"blur_gamma/{frame}.png", clean(5000 + n))


def hide(folder: Path, clean: Picture, worse: Picture) -> None:
    """Write three test pairs, and a pair of the training part."""
    images = [("test-close-ups", "10_1"), ("test-long-shot", "20_1"), ("test-long-shot", "3")]
    for n, (distance, name) in enumerate(images):
        put(folder / f"HIDE_dataset/GT/{name}.png", clean(n))
        put(folder / f"HIDE_dataset/test/{distance}/{name}.png", worse(n))
    put(folder / "HIDE_dataset/GT/of_the_training_part.png", clean(9))
    put(folder / "HIDE_dataset/train/of_the_training_part.png", worse(9))


def realblur(folder: Path, kind: str, clean: Picture, worse: Picture) -> None:
    """Write three test pairs of RealBlur-J or -R, one for training, and the list of the test pairs."""
    lines = []
    for n, (scene, shot) in enumerate([("scene050", 1), ("scene050", 10), ("scene244_reflect", 2), ("scene001", 1)]):
        names = [f"{REALBLUR[kind]}/{scene}/{which}/{which}_{shot}.png" for which in ("gt", "blur")]
        put(folder / names[0], clean(n))
        put(folder / names[1], worse(n))
        lines.append(f"{names[0]} {names[1]} \n")
    (folder / f"RealBlur_{kind}_test_list.txt").write_text("".join(lines[:3]))  # the fourth is for training


def sidd_medium(folder: Path, clean: Picture, worse: Picture) -> None:
    """Write the two shots of one scene."""
    for n, shot in enumerate(["010", "011"]):
        scene = folder / "SIDD_Medium_Srgb/Data/0001_001_S6_00100_00060_3200_L"
        put(scene / f"0001_GT_SRGB_{shot}.PNG", clean(n))
        put(scene / f"0001_NOISY_SRGB_{shot}.PNG", worse(n))


def packed_as_mprnet(folder: Path, clean: Picture, worse: Picture, below: str = "test/Any") -> None:
    """Write three pairs as ``input`` and ``target``."""
    for n in range(3):
        put(folder / below / f"target/{n + 1}.png", clean(n))
        put(folder / below / f"input/{n + 1}.png", worse(n))


def fu_rain(folder: Path, clean: Picture, worse: Picture, scenes: int = 2, rains: int = 14) -> None:
    """Write the owners' files: every scene under 14 rains, which share a ground truth."""
    for scene in range(901, 901 + scenes):
        put(folder / f"testing/ground_truth/{scene}.png", clean(scene))
        for rain in range(1, rains + 1):
            put(folder / f"testing/rainy_image/{scene}_{rain}.png", worse(100 * scene + rain))


def side_by_side(folder: Path, clean: Picture, worse: Picture, left: str) -> None:
    """Write three images whose left half is the input (or the ground truth) and whose right half is the other."""
    for n in range(3):
        halves = [worse(n), clean(n)] if left == "input" else [clean(n), worse(n)]
        put(folder / f"{n}.png", np.concatenate(halves, axis=1))
