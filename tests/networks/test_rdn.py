"""RDN against SRFBN's PyTorch copy of it: outputs on generated weights, the full sizes' keys and counts.

The authors' own release is Torch7 (RDN_TrainCode/code/model/RDN.lua), which was read for sizes, order, range and mean.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from foreign_formats import torch7_rdn
from golden_systems import SIZES, check_full_size, check_size, check_system, generated_state

from harness.assets.weights.importers import import_weights
from harness.errors import HarnessError
from harness.networks.checkpoints import load_released
from harness.networks.measure import parameter_count
from harness.networks.rdn import RDN, from_torch7


def test_golden() -> None:
    network = RDN(2, n_blocks=4, n_layers=4, n_feats=32, mean_shift=False)
    check_system("rdn_x2", network, lambda network, x: {"output": network(x)})


@pytest.mark.parametrize("scale", [2, 4])
def test_released_sizes(scale: int) -> None:
    check_size(f"rdn_x{scale}", lambda: RDN(scale, mean_shift=False))


@pytest.mark.parametrize(("scale", "count"), [(2, 22_123_419), (3, 22_308_059), (4, 22_271_131)])
def test_counts(scale: int, count: int) -> None:
    """The mean shifts are 24 numbers; SRFBN's Table prints 22.3M for x4."""
    with torch.device("meta"):
        assert parameter_count(RDN(scale)) == count
    assert scale == 3 or SIZES[f"rdn_x{scale}"]["parameters"] == count - 24


def test_full_size() -> None:
    check_full_size(lambda: RDN(2), scale=2, side=64)


def test_the_mean_is_taken_off_and_put_back() -> None:
    torch.manual_seed(0)
    with_shift = RDN(3, n_blocks=2, n_layers=2, n_feats=8)
    without = RDN(3, n_blocks=2, n_layers=2, n_feats=8, mean_shift=False)
    assert not without.load_state_dict(with_shift.state_dict(), strict=False).missing_keys
    x = torch.rand(1, 3, 7, 9) * 255
    mean = 255 * torch.tensor([0.4488, 0.4371, 0.4040]).view(1, 3, 1, 1)
    torch.testing.assert_close(with_shift(x), without(x - mean) + mean, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("scale", [2, 4])
def test_the_authors_models_of_torch7(tmp_path: Path, scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In full depth, so that the nesting is that of the release; with few channels."""
    monkeypatch.setattr(RDN.__init__, "__defaults__", (16, 8, 4, True))
    state = generated_state(RDN(scale))
    path = tmp_path / "model.t7"
    path.write_bytes(torch7_rdn({name: value.numpy() for name, value in state.items()}, 16, 8))
    tensors = {name: torch.from_numpy(array) for name, array in import_weights(path, "torch7").items()}
    found = from_torch7(tensors, scale, "a test")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[name], state[name]) for name in state)
    load_released(RDN(scale), found, "a test")
    with pytest.raises(HarnessError, match=f"has {len(tensors) // 2 - 1} convolutions"):
        from_torch7({k: v for k, v in tensors.items() if not k.startswith("3.")}, scale, "a test")
    with pytest.raises(HarnessError, match="the bias of convolution 5 is not of the shape"):
        from_torch7(tensors | {"5.bias": torch.zeros(3)}, scale, "a test")
