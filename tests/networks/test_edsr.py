from __future__ import annotations

import pytest
import torch
from golden_recipe import check_case
from golden_systems import check_full_size

from harness.errors import HarnessError
from harness.networks.edsr import EDSR, PAEDSR
from harness.networks.measure import parameter_count
from harness.networks.pyramid_attention import PyramidAttention


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_golden(golden, scale: int) -> None:
    check_case(golden, f"paedsr_b2_x{scale}", PAEDSR(scale, n_resblocks=2))


@pytest.mark.parametrize(("scale", "count"), [(2, 40_811_870), (3, 43_762_270), (4, 43_172_190)])
def test_parameter_counts(scale: int, count: int) -> None:
    with torch.device("meta"):
        assert parameter_count(PAEDSR(scale)) == count
        attention = parameter_count(PyramidAttention(channel=256, reduction=8))
        # The attention stands in the state twice and counts once.
        assert parameter_count(EDSR(scale)) == count - attention


@pytest.mark.parametrize("kind", [EDSR, PAEDSR])
def test_output_size_and_state(kind: type[EDSR]) -> None:
    network = kind(3, n_resblocks=2, n_feats=8)
    assert network(torch.rand(2, 3, 5, 4)).shape == (2, 3, 15, 12)
    keys = network.state_dict().keys()
    assert ("body.1.escape_NaN" in keys) == ("msa.escape_NaN" in keys) == (kind is PAEDSR)


def test_refusals() -> None:
    with pytest.raises(HarnessError, match="no super-resolution network for x5"):
        EDSR(5, n_resblocks=2, n_feats=4)
    with pytest.raises(HarnessError, match="must be even"):
        PAEDSR(2, n_resblocks=3, n_feats=4)


def test_full_size() -> None:
    check_full_size(lambda: EDSR(2, rgb_range=255), scale=2)
