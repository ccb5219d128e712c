from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.networks.attention_maps import draw_groups, heat_map, patch_groups, pyramid_attention_maps
from harness.networks.kit import KiT
from harness.networks.knn_attention import KiTAssumptions
from harness.networks.panet import PANet
from harness.networks.patch_attention import patch_attention
from harness.networks.pyramid_attention import PyramidAttention


def test_maps_are_what_the_attention_uses() -> None:
    module = PyramidAttention(channel=4, level=3)
    x = torch.randn(1, 4, 9, 8)
    maps = pyramid_attention_maps(module, x, [(0, 0), (4, 5)])
    assert maps.scales == (1.0, 0.9, 0.8) and [w.shape for w in maps.weights] == [(2, 9, 8), (2, 8, 7), (2, 7, 6)]
    np.testing.assert_allclose(sum(w.sum(axis=(1, 2)) for w in maps.weights), 1, rtol=1e-5)
    # Values that mark one pixel of one level show that pixel's weight in the response of a 1x1 patch.
    query, keys, _ = module.embed(x)
    values = [torch.zeros(1, 1, *w.shape[1:]) for w in maps.weights]
    values[1][0, 0, 3, 2] = 1
    single = PyramidAttention(channel=4, level=3, ksize=1)
    single.load_state_dict(module.state_dict())
    with torch.no_grad():
        response = patch_attention(query, keys, values, ksize=1)
    weights = pyramid_attention_maps(single, x, [(4, 5)]).weights
    np.testing.assert_allclose(weights[1][0, 3, 2], response[0, 0, 4, 5], rtol=1e-4)


def test_a_copy_of_the_query_correlates_most() -> None:
    module = PyramidAttention(channel=8, level=1)
    module.conv_match.load_state_dict(module.conv_match_L_base.state_dict())
    x = torch.rand(1, 8, 12, 16)
    x[:, :, :, 8:] = x[:, :, :, :8]
    maps = pyramid_attention_maps(module, x, [(6, 4)])
    row, column = np.unravel_index(np.argmax(maps.correlation[0][0]), (12, 16))
    assert row == 6 and column in (4, 12)


def test_maps_inside_a_network() -> None:
    network = PANet(n_resblocks=2, n_feats=4, positions=("pre", "post"))
    image = torch.rand(1, 3, 8, 10)
    before = network(image)
    first, second = (pyramid_attention_maps(network, image, [(1, 2)], index=i) for i in (0, 1))
    assert not np.array_equal(first.weights[0], second.weights[0])
    assert torch.equal(network(image), before)
    with pytest.raises(HarnessError, match="there is no number 2"):
        pyramid_attention_maps(network, image, [(1, 2)], index=2)
    with pytest.raises(HarnessError, match="outside the 10x8"):
        pyramid_attention_maps(network, image, [(8, 0)])
    with pytest.raises(HarnessError, match="one image, not for 2"):
        pyramid_attention_maps(network, torch.rand(2, 3, 8, 10), [(1, 2)])


def test_groups_of_kit() -> None:
    network = KiT(assumptions=KiTAssumptions(width=4))
    groups = patch_groups(network, torch.rand(1, 3, 64, 128))
    assert groups.grid == (8, 16) and groups.patch_size == (8, 8) and groups.partners.shape == (4, 128, 8)
    assert groups.box(17) == (8, 8, 16, 16)
    picture = draw_groups(np.zeros((64, 128, 3), np.uint8), groups, [17])
    marked = picture.any(axis=2)
    for member in groups.partners[0, 17, :4]:
        top, left, bottom, right = groups.box(int(member))
        assert marked[top, left:right].all() and marked[top:bottom, right - 1].all()
    assert marked.sum() == 28 * len(set(groups.partners[0, 17, :4].tolist()))
    with pytest.raises(HarnessError, match="no patch 128"):
        draw_groups(picture, groups, [128])


def test_heat_map() -> None:
    picture = heat_map(np.array([[0.0, 1.0], [2.0, 3.0]]), size=(4, 6))
    assert picture.shape == (4, 6, 3) and picture.dtype == np.uint8
    assert picture[0, 0].tolist() == [0, 0, 0] and picture[3, 5].tolist() == [255, 255, 255]
    assert picture[0, 5].tolist() == [255, 0, 0] and picture[3, 0].tolist() == [255, 255, 0]
    assert not heat_map(np.ones((2, 2))).any()
    with pytest.raises(HarnessError, match="heat map"):
        heat_map(np.ones(3))
