"""SRN and PSS-NSC: no outputs of their TensorFlow 1 programs are at hand.

They are held to the variables of the released checkpoints (number, names and shapes, read from `deblur.model-523000` of
the model lstm and `deblur_model` of the model default), to TensorFlow's rules for padding, resizing and transposed
convolutions, written out pixel by pixel, and to the structure of the papers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from golden_systems import check_full_size, generated_state
from torch import nn

from harness.errors import HarnessError
from harness.networks.measure import parameter_count
from harness.networks.pss_nsc import PSSNSC, PSSNestedSkips, pss_nsc_state
from harness.networks.srn import SRN, SRNConvLSTM, srn_state
from harness.networks.tensorflow_layers import SameConv, as_colour, as_gray, doubled, doubling, halved

Variables = Iterator[tuple[str, tuple[int, ...]]]


def layer(name: str, *shape: int) -> Variables:
    """Filters as the checkpoint has them; a transposed convolution's have its outputs before its inputs."""
    transposed = len(shape) == 4 and shape[0] == 4
    yield f"g_net/{name}/weights", shape
    yield f"g_net/{name}/biases", (shape[2] if transposed else shape[3],)


def srn_variables() -> Variables:
    inputs = 2
    for level, width in ((1, 32), (2, 64), (3, 128)):
        yield from layer(f"enc{level}_1", 5, 5, inputs, width)
        for block in (f"enc{level}_2", f"enc{level}_3", f"enc{level}_4", *(f"dec{level}_{n}" for n in (1, 2, 3))):
            for name in ("conv1", "conv2"):
                yield from layer(f"{block}/{name}", 5, 5, width, width)
        if level > 1:
            yield from layer(f"dec{level - 1}_4", 4, 4, inputs, width)
        inputs = width
    yield from layer("convLSTM/LSTM_conv", 3, 3, 256, 512)
    yield from layer("dec1_0", 5, 5, 32, 1)


def pss_nsc_variables() -> Variables:
    inputs = 2
    for level, width in ((1, 32), (2, 64), (3, 128)):
        for block in (f"enc{level}_2", f"dec{level}_2"):
            for pair in ("d1", "d2", "d3", "d4"):
                for name in ("conv1", "conv2"):
                    yield from layer(f"{block}/{pair}/{name}", 3, 3, width, width)
        for scale in range(3):
            yield from layer(f"enc{level}_1_{scale}", 3, 3, inputs, width)
            if level > 1:
                yield from layer(f"dec{level - 1}_3_{scale}", 4, 4, inputs, width)
        inputs = width
    for scale in range(3):
        yield from layer(f"dec1_0_{scale}", 3, 3, 32, 1)


@pytest.mark.parametrize(
    ("make", "variables", "convert", "count", "numbers"),
    [(SRN, srn_variables, srn_state, 86, 8056609), (PSSNSC, pss_nsc_variables, pss_nsc_state, 132, 3871715)],
)
def test_the_variables_of_the_release(make, variables, convert, count: int, numbers: int) -> None:  # type: ignore[no-untyped-def]
    with torch.device("meta"):
        network = make()
        # As the reader gives them: with PyTorch's axes.
        stored = {n: torch.empty([s[i] for i in (3, 2, 0, 1)] if len(s) == 4 else s) for n, s in variables()}
    assert len(stored) == count and parameter_count(network) == numbers
    state = convert(stored | {"Variable": torch.zeros(())}, "x")
    own = network.state_dict()
    assert {key: value.shape for key, value in state.items()} == {key: value.shape for key, value in own.items()}
    with pytest.raises(HarnessError, match="x: no variable is in the scope 'g_net'"):
        convert({"generator/a/weights": torch.zeros(1)}, "x")


