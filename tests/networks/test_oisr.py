"""OISR against the authors' program on generated weights, and its sizes against its paper's Tables 2 and 3."""

from __future__ import annotations

import pytest
import torch
from golden_systems import check_full_size, check_size, check_system
from torch import nn

from harness.networks.measure import parameter_count
from harness.networks.oisr import OISR, HeunBlock, LeapfrogBlock, RK3Block, oisr


@pytest.mark.parametrize(("name", "scheme"), [("oisr_rk3", "rk3"), ("oisr_lfs", "lf"), ("oisr_rk2s", "rk2")])
def test_golden(name: str, scheme: str) -> None:
    check_system(name, OISR(2, scheme, 3, 32), lambda network, x: {"output": network(x)}, rgb_range=255)


@pytest.mark.parametrize(("name", "model"), [("oisr_rk3", "rk3"), ("oisr_lfs", "lf-s"), ("oisr_rk2s", "rk2-s")])
def test_size(name: str, model: str) -> None:
    check_size(name, lambda: oisr(model, 2))


@pytest.mark.parametrize(
    ("model", "scale", "printed"),
    # Table 3 of the paper, and the README's table of models.
    [
        *[("rk3", scale, printed) for scale, printed in ((2, 41.91), (3, 44.86), (4, 44.27))],
        *[(model, 4, 1.52) for model in ("lf-s", "rk2-s")],
        *[(model, 4, 5.50) for model in ("lf-m", "rk2-m")],
    ],
)
def test_printed_sizes_are_of_the_convolutions_alone(model: str, scale: int, printed: float) -> None:
    with torch.device("meta"):
        network = oisr(model, scale)
    convolutions = sum(parameter_count(layer) for layer in network.modules() if isinstance(layer, nn.Conv2d))
    assert round(convolutions / 1e6, 2) == printed


def test_full_size() -> None:
    check_full_size(lambda: oisr("rk3", 2), scale=2)


def test_blocks_are_the_schemes() -> None:
    """On y' = a y, whose G is a PReLU of slope one and a convolution that multiplies by a."""

    def block(kind: type[nn.Module], a: float) -> nn.Module:
        made = kind(1).double()
        for name, parameter in made.named_parameters():
            if name.startswith("relu"):
                nn.init.ones_(parameter)
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            if name.startswith("conv") and name.endswith("weight"):
                nn.init.zeros_(parameter)
                parameter.data[0, 0, 1, 1] = a
        return made

    y = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    with torch.no_grad():
        # Third order: the series of exp(a) to the third power.
        assert block(RK3Block, 0.5)(y).item() == pytest.approx(1 + 0.5 + 0.5**2 / 2 + 0.5**3 / 6, rel=1e-6)
        # Heun, with a G that multiplies by a twice.
        assert block(HeunBlock, 0.5)(y).item() == pytest.approx(1 + 0.25 + 0.25**2 / 2)
        # Each leapfrog step starts from the value before the last, the very first one from nothing.
        first = 2 * 0.5
        second = 2 * 0.5 * first + 1
        third = 2 * 0.5 * second + first
        assert block(LeapfrogBlock, 0.5)(y).item() == pytest.approx(2 * 0.5 * third + second)
