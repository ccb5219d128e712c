"""Tile sizes on the findings page and in the docs: computed from the rules and the registered image sizes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.audit.findings import image_sizes, read_committed
from harness.audit.outcomes import TileFinding
from harness.tables.workspace import Workspace

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tiles() -> tuple[TileFinding, ...]:
    return read_committed(Workspace(ROOT)).tiles


def test_sizes_of_sets_that_need_not_be_here() -> None:
    assert set(image_sizes("kodak24")) == {(512, 768), (768, 512)}
    assert set(image_sizes("kodak24-crop500")) == {(500, 500)}
    assert len(image_sizes("urban100")) == 100
    assert len(image_sizes("rain100l")) == 100


def test_tiles_by_hand(tiles: tuple[TileFinding, ...]) -> None:
    found = {(t.rule, t.scale): t for t in tiles}
    # Classic5 is 512x512: 512 / 2 + 10 = 266, 143, 81 and 81 * 81 > 6400, 50.
    assert found["panet-jpeg", 1].smallest == (50, 50)
    # RNAN on 512: 256 + 12 = 268, 132 + 12 = 144, 72 + 12 = 84 and 84 * 84 < 10,000.
    assert found["rnan-jpeg", 1].smallest == (84, 84)
    # Kodak24, 512x768 in RNAN: 84 and 384 + 12 = 396, 196 + 12 = 208, 104 + 12 = 116.
    assert (84, 116) in {found["rnan-jpeg", 1].largest, found["rnan-denoise", 1].largest[::-1]}


def test_docs_give_the_computed_range(tiles: tuple[TileFinding, ...]) -> None:
    """The tiles "of about 57x77 to 84x84" of earlier docs were of two rules out of nine."""
    own = [
        t for t in tiles if t.rule.startswith(("panet", "paedsr", "rnan", "csnln"))
    ]  # the papers' non-local networks
    smallest = min((t.smallest for t in own), key=lambda size: size[0] * size[1])
    largest = max((t.largest for t in own), key=lambda size: size[0] * size[1])
    for name in ("networks", "footguns"):
        text = (ROOT / f"docs/{name}.md").read_text(encoding="utf-8")
        (said,) = [s for s in re.split(r"\n\n|\|\n", text) if "sets-and-tiles.md#tiles" in s]
        assert "{}x{}".format(*smallest) in said and "{}x{}".format(*largest) in said, name
    page = (ROOT / "docs/audit/sets-and-tiles.md").read_text(encoding="utf-8")
    for tile in tiles:
        row = f"| `{tile.rule}` | {tile.scale} | {', '.join(tile.datasets)} | {tile.images} |"
        assert f"{row} {tile.smallest[0]}x{tile.smallest[1]} | {tile.largest[0]}x{tile.largest[1]} |" in page