@pytest.mark.parametrize(("kernel", "stride", "side"), [(5, 1, 6), (5, 2, 8), (3, 2, 8), (3, 2, 7), (5, 2, 7)])
def test_padding_is_tensorflows(kernel: int, stride: int, side: int) -> None:
    """SAME: ceil(n / s) outputs; of the pixels that are missing, the smaller half lies before."""
    conv = SameConv(1, 1, kernel, stride).double()
    weight, (bias,) = conv.weight.detach(), conv.bias.detach()
    x = torch.rand(1, 1, side, side + 2, dtype=torch.float64)
    with torch.no_grad():
        found = conv(x)[0, 0]
    outputs = [-(-n // stride) for n in (side, side + 2)]
    assert list(found.shape) == outputs
    before = [max((o - 1) * stride + kernel - n, 0) // 2 for o, n in zip(outputs, (side, side + 2), strict=True)]
    for i in range(outputs[0]):
        for j in range(outputs[1]):
            total = float(bias)
            for a in range(kernel):
                for b in range(kernel):
                    y, z = i * stride - before[0] + a, j * stride - before[1] + b
                    if 0 <= y < side and 0 <= z < side + 2:
                        total += float(weight[0, 0, a, b] * x[0, 0, y, z])
            assert float(found[i, j]) == pytest.approx(total, abs=1e-12)


def test_a_transposed_convolution_is_the_gradient_of_a_same_convolution() -> None:
    """TensorFlow defines conv2d_transpose so; 4x4 with stride 2 then takes one pixel off each side."""
    up = doubling(3, 2).double()
    down = SameConv(2, 3, 4, 2).double()
    with torch.no_grad():
        up.bias.zero_()
        down.weight.copy_(up.weight)
    small = torch.rand(1, 3, 5, 6, dtype=torch.float64)
    large = torch.rand(1, 2, 10, 12, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(down(large), large, small)
    torch.testing.assert_close(up(small), gradient)


def test_resizing_is_tensorflow_1s() -> None:
    """Output pixel i lies at i * in / out, with no half pixel; the last pixel is repeated."""
    x = np.random.default_rng(0).random((4, 6))

    def resize(image: np.ndarray, height: int, width: int) -> np.ndarray:
        out = np.empty((height, width))
        for i in range(height):
            for j in range(width):
                y, z = i * image.shape[0] / height, j * image.shape[1] / width
                a, b = int(y), int(z)
                c, d = min(a + 1, image.shape[0] - 1), min(b + 1, image.shape[1] - 1)
                top = image[a, b] + (image[a, d] - image[a, b]) * (z - b)
                bottom = image[c, b] + (image[c, d] - image[c, b]) * (z - b)
                out[i, j] = top + (bottom - top) * (y - a)
        return out

    tensor = torch.from_numpy(x)[None, None]
    np.testing.assert_allclose(doubled(tensor)[0, 0].numpy(), resize(x, 8, 12), atol=1e-15)
    np.testing.assert_allclose(halved(tensor)[0, 0].numpy(), resize(x, 2, 3), atol=1e-15)
    large = np.random.default_rng(1).random((8, 12))
    np.testing.assert_allclose(halved(torch.from_numpy(large)[None, None], 2)[0, 0].numpy(), resize(large, 2, 3))


def test_colours_are_gray_images() -> None:
    x = torch.rand(2, 3, 4, 5)
    gray = as_gray(x)
    assert gray.shape == (6, 1, 4, 5) and torch.equal(gray[4, 0], x[1, 1])
    assert torch.equal(as_colour(gray), x)


@pytest.mark.parametrize("make", [SRN, PSSNSC])
def test_full_size(make: type[nn.Module]) -> None:
    output = check_full_size(make)
    assert output.std() > 0


@pytest.mark.parametrize("make", [SRN, PSSNSC])
def test_channels_alone_and_images_on_their_side(make: type[nn.Module]) -> None:
    network = make().eval()
    network.load_state_dict(generated_state(network))
    x = torch.rand(1, 3, 16, 32)
    with torch.inference_mode():
        restored = network(x)
        assert restored.shape == x.shape
        changed = x.clone()
        changed[:, 1] += 0.1
        same = [torch.equal(a, b) for a, b in zip(network(changed)[0], restored[0], strict=True)]
        assert same == [True, False, True]
        upright = x.transpose(2, 3).contiguous()
        torch.testing.assert_close(network(upright).transpose(2, 3), restored)
        scales = network.restore_scales(as_gray(x))
    assert [tuple(scale.shape) for scale in scales] == [(3, 1, 4, 8), (3, 1, 8, 16), (3, 1, 16, 32)]


def test_the_lstm_remembers() -> None:
    """Gates in the order of BasicConvLSTMCell: input, candidate, forget (bias 1), output."""
    lstm = SRNConvLSTM(1)
    with torch.no_grad():
        lstm.LSTM_conv.weight.zero_()
        lstm.LSTM_conv.bias.copy_(torch.tensor([0.5, -0.25, 2.0, 1.5]))
        cell, hidden = lstm(torch.rand(1, 1, 2, 2), torch.full((1, 1, 2, 2), 3.0), torch.rand(1, 1, 2, 2))
    sigmoid = torch.sigmoid(torch.tensor([0.5, 3.0, 1.5]))
    expected = 3 * sigmoid[1] + sigmoid[0] * torch.tanh(torch.tensor(-0.25))
    torch.testing.assert_close(cell, expected.expand(1, 1, 2, 2))
    torch.testing.assert_close(hidden, (torch.tanh(expected) * sigmoid[2]).expand(1, 1, 2, 2))


def test_nested_skips_see_the_sum_of_all_before() -> None:
    module = PSSNestedSkips(2)
    x = torch.rand(1, 2, 5, 5)
    with torch.no_grad():
        d1 = module.d1(x)
        d2 = module.d2(x + d1)
        d3 = module.d3(x + d1 + d2)
        d4 = module.d4(x + d1 + d2 + d3)
        torch.testing.assert_close(module(x), x + d1 + d2 + d3 + d4)


def test_pss_nsc_adds_its_input_at_every_scale() -> None:
    network = PSSNSC().eval()
    with torch.inference_mode():
        for parameter in network.parameters():
            parameter.zero_()
        x = torch.rand(1, 1, 16, 16)
        for times, image in zip((2, 1, 0), network.restore_scales(x), strict=True):
            assert torch.equal(image, halved(x, times))
        assert torch.equal(network(x.expand(1, 3, 16, 16)), x.expand(1, 3, 16, 16))
