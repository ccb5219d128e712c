"""Writes small releases in the layouts and file formats of their owners."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from PIL import Image


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
