"""DBPN against the authors' PyTorch program on generated weights, and its sizes against the Caffe program's."""

from __future__ import annotations

import pytest
import torch
from golden_systems import check_full_size, check_size, check_system
from torch import nn

from harness.errors import HarnessError
from harness.networks.dbpn import DBPN
from harness.networks.measure import parameter_count


@pytest.mark.parametrize(("name", "scale", "stages"), [("dbpn_x2", 2, 7), ("dbpn_x4", 4, 7), ("dbpn_v1_x4", 4, 10)])
def test_golden(name: str, scale: int, stages: int) -> None:
    check_system(name, DBPN(scale, stages, base_filter=16, feat=32), lambda network, x: {"output": network(x)})
    check_size(name, lambda: DBPN(scale, stages))


def test_full_size() -> None:
    check_full_size(lambda: DBPN(2), scale=2)


@pytest.mark.parametrize(("scale", "parameters"), [(2, 5_953_526), (4, 10_426_358)])
def test_as_large_as_in_caffe(scale: int, parameters: int) -> None:
    """Parameters and PReLUs counted in the Caffe program's prototxt: 51 with one slope each (`channel_shared`)."""
    with torch.device("meta"):
        network = DBPN(scale)
    slopes = [layer.num_parameters for layer in network.modules() if isinstance(layer, nn.PReLU)]
    assert slopes == [1] * 51 and parameter_count(network) == parameters


@pytest.mark.parametrize(("scale", "size"), [(2, (1, 1)), (4, (5, 3)), (8, (2, 7))])
def test_any_size(scale: int, size: tuple[int, int]) -> None:
    network = DBPN(scale, num_stages=3, base_filter=4, feat=8).eval()
    with torch.no_grad():
        assert network(torch.rand(2, 3, *size)).shape == (2, 3, scale * size[0], scale * size[1])


def test_no_x3() -> None:
    with pytest.raises(HarnessError, match="by 2, 4 or 8, not by 3"):
        DBPN(3)
