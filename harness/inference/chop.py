"""Tiled inference exactly as the released test commands do it ("chop").

An image is cut into four overlapping tiles, each again, until a tile has fewer pixels than a limit; of the
restored tiles the inner quarters are kept. The rules of the papers differ in the limit and in how the size of a
tile follows from half the image (facts from the released code, golden cases in tests/inference).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import msgspec
import torch
from torch import Tensor

from harness.errors import HarnessError, unknown_name
from harness.inference.allocator import keep_freed_memory
from harness.inference.lanes import side_by_side


class ChopRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one released test command tiles an image.

    A tile's side is ``half`` rounded down to a multiple of ``half_multiple``, plus ``shave``, and then
    ``growth``: nothing, ``size % scale`` (``remainder``), or ``scale - size % scale`` (``complement``).

    Attributes
    ----------
    name : str
        Network and task.
    limit : int
        Input pixels (height times width) that a tile must stay below.
    shave : int
        Pixels added to half the image.
    half_multiple : int
        1, or 4 in RNAN, whose tiles must have even sides.
    growth : str
        ``none``, ``remainder`` or ``complement``.
    """

    name: str
    limit: int
    shave: int = 10
    half_multiple: int = 1
    growth: str = "none"

    def side(self, length: int, scale: int = 1) -> int:
        """Return a tile's side for an image side, at most the image side itself."""
        size = length // 2 // self.half_multiple * self.half_multiple + self.shave
        if self.growth == "remainder":
            size += size % scale
        elif self.growth == "complement":
            size += scale - size % scale
        return min(size, length)


CHOP_RULES = {
    rule.name: rule
    for rule in (
        # Limits: those of the released test commands; see docs/networks.md.
        ChopRule("panet-denoise", limit=6800),
        ChopRule("panet-jpeg", limit=6400),
        ChopRule("panet-demosaic", limit=6400),
        ChopRule("paedsr", limit=6400, growth="remainder"),
        ChopRule("oisr", limit=160_000),
        ChopRule("san", limit=160_000),
        ChopRule("rnan-denoise", limit=10_000, shave=12, half_multiple=4),
        ChopRule("rnan-jpeg", limit=10_000, shave=12, half_multiple=4),
        ChopRule("rnan-demosaic", limit=10_000, shave=12, half_multiple=4),
        ChopRule("rnan-sr", limit=30_000, shave=12, half_multiple=4),
        ChopRule("dagl-real", limit=10_000, shave=24, half_multiple=4),
        ChopRule("csnln", limit=3600, growth="complement"),
        ChopRule("rcan", limit=160_000),
        ChopRule("rdn", limit=10_000),
        ChopRule("srfbn", limit=100_000),
    )
}
"""The rules of the released test commands, by network and task."""

GPU_BATCH = 16
"""Tiles that go through a network together on a GPU by default."""


def tiles_at_once(device: torch.device, reentrant: bool) -> int:
    """Return how many tiles are computed at once by default.

    A batch fills a GPU. On a CPU a batch gains nothing and rounds otherwise than its tiles would (docs/performance.md):
    a function that allows it gets as many tiles as torch has threads, side by side; any other one tile after another.
    """
    if device.type != "cpu":
        return GPU_BATCH
    return torch.get_num_threads() if reentrant else 1


def chop_rule(name: str) -> ChopRule:
    """Look a rule up by its name, such as ``panet-denoise``."""
    if name not in CHOP_RULES:
        raise unknown_name("chop rule", name, CHOP_RULES)
    return CHOP_RULES[name]


def tile_shape(rule: ChopRule, height: int, width: int, scale: int = 1) -> tuple[int, int, int]:
    """Return what an image is cut into: how many tiles, and their height and width (all are equal).

    Parameters
    ----------
    rule : ChopRule
        The rule.
    height, width : int
        Input size in pixels (low resolution for super-resolution).
    scale : int
        Scale of super-resolution.
    """
    pieces = _pieces(rule, height, width, scale)
    _, _, tile_height, tile_width, _ = pieces[0]
    return len({(top, left) for top, left, *_ in pieces}), tile_height, tile_width


