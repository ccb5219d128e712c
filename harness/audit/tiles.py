"""The tiles that the released test commands cut the papers' images into, computed from the rules and the real sizes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from harness.assets.datasets.registry import dataset
from harness.errors import HarnessError
from harness.methods import Method
from harness.tables.published import Table
from harness.tables.requests import IMAGE_METRICS, requests

Size = tuple[int, int]


class TileFinding(msgspec.Struct, frozen=True):
    """Tiles of one rule on the sets of the tables.

    Attributes
    ----------
    rule : str
        Name of the rule, see `harness.inference.chop.CHOP_RULES`.
    scale : int
        Of super-resolution; 1 otherwise.
    datasets : tuple of str
        Sets whose image sizes are registered.
    smallest, largest : tuple of int
        Height and width in pixels of the network's input, of the tiles with the fewest and with the most pixels.
    images : int
        Images of the sets.
    """

    rule: str
    scale: int
    datasets: tuple[str, ...]
    smallest: Size
    largest: Size
    images: int


def image_sizes(name: str) -> list[Size]:
    """Heights and widths of a set's ground truth; empty where the registry holds no sizes.

    A pair counts once: its two images are of one size.
    """
    record = dataset(name)
    if record.crop is not None:
        upright = [height > width for height, width in image_sizes(record.base)]
        size = record.crop.height, record.crop.width
        return [size[::-1] if turned else size for turned in upright]
    sizes = [(file.shape[0], file.shape[1]) for file in record.files]
    return sizes[: record.count] if record.kind == "pairs" else sizes


def tile_findings(tables: Mapping[str, Table], methods: Mapping[str, Method]) -> Iterator[TileFinding]:
    """Compute the tiles behind every row of the papers that is restored in tiles."""
    from harness.inference.chop import chop_rule, tile_shape

    used: dict[tuple[str, int], dict[str, None]] = {}
    for table in tables.values():
        for request in requests(table, methods):
            method = methods.get(request.method)
            if request.metric not in IMAGE_METRICS or method is None or not request.dataset:
                continue
            rule = method.chop.get(request.task)
            if rule and method.policy.startswith("chop"):
                scale = request.level if request.task == "sr" else 1
                used.setdefault((rule, scale), {})[request.dataset] = None
    for (rule, scale), names in sorted(used.items()):
        sized = {name: sizes for name in names if (sizes := _registered(name))}
        tiles = sorted(
            (
                tile_shape(chop_rule(rule), height // scale, width // scale, scale)[1:]
                for sizes in sized.values()
                for height, width in sizes
            ),
            key=lambda size: (size[0] * size[1], size),
        )
        if tiles:
            yield TileFinding(rule, scale, tuple(sized), tiles[0], tiles[-1], len(tiles))


def _registered(name: str) -> list[Size]:
    try:
        return image_sizes(name)
    except HarnessError:
        return []
