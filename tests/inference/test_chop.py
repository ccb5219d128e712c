from __future__ import annotations

import json
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from harness.errors import HarnessError
from harness.inference import CHOP_RULES, ChopRule, chop, chop_rule, tile_shape
from harness.inference.allocator import keep_freed_memory

GOLDEN_RULES = {
    "chop_panet": "panet-denoise",
    "chop_panet_car": "panet-jpeg",
    "chop_rnan": "rnan-denoise",
    "chop_rnan_car": "rnan-jpeg",
    **{f"chop_rnan_sr_x{s}": "rnan-sr" for s in (2, 3, 4)},
    **{f"chop_paedsr_x{s}": "paedsr" for s in (2, 3, 4)},
    **{f"chop_csnln_x{s}": "csnln" for s in (2, 3, 4)},
}


class Probe:
    """y = x + mean over channels and tile, enlarged; it notes the tiles that it saw."""

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.seen: list[tuple[int, ...]] = []

    def __call__(self, x: Tensor) -> Tensor:
        self.seen += [(1, *x.shape[1:])] * len(x)
        y = x + x.mean(dim=(1, 2, 3), keepdim=True)
        return y.repeat_interleave(self.scale, 2).repeat_interleave(self.scale, 3)


@pytest.mark.parametrize("at_once", [1, 4, 16])
@pytest.mark.parametrize("name", GOLDEN_RULES)
def test_golden(golden, name: str, at_once: int) -> None:
    case = json.loads((golden / "activations" / "chop.json").read_text())[name]
    generator = np.random.RandomState(zlib.crc32(name.encode()) & 0xFFFFFFFF)
    x = torch.from_numpy(generator.random_sample(case["input_shape"]).astype(np.float32))
    probe, rule = Probe(case["scale"]), chop_rule(GOLDEN_RULES[name])
    y = chop(probe, x, rule, case["scale"], at_once)
    assert np.array_equal(y.numpy(), np.load(golden / "activations" / f"{name}.npz")["output"])
    ((shape, count),) = case["tiles"]
    assert probe.seen == [tuple(shape)] * count
    assert tile_shape(rule, *x.shape[2:], case["scale"]) == (count, *shape[2:])


def by_recursion(function, x: Tensor, rule: ChopRule, scale: int) -> Tensor:
    """The papers' recursion, written down as it is described: four overlapping tiles, inner quarters kept."""
    h, w = x.shape[2:]
    th, tw = rule.side(h, scale), rule.side(w, scale)
    tiles = [x[:, :, y : y + th, z : z + tw] for y in (0, h - th) for z in (0, w - tw)]
    if (th, tw) == (h, w):
        return function(x)
    if th * tw < rule.limit:
        a, b, c, d = (function(tile) for tile in tiles)
    else:
        a, b, c, d = (by_recursion(function, tile, rule, scale) for tile in tiles)
    h2, w2, below, right = scale * (h // 2), scale * (w // 2), scale * (h - h // 2), scale * (w - w // 2)
    top = torch.cat([a[:, :, :h2, :w2], b[:, :, :h2, -right:]], dim=3)
    bottom = torch.cat([c[:, :, -below:, :w2], d[:, :, -below:, -right:]], dim=3)
    return torch.cat([top, bottom], dim=2)


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 90),
    width=st.integers(1, 90),
    scale=st.sampled_from([1, 2, 3, 4]),
    base=st.sampled_from(sorted(CHOP_RULES)),
    limit=st.sampled_from([600, 900, 3000]),
    at_once=st.integers(1, 9),
)
def test_any_size_is_the_recursion(height, width, scale, base, limit, at_once) -> None:
    rule = ChopRule(**{**{f: getattr(CHOP_RULES[base], f) for f in ChopRule.__struct_fields__}, "limit": limit})
    x = torch.arange(2 * height * width, dtype=torch.float64).view(2, 1, height, width)
    want = by_recursion(Probe(scale), x, rule, scale)
    assert torch.equal(chop(Probe(scale), x, rule, scale, at_once), want)
    assert want.shape == (2, 1, scale * height, scale * width)


@pytest.mark.parametrize("name", CHOP_RULES)
def test_tiles_of_published_images_are_what_the_networks_accept(name: str) -> None:
    rule = chop_rule(name)
    for height, width in [(512, 768), (321, 481), (481, 321), (500, 500), (644, 1024), (256, 256), (128, 128)]:
        for scale in (2, 3, 4) if name in ("paedsr", "csnln", "rnan-sr", "rcan", "rdn", "srfbn") else (1,):
            _, tile_height, tile_width = tile_shape(rule, height // scale, width // scale, scale)
            assert tile_height * tile_width < rule.limit
            if name.startswith("rnan"):
                assert tile_height % 2 == tile_width % 2 == 0
            if name == "csnln":
                assert tile_height % scale == tile_width % scale == 0


def test_the_identity_stays_the_identity() -> None:
    x = torch.rand(1, 3, 150, 131)
    for rule in CHOP_RULES.values():
        assert torch.equal(chop(lambda t: t, x, rule), x)


def test_refusals() -> None:
    with pytest.raises(HarnessError, match="did you mean"):
        chop_rule("panet-denoising")
    with pytest.raises(HarnessError, match="for scale 2 it must be"):
        chop(lambda t: t, torch.rand(1, 1, 20, 20), chop_rule("csnln"), scale=2)
    with pytest.raises(HarnessError, match="at least one tile"):
        chop(lambda t: t, torch.rand(1, 1, 20, 20), chop_rule("csnln"), at_once=0)
    with pytest.raises(HarnessError, match="no pixels"):
        chop(lambda t: t, torch.rand(1, 1, 0, 20), chop_rule("csnln"))


def test_the_allocator_setting_is_harmless_anywhere() -> None:
    assert keep_freed_memory() in (True, False)
    assert keep_freed_memory() is keep_freed_memory()