def chop(
    function: Callable[[Tensor], Tensor],
    x: Tensor,
    rule: ChopRule,
    scale: int = 1,
    at_once: int | None = None,
    reentrant: bool = False,
) -> Tensor:
    """Apply a function to the tiles of images and put the results together.

    All tiles of an image have the same shape.

    Parameters
    ----------
    function : callable
        ``(n, C, h, w)`` to ``(n, C', scale h, scale w)``; each of the n must be treated by itself.
    x : Tensor
        ``(B, C, H, W)``.
    rule : ChopRule
        Where to cut.
    scale : int
        Enlargement of the function.
    at_once : int, optional
        Tiles of an image that are computed at once, by default as many as suit the device (`tiles_at_once`); 1 is tile
        by tile, as the released code on one GPU.
    reentrant : bool
        The function may be called in several threads at once. On a CPU tiles are then computed side by side, each on
        one thread, and the result depends neither on `at_once` nor on the number of cores. Otherwise the tiles
        computed at once are one batch.

    Returns
    -------
    Tensor
        ``(B, C', scale H, scale W)``.
    """
    if at_once is None:
        at_once = tiles_at_once(x.device, reentrant)
    if at_once < 1:
        raise HarnessError(f"at least one tile is computed at once, not {at_once}")
    batch, _, height, width = x.shape
    pieces = _pieces(rule, height, width, scale)
    kept: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    for top, left, _, _, keep in pieces:
        kept.setdefault((top, left), []).append(keep)
    _, _, tile_height, tile_width, _ = pieces[0]
    corners = list(kept)
    tiles = (x[:, :, top : top + tile_height, left : left + tile_width] for top, left in corners)
    if reentrant and x.device.type == "cpu":
        keep_freed_memory()
        restored = side_by_side(function, tiles, at_once)
    else:
        restored = _in_batches(function, tiles, at_once)
    out: Tensor | None = None
    for (top, left), tile in zip(corners, restored, strict=True):
        if tile.shape[-2:] != (scale * tile_height, scale * tile_width):
            raise HarnessError(
                f"a tile of {tile_width}x{tile_height} came back as {tile.shape[-1]}x{tile.shape[-2]}; "
                f"for scale {scale} it must be {scale * tile_width}x{scale * tile_height}"
            )
        if out is None:
            out = tile.new_empty(batch, tile.shape[1], scale * height, scale * width)
        for keep in kept[top, left]:
            y0, x0, y1, x1 = (scale * n for n in keep)
            y, z = scale * top, scale * left
            out[:, :, y0:y1, x0:x1] = tile[:, :, y0 - y : y1 - y, x0 - z : x1 - z]
    assert out is not None
    return out


def _in_batches(function: Callable[[Tensor], Tensor], tiles: Iterator[Tensor], count: int) -> Iterator[Tensor]:
    # The tiles of a batch are taken before the function is called again; its result may be a buffer that it uses again.
    while here := list(itertools.islice(tiles, count)):
        yield from function(torch.cat(here)).split(len(here[0]))


_Piece = tuple[int, int, int, int, tuple[int, int, int, int]]


def _pieces(rule: ChopRule, height: int, width: int, scale: int) -> list[_Piece]:
    """List the tiles: top, left, height, width, and the rectangle of the image that is kept of each."""
    if min(height, width) < 1:
        raise HarnessError(f"an image of {width}x{height} has no pixels to restore")
    out: list[_Piece] = []

    def cut(top: int, left: int, height: int, width: int, keep: tuple[int, int, int, int]) -> None:
        tile_height, tile_width = rule.side(height, scale), rule.side(width, scale)
        if (tile_height, tile_width) == (height, width):
            # The cut makes nothing smaller: the released code would recurse for ever or run it four times.
            out.append((top, left, height, width, keep))
            return
        small = tile_height * tile_width < rule.limit
        middle_y, middle_x = top + height // 2, left + width // 2
        for y, rows in ((top, (keep[0], middle_y)), (top + height - tile_height, (middle_y, keep[2]))):
            for x, columns in ((left, (keep[1], middle_x)), (left + width - tile_width, (middle_x, keep[3]))):
                part = (
                    max(rows[0], keep[0]),
                    max(columns[0], keep[1]),
                    min(rows[1], keep[2]),
                    min(columns[1], keep[3]),
                )
                if small:
                    out.append((y, x, tile_height, tile_width, part))
                else:
                    cut(y, x, tile_height, tile_width, part)

    cut(0, 0, height, width, (0, 0, height, width))
    return out
