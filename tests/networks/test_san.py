"""SAN against the authors' program on generated weights, and its attention by its definitions."""

from __future__ import annotations

import pytest
import torch
from golden_systems import check_full_size, check_size, check_system, generated_state

from harness.networks.checkpoints import load_released
from harness.networks.san import SAN, SOCA, RegionNonLocal, covariance, matrix_sqrt


def small(scale: int = 2) -> SAN:
    return SAN(scale, n_resgroups=2, n_resblocks=2, n_feats=32, reduction=8)


def test_golden() -> None:
    check_system("san_x2", small(), lambda network, x: {"output": network(x)}, rgb_range=255)


@pytest.mark.parametrize("scale", [2, 4])
def test_size(scale: int) -> None:
    check_size(f"san_x{scale}", lambda: SAN(scale))


def test_full_size() -> None:
    check_full_size(lambda: SAN(2), scale=2)


def test_covariance_and_its_root() -> None:
    torch.manual_seed(0)
    x = torch.rand(2, 5, 6, 7, dtype=torch.float64)
    matrix = covariance(x)
    torch.testing.assert_close(matrix[1], torch.cov(x[1].flatten(1), correction=0))
    values, vectors = torch.linalg.eigh(matrix)
    exact = vectors @ values.sqrt().diag_embed() @ vectors.transpose(1, 2)
    torch.testing.assert_close(matrix_sqrt(matrix, 20), exact)
    # Five iterations, as in the program, stop short of it.
    error = (matrix_sqrt(matrix) - exact).norm() / exact.norm()
    assert 1e-4 < error < 0.2


def test_flat_features_have_no_attention_and_no_nan() -> None:
    flat = torch.ones(1, 16, 8, 8, requires_grad=True)
    gate = SOCA(16, 4)
    result = gate(flat)
    result.sum().backward()
    assert torch.isfinite(result).all() and flat.grad is not None and torch.isfinite(flat.grad).all()


def test_only_the_middle_counts_for_the_covariance() -> None:
    torch.manual_seed(0)
    gate = SOCA(4, 2)
    wide = torch.rand(1, 4, 2, 1010)
    other = wide.clone()
    other[..., :5] += 1
    with torch.no_grad():
        torch.testing.assert_close(gate(other)[..., 5:], gate(wide)[..., 5:])
        assert not torch.allclose(gate(wide + torch.arange(1010) / 500), gate(wide))


def test_quarters_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    module = RegionNonLocal(16, 2)
    torch.nn.init.normal_(module.non_local.W.weight)
    x = torch.rand(1, 16, 9, 7)
    changed = x.clone()
    changed[..., 0, 0] += 1
    with torch.no_grad():
        differs = (module(x) != module(changed)).any(1)[0]
    assert differs[:4, :3].any() and not differs[4:].any() and not differs[:, 3:].any()


@pytest.mark.parametrize("size", [(1, 1), (3, 9), (4, 4), (13, 6)])
def test_any_size(size: tuple[int, int]) -> None:
    with torch.no_grad():
        result = small(3).eval()(torch.rand(2, 3, *size) * 255)
    assert result.shape == (2, 3, 3 * size[0], 3 * size[1]) and torch.isfinite(result).all()


def test_what_the_program_never_uses_is_not_trained() -> None:
    network = small()
    network(torch.rand(1, 3, 8, 8) * 255).mean().backward()
    without = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    unused = ("conv_last.", "non_local.soca.", "RG.0.gamma", "RG.1.gamma", "sub_mean.", "add_mean.")
    assert without == {name for name, _ in network.named_parameters() if name.startswith(unused)}
    assert without == {name for name, parameter in network.named_parameters() if not parameter.requires_grad}


def test_drifted_mean_shifts_of_a_checkpoint_are_taken() -> None:
    """The program freezes them by an attribute of the module, which freezes nothing."""
    network = small()
    state = generated_state(network)
    state["sub_mean.bias"] = state["sub_mean.bias"] * 1.004
    state["add_mean.weight"] = state["add_mean.weight"] + 0.002
    load_released(network, state, "a test")
    assert torch.equal(network.state_dict()["sub_mean.bias"], state["sub_mean.bias"])
