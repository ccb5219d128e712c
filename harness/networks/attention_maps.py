"""Looking into an attention: correlation maps over the pyramid (PANet Figures 1 and 8), k-NN groups (KiT Figure 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.networks.knn_attention import KNNLocalAttention, to_patches
from harness.networks.patch_attention import patch_norms
from harness.networks.pyramid_attention import ESCAPE_NAN, PyramidAttention

M = TypeVar("M", bound=nn.Module)


class PyramidMaps(msgspec.Struct, frozen=True):
    """What a pyramid attention sees from some query pixels.

    Attributes
    ----------
    queries : tuple of (int, int)
        Row and column of each query.
    scales : tuple of float
        Scale of each level that has pixels.
    correlation : tuple of ndarray
        For each level ``(queries, h, w) float32``: product with the normalised key patch, before the softmax.
    weights : tuple of ndarray
        For each level ``(queries, h, w) float32``: the softmax; over all levels a query's weights add up to 1.
    """

    queries: tuple[tuple[int, int], ...]
    scales: tuple[float, ...]
    correlation: tuple[NDArray[np.float32], ...]
    weights: tuple[NDArray[np.float32], ...]


class PatchGroups(msgspec.Struct, frozen=True):
    """How a k-NN local attention grouped the patches of one image.

    Attributes
    ----------
    partners : ndarray
        ``(h, N, 2k) int64``: for each hash round and patch the patches that it attends to, numbered row by
        row; the k of its own chunk first, then those of the previous chunk.
    grid : tuple of int
        Rows and columns of patches; N is their product.
    patch_size : tuple of float
        Height and width of a patch in pixels of the image.
    """

    partners: NDArray[np.int64]
    grid: tuple[int, int]
    patch_size: tuple[float, float]

    def box(self, patch: int) -> tuple[int, int, int, int]:
        """Return a patch's rectangle in the image: top, left, bottom, right (exclusive)."""
        row, column = divmod(patch, self.grid[1])
        height, width = self.patch_size
        return (
            round(row * height),
            round(column * width),
            round((row + 1) * height),
            round((column + 1) * width),
        )


@torch.no_grad()
def pyramid_attention_maps(
    network: nn.Module, image: Tensor, queries: Sequence[tuple[int, int]], index: int = 0
) -> PyramidMaps:
    """Apply a network to an image and return what its pyramid attention compared for some query pixels.

    Parameters
    ----------
    network : Module
        A network with a pyramid attention, or the attention itself.
    image : Tensor
        ``(1, C, H, W)``, the network's input.
    queries : sequence of (int, int)
        Row and column in the attention's feature map, which has the size of the input.
    index : int
        Which attention, in the order of the network, where there are several.
    """
    module, features = _input_of(network, image, PyramidAttention, index)
    height, width = features.shape[-2:]
    for row, column in queries:
        if not (0 <= row < height and 0 <= column < width):
            raise HarnessError(f"query ({row}, {column}) is outside the {width}x{height} feature map")
    query, keys, _ = module.embed(features)
    pad = module.ksize // 2
    padded = functional.pad(query, (pad, pad, pad, pad))[0]
    patches = torch.stack([padded[:, y : y + module.ksize, x : x + module.ksize] for y, x in queries])
    levels = [
        functional.conv2d(key, patches, padding=pad)[0] / patch_norms(key, module.ksize, ESCAPE_NAN)[0] for key in keys
    ]
    scores = torch.cat([level.flatten(1) for level in levels], dim=1) * module.softmax_scale
    weights = scores.softmax(dim=1).split([math.prod(level.shape[1:]) for level in levels], dim=1)
    return PyramidMaps(
        tuple((int(y), int(x)) for y, x in queries),
        module.scales[: len(levels)],
        tuple(level.float().cpu().numpy() for level in levels),
        tuple(w.reshape(level.shape).float().cpu().numpy() for w, level in zip(weights, levels, strict=True)),
    )


