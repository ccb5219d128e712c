"""NBNet: the printed size, and what a projection on a subspace is.

The release is MegEngine and no outputs of it are at hand. Checked: the paper's number of parameters (13.31 million),
names and shapes by model.py of MegEngine/NBNet, and what a projection is: idempotent, it keeps what the basis spans,
and what it takes off is at right angles to that.
"""

from __future__ import annotations

import pytest
import torch
from golden_systems import check_full_size, generated_state
from torch import Tensor

from harness.networks.checkpoints import load_released
from harness.networks.measure import parameter_count
from harness.networks.nbnet import NBNet, from_megengine, project


def test_full_size() -> None:
    with torch.device("meta"):
        network = NBNet()
    assert parameter_count(network) == 13_309_251
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    assert len(shapes) == 174
    for name, shape in {
        "down_path.0.block.0.weight": (32, 3, 3, 3),
        "down_path.3.downsample.weight": (256, 256, 4, 4),
        "down_path.4.shortcut.bias": (512,),
        "up_path.0.up.weight": (512, 256, 2, 2),
        "up_path.0.subnet.blocks.0.block.2.weight": (16, 16, 3, 3),
        "up_path.0.skip_m.blocks.1.block.0.weight": (256, 128, 3, 3),
        "up_path.3.skip_m.blocks.3.shortcut.weight": (32, 128, 1, 1),
        "up_path.3.subnet.shortcut.weight": (16, 64, 1, 1),
        "up_path.3.conv_block.shortcut.weight": (32, 64, 1, 1),
        "last.weight": (3, 32, 3, 3),
    }.items():
        assert shapes[name] == shape
    # One more block on the skip at each level of the way up, but never fewer than two.
    counts = [len({n.split(".")[4] for n in shapes if n.startswith(f"up_path.{i}.skip_m.blocks.")}) for i in range(4)]
    assert counts == [2, 2, 3, 4]
    check_full_size(NBNet)


def matrix(maps: Tensor) -> Tensor:
    return maps.flatten(2)[0].T


def test_the_projection_is_one() -> None:
    basis = torch.rand(1, 5, 6, 7, dtype=torch.float64)
    features = torch.rand(1, 9, 6, 7, dtype=torch.float64)
    found = project(features, basis)
    torch.testing.assert_close(project(found, basis), found)
    rest = matrix(features - found)
    torch.testing.assert_close(matrix(basis).T @ rest, torch.zeros(5, 9, dtype=torch.float64), atol=1e-9, rtol=0)
    spanned = torch.einsum("ck,bkhw->bchw", torch.rand(3, 5, dtype=torch.float64), basis)
    torch.testing.assert_close(project(spanned, basis), spanned)


def test_the_projection_is_equation_2() -> None:
    basis, features = torch.rand(2, 4, 5, 5), torch.rand(2, 3, 5, 5)
    v = basis.flatten(2).transpose(1, 2).double()
    p = v @ torch.linalg.inv(v.transpose(1, 2) @ v) @ v.transpose(1, 2)
    expected = (p @ features.flatten(2).transpose(1, 2).double()).transpose(1, 2).reshape(2, 3, 5, 5)
    torch.testing.assert_close(project(features, basis).double(), expected, rtol=1e-5, atol=1e-6)


def test_more_vectors_than_pixels_change_nothing() -> None:
    features = torch.rand(1, 3, 2, 2)
    torch.testing.assert_close(project(features, torch.rand(1, 16, 2, 2)), features, rtol=1e-4, atol=1e-5)


def test_samples_that_are_no_numbers_reach_the_result_and_no_other_image() -> None:
    """So that it is refused, as with every network; pinv alone fails with an error of its own."""
    basis, features = torch.rand(2, 4, 5, 5, requires_grad=True), torch.rand(2, 3, 5, 5)
    expected = project(features, basis)
    for value in (torch.nan, torch.inf):
        with torch.no_grad():
            basis[0, 1, 2, 3] = value
        found = project(features, basis)
        assert found[0].isnan().all() and found[1].equal(expected[1])
        found.sum().backward()


@pytest.mark.parametrize("size", [(16, 16), (32, 48)])
def test_small_images(size: tuple[int, int]) -> None:
    torch.manual_seed(2)
    network = NBNet(wf=4)
    image = torch.rand(1, 3, *size)
    result = network(image)
    assert result.shape == image.shape
    result.mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_megengines_biases_lose_three_axes() -> None:
    network = NBNet(wf=4)
    state = generated_state(network)
    saved = {name: value[None, :, None, None] if name.endswith("bias") else value for name, value in state.items()}
    load_released(network, from_megengine(saved), "a test")
    assert torch.equal(network.last.bias, state["last.bias"])
