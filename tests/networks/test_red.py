"""RED30 as its released definition (``REDNet_ch1.prototxt``) has it: sums, names, size, and what a zero network does.

Interpreted node by node, the description of the converted network in WolframRhodium/Super-Resolution-Zoo
(``RED30_denoise_10-symbol.json``) gives the same in float64 to the last bit.
"""

from __future__ import annotations

import torch
from golden_systems import check_full_size
from torch import Tensor
from torch.nn import functional

from harness.networks.measure import parameter_count
from harness.networks.red import RED30


def by_definition(state: dict[str, Tensor], image: Tensor) -> Tensor:
    """The definition, layer by layer, with the ReLU behind each sum."""

    def conv(number: int, x: Tensor) -> Tensor:
        return functional.conv2d(x, state[f"conv{number}.weight"], state[f"conv{number}.bias"], padding=1)

    def deconv(number: int, x: Tensor) -> Tensor:
        weight, bias = state[f"deconv{number}.weight"], state[f"deconv{number}.bias"]
        return functional.conv_transpose2d(x, weight, bias, padding=1)

    c = {0: image}
    for number in range(1, 16):
        c[number] = conv(number, c[number - 1]).relu()
    x = c[15]
    for number, skip in zip(range(1, 15, 2), (14, 12, 10, 8, 6, 4, 2), strict=True):
        x = (deconv(number, x).relu() + c[skip]).relu()
        x = deconv(number + 1, x).relu()
    return image + deconv(15, x)


def test_the_layers_are_those_of_the_definition() -> None:
    torch.manual_seed(1)
    network = RED30(8).double().eval()
    state = network.state_dict()
    kinds = ("weight", "bias")
    assert set(state) == {f"{k}conv{n}.{kind}" for k in ("", "de") for n in range(1, 16) for kind in kinds}
    image = torch.rand(2, 1, 17, 13, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(network(image), by_definition(state, image), rtol=1e-12, atol=1e-12)


def test_the_printed_number_is_that_of_the_filters() -> None:
    """RNAN Table 7 and PANet Table 4 print 4,131 K."""
    with torch.device("meta"):
        network = RED30()
    filters = sum(p.numel() for p in network.parameters() if p.ndim == 4)
    assert filters == 2 * 9 * 128 + 28 * 9 * 128**2 == 4_131_072
    assert parameter_count(network) == filters + 29 * 128 + 1 == 4_134_785


def test_full_size() -> None:
    check_full_size(RED30, channels=1)


def test_a_network_of_zeros_changes_nothing() -> None:
    network = RED30(4).eval()
    for parameter in network.parameters():
        torch.nn.init.zeros_(parameter)
    image = torch.rand(1, 1, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(network(image), image, rtol=0, atol=0)
