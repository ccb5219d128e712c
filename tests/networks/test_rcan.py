"""RCAN: the counts of its release, the structure of its code, and spandrel's network of the same keys.

No outputs of the authors' code are at hand; spandrel reads their checkpoints and builds the network anew.
"""

from __future__ import annotations

import pytest
import torch
from golden_recipe import input_of, relative
from golden_systems import check_full_size, generated_state

from harness.errors import HarnessError, NotAvailableError
from harness.inference import chop, chop_rule
from harness.networks.measure import parameter_count
from harness.networks.rcan import RCAN
from harness.networks.recognition import _import_spandrel


@pytest.mark.parametrize(("scale", "count"), [(2, 15_444_667), (3, 15_629_307), (4, 15_592_379)])
def test_counts(scale: int, count: int) -> None:
    """RNAN's text prints 16 M."""
    with torch.device("meta"):
        assert parameter_count(RCAN(scale)) == count


def test_full_size() -> None:
    check_full_size(lambda: RCAN(2), scale=2)


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_it_is_spandrels_network(scale: int) -> None:
    try:
        _import_spandrel()
    except NotAvailableError as missing:
        pytest.skip(str(missing))
    from spandrel import architectures

    own = RCAN(scale, n_resgroups=2, n_resblocks=3, n_feats=32, reduction=8).eval()
    other = architectures.RCAN.RCAN(scale=scale, n_resgroups=2, n_resblocks=3, n_feats=32, reduction=8).eval()
    state = generated_state(own)
    assert {key: value.shape for key, value in other.state_dict().items()} == {k: v.shape for k, v in state.items()}
    own.load_state_dict(state)
    other.load_state_dict(state)
    x = input_of("rcan", [1, 3, 14, 18], 255)
    with torch.inference_mode():
        # Spandrel's takes and gives [0, 1].
        assert relative(own(x).numpy(), other(x / 255).numpy() * 255) < 1e-6


def test_the_attention_sees_all_of_its_input() -> None:
    """So tiles are another network than the whole image, however far they overlap."""
    torch.manual_seed(0)
    network = RCAN(2, n_resgroups=1, n_resblocks=2, n_feats=16, reduction=2).eval()
    x = torch.rand(1, 3, 90, 90) * 255
    other = x.clone()
    other[..., 60:, 60:] = 0
    with torch.inference_mode():
        whole, tiles = network(x), chop(network, x, chop_rule("rcan"), scale=2)
        assert (network(other)[..., :40, :40] - whole[..., :40, :40]).abs().max() > 1e-4
        assert (chop(network, other, chop_rule("rcan"), scale=2) - tiles)[..., :40, :40].abs().max() == 0
        assert (tiles - whole).abs().max() > 1e-4


def test_refusal() -> None:
    with pytest.raises(HarnessError, match="no super-resolution network for x8"):
        RCAN(8)
