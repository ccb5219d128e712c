"""SRMDNF: the paper's twelve layers of 128 features, told the code of a kernel.

The number of parameters is that of the half-precision files that others converted (nihui/srmd-ncnn-vulkan: 3,023,968
bytes at x2), which this network has run: 37.72 dB on Set5 at x2, printed are 37.79. The authors' own files were not at
hand.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from golden_systems import check_full_size

from harness.networks.measure import parameter_count
from harness.networks.srmd import SRMD, delta_kernel, from_matconvnet


@pytest.mark.parametrize(("scale", "count"), [(2, 1_510_540), (3, 1_527_835), (4, 1_552_048)])
def test_full_size(scale: int, count: int) -> None:
    check_full_size(lambda: SRMD(scale), scale=scale)
    assert parameter_count(SRMD(scale)) == count


def test_the_delta_kernel() -> None:
    kernel = delta_kernel()
    # fspecial('gaussian', 15, 0.2): a neighbour has exp(-12.5) of the middle.
    assert kernel.shape == (15, 15) and kernel.sum() == pytest.approx(1)
    assert kernel[7, 8] / kernel[7, 7] == pytest.approx(np.exp(-12.5)) and np.count_nonzero(kernel) == 9


def test_the_code_is_what_the_basis_makes_of_the_kernel() -> None:
    made = SRMD(2)
    arrays = {key: value for key, value in made.state_dict().items() if key != "kernel_code"}
    basis = torch.randn(15, 225)
    state = from_matconvnet(arrays | {"meta.P": basis}, 2, "a test")
    wanted = basis.double().numpy() @ delta_kernel().T.ravel()  # MATLAB's order of the samples
    torch.testing.assert_close(state["kernel_code"].double(), torch.from_numpy(wanted), rtol=1e-5, atol=1e-6)


def test_the_code_is_seen_everywhere() -> None:
    torch.manual_seed(0)
    network = SRMD(3).eval()
    image = torch.rand(1, 3, 4, 5)
    with torch.no_grad():
        before = network(image)
        network.get_buffer("kernel_code").fill_(1.0)
        after = network(image)
    assert before.shape == (1, 3, 12, 15) and (before != after).all()