@torch.no_grad()
def patch_groups(network: nn.Module, image: Tensor, index: int = 0) -> PatchGroups:
    """Apply a network to an image and return how one of its k-NN local attentions grouped the patches.

    Parameters
    ----------
    network : Module
        KiT, or any network with ``KNNLocalAttention`` modules.
    image : Tensor
        ``(1, C, H, W)``, the network's input.
    index : int
        Which attention, in the order of the network; 0 is the first block of the first stage.
    """
    module, features = _input_of(network, image, KNNLocalAttention, index)
    partners = module.group(to_patches(features, module.r).flatten(2))[0]
    grid = (features.shape[2] // module.r, features.shape[3] // module.r)
    size = (image.shape[2] / grid[0], image.shape[3] / grid[1])
    return PatchGroups(partners.cpu().numpy(), grid, size)


def heat_map(
    values: NDArray[np.floating], size: tuple[int, int] | None = None, span: tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Render a map as a picture: black, through red and yellow, to white at the largest value.

    Parameters
    ----------
    values : ndarray
        ``(h, w)``.
    size : (int, int), optional
        Height and width of the picture (nearest neighbour); the map's own by default. Figure 8 of PANet
        shows all levels at the same size.
    span : (float, float), optional
        Values shown black and white; the smallest and the largest of the map by default. Maps that are to be
        compared need a common one.

    Returns
    -------
    ndarray
        ``(H, W, 3) uint8`` RGB.
    """
    if values.ndim != 2 or values.size == 0:
        raise HarnessError(f"a heat map needs a (h, w) array with pixels, not {values.shape}")
    low, high = span or (float(values.min()), float(values.max()))
    level = (values.astype(np.float64) - low) / (high - low) if high > low else np.zeros(values.shape)
    picture = np.clip(np.stack([level * 3, level * 3 - 1, level * 3 - 2], axis=-1), 0, 1)
    if size is not None:
        rows = np.arange(size[0]) * values.shape[0] // size[0]
        columns = np.arange(size[1]) * values.shape[1] // size[1]
        picture = picture[rows[:, None], columns]
    return np.rint(picture * 255).astype(np.uint8)


BOX_COLOURS = ((220, 40, 40), (40, 160, 60), (40, 80, 220), (230, 160, 20), (160, 60, 200), (20, 170, 190))
"""RGB of the boxes of one group after the other."""


def draw_groups(
    image: NDArray[np.uint8], groups: PatchGroups, patches: Sequence[int], round_index: int = 0
) -> NDArray[np.uint8]:
    """Draw the chunks of some query patches into an image, one colour each (KiT Figure 7).

    Parameters
    ----------
    image : ndarray
        ``(H, W, 3) uint8`` RGB, the image that was grouped.
    groups : PatchGroups
        From ``patch_groups``.
    patches : sequence of int
        Query patches, numbered row by row.
    round_index : int
        Hash round.

    Returns
    -------
    ndarray
        A copy with the boxes.
    """
    picture = image.copy()
    k = groups.partners.shape[2] // 2
    for number, patch in enumerate(patches):
        if not 0 <= patch < groups.partners.shape[1]:
            raise HarnessError(f"there is no patch {patch}; the image has {groups.partners.shape[1]}")
        colour = BOX_COLOURS[number % len(BOX_COLOURS)]
        for member in groups.partners[round_index, patch, :k]:
            top, left, bottom, right = groups.box(int(member))
            edges: list[Any] = [np.s_[top, left:right], np.s_[bottom - 1, left:right]]
            edges += [np.s_[top:bottom, left], np.s_[top:bottom, right - 1]]
            for edge in edges:
                picture[edge] = colour
    return picture


class _Captured(Exception):  # noqa: N818 - not an error: it ends the forward pass once the input is known
    pass


def _input_of(network: nn.Module, image: Tensor, kind: type[M], index: int) -> tuple[M, Tensor]:
    if image.shape[0] != 1:
        raise HarnessError(f"attention maps are made for one image, not for {image.shape[0]}")
    modules = [module for module in network.modules() if isinstance(module, kind)]
    if not 0 <= index < len(modules):
        raise HarnessError(
            f"{type(network).__name__} has {len(modules)} {kind.__name__} modules; there is no number {index}"
        )
    captured: list[Tensor] = []

    def capture(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        captured.append(arguments[0])
        raise _Captured

    handle = modules[index].register_forward_pre_hook(capture)
    try:
        network(image)
    except _Captured:
        pass
    finally:
        handle.remove()
    return modules[index], captured[0]
