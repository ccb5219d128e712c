"""The competitors' networks against direct references in float64, on small random weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import correlate

from harness.errors import HarnessError
from harness.networks.arcnn import ARCNN
from harness.networks.dncnn import DnCNN
from harness.networks.ffdnet import FFDNet, column_order
from harness.networks.ffdnet import from_matconvnet as ffdnet_from_matconvnet
from harness.networks.ircnn import DILATIONS, IRCNN
from harness.networks.lapsrn import ImageUp, LapSRN, enlarge_colour, from_dagnn
from harness.networks.prenet import PReNet, from_state_dict
from harness.networks.srmd import SRMD, delta_kernel
from harness.networks.srmd import from_matconvnet as srmd_from_matconvnet
from harness.networks.tnrd import (
    TNRDDeblocker,
    TNRDDenoiser,
    dct_filters,
    dct_matrix,
    forward_dct,
    influence_tables,
    inverse_dct,
    quantisation_table,
    recover_coefficients,
    released_tnrd,
    symmetric_pad,
)

Array = NDArray[np.float64]


def conv(image: Array, weight: Array, bias: Array, dilation: int = 1, border: str = "constant") -> Array:
    """Convolve (I, H, W) with (O, I, k, k), keeping the size: the definition, one offset at a time."""
    side = weight.shape[2]
    margin = dilation * (side - 1) // 2
    padded = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode=border)  # type: ignore[call-overload]
    height, width = image.shape[1:]
    out = np.zeros((weight.shape[0], height, width)) + bias[:, None, None]
    for row in range(side):
        for column in range(side):
            window = padded[:, row * dilation : row * dilation + height, column * dilation : column * dilation + width]
            out += np.einsum("oi,ihw->ohw", weight[:, :, row, column], window)
    return out


def transposed(image: Array, weight: Array, stride: int) -> Array:
    """Transposed convolution of (I, H, W) with (I, O, k, k), nothing cropped."""
    side, (_, height, width) = weight.shape[2], image.shape
    out = np.zeros((weight.shape[1], stride * (height - 1) + side, stride * (width - 1) + side))
    for row in range(height):
        for column in range(width):
            block = np.einsum("i,ioab->oab", image[:, row, column], weight)
            out[:, row * stride : row * stride + side, column * stride : column * stride + side] += block
    return out


def randomise(network: torch.nn.Module, seed: int = 0) -> dict[str, Array]:
    """Give a network random weights; return them in float64."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * 0.3)
    return {name: tensor.double().numpy() for name, tensor in network.state_dict().items()}


def apply(network: Callable[..., torch.Tensor], image: Array, *arguments: Any) -> Array:
    with torch.inference_mode():
        return network(torch.from_numpy(image).float()[None], *arguments)[0].double().numpy()


def relu(x: Array) -> Array:
    return np.maximum(x, 0)


def leaky(x: Array) -> Array:
    return np.where(x > 0, x, 0.2 * x)


def plain_stack(image: Array, state: Mapping[str, Array], dilations: tuple[int, ...]) -> Array:
    for index, dilation in enumerate(dilations):
        image = conv(image, state[f"convs.{index}.weight"], state[f"convs.{index}.bias"], dilation)
        image = relu(image) if index < len(dilations) - 1 else image
    return image


RNG = np.random.default_rng(3)
GRAY = RNG.uniform(size=(1, 11, 13))
COLOUR = RNG.uniform(size=(3, 9, 14))


# DnCNN, IRCNN, ARCNN ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("image", [GRAY, COLOUR])
def test_dncnn(image: Array) -> None:
    network = DnCNN(len(image), depth=4, features=6)
    state = randomise(network)
    np.testing.assert_allclose(apply(network, image), image - plain_stack(image, state, (1,) * 4), atol=1e-5)


@pytest.mark.parametrize("image", [GRAY, COLOUR])
def test_ircnn(image: Array) -> None:
    network = IRCNN(len(image), features=5)
    state = randomise(network)
    np.testing.assert_allclose(apply(network, image), image - plain_stack(image, state, DILATIONS), atol=1e-4)


def test_arcnn() -> None:
    network = ARCNN()
    state = {name: tensor * 0.2 for name, tensor in randomise(network).items()}
    network.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in state.items()})
    image = GRAY
    for layer in ("extraction", "enhancement", "mapping", "reconstruction"):
        image = conv(image, state[f"{layer}.weight"], state[f"{layer}.bias"], border="edge")
        image = relu(image) if layer != "reconstruction" else image
    np.testing.assert_allclose(apply(network, GRAY), image, rtol=1e-4, atol=1e-4)


# MatConvNet's pixel shuffle ------------------------------------------------------------------------------------------


def matconvnet_shuffle(channels: Array, scale: int) -> Array:
    """Put sub-channels together as ``vl_nnSubP`` defines it: position k is row k mod s, column k div s."""
    count, height, width = channels.shape
    out = np.zeros((count // scale**2, height * scale, width * scale))
    for channel in range(len(out)):
        for position in range(scale**2):
            row, column = position % scale, position // scale
            out[channel, row::scale, column::scale] = channels[channel * scale**2 + position]
    return out


def matconvnet_unshuffle(image: Array, scale: int) -> Array:
    positions = [(k % scale, k // scale) for k in range(scale**2)]
    return np.array([plane[row::scale, column::scale] for plane in image for row, column in positions])


def test_column_order_is_the_documented_one() -> None:
    assert column_order(1, 2) == [0, 2, 1, 3]
    assert column_order(3, 2) == [0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11]
    assert column_order(1, 3) == [0, 3, 6, 1, 4, 7, 2, 5, 8]


@given(channels=st.integers(1, 4), scale=st.integers(1, 5))
def test_column_order_turns_one_shuffle_into_the_other(channels: int, scale: int) -> None:
    order = column_order(channels, scale)
    assert sorted(order) == list(range(channels * scale**2))
    numbered = np.arange(channels * scale**2 * 6, dtype=np.float64).reshape(-1, 2, 3)
    ours = torch.pixel_shuffle(torch.from_numpy(numbered[order])[None], scale)[0].numpy()
    np.testing.assert_array_equal(ours, matconvnet_shuffle(numbered, scale))
    image = np.arange(channels * scale**2 * 4, dtype=np.float64).reshape(channels, 2 * scale, 2 * scale)
    np.testing.assert_array_equal(matconvnet_shuffle(matconvnet_unshuffle(image, scale), scale), image)


@pytest.mark.parametrize("size", [(8, 10), (7, 10), (8, 9), (7, 9), (1, 1)])
@pytest.mark.parametrize("channels", [1, 3])
def test_ffdnet(channels: int, size: tuple[int, int]) -> None:
    image = RNG.uniform(size=(channels, *size))
    network = FFDNet(channels, depth=3, features=6)
    released = randomise(network)  # taken for a released file, in MatConvNet's order
    tensors = {name: torch.from_numpy(array).float() for name, array in released.items()}
    network.load_state_dict(ffdnet_from_matconvnet(tensors, channels, "x"))
    even = np.pad(image, ((0, 0), (0, size[0] % 2), (0, size[1] % 2)), mode="edge")
    planes = matconvnet_unshuffle(even, 2)
    planes = np.concatenate([planes, np.full((1, *planes.shape[1:]), 0.2)])
    expected = matconvnet_shuffle(plain_stack(planes, released, (1,) * 3), 2)[:, : size[0], : size[1]]
    np.testing.assert_allclose(apply(network, image, 0.2), expected, atol=1e-5)


def test_ffdnet_refuses_another_networks_weights() -> None:
    network = FFDNet(1, depth=3, features=6)
    tensors = {name: torch.from_numpy(array).float() for name, array in randomise(network).items()}
    with pytest.raises(HarnessError, match="do not fit 3 channels"):
        ffdnet_from_matconvnet(tensors, 3, "weights x")
    with pytest.raises(HarnessError, match="weights x: "):
        ffdnet_from_matconvnet({}, 1, "weights x")


# SRMDNF -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_srmd(scale: int) -> None:
    network = SRMD(scale, code=2, depth=3, features=5)
    released = randomise(network)
    del released["kernel_code"]
    released["meta.P"] = RNG.normal(size=(2, 225))
    tensors = {name: torch.from_numpy(array).float() for name, array in released.items()}
    network.load_state_dict(srmd_from_matconvnet(tensors, scale, "x"))
    code = released["meta.P"] @ delta_kernel().ravel()
    maps = np.broadcast_to(code[:, None, None], (2, *COLOUR.shape[1:]))
    planes = plain_stack(np.concatenate([COLOUR, maps]), released, (1,) * 3)
    np.testing.assert_allclose(apply(network, COLOUR), matconvnet_shuffle(planes, scale), atol=1e-5)


def test_delta_kernel_is_matlabs() -> None:
    kernel = delta_kernel()
    assert kernel.shape == (15, 15) and kernel.sum() == pytest.approx(1, abs=1e-15)
    # fspecial('gaussian', 15, 0.2): exp(-1 / (2 * 0.04)) beside the centre, before dividing by the sum.
    assert kernel[7, 8] / kernel[7, 7] == pytest.approx(3.7266531720786e-06, rel=1e-12)


def test_srmd_refuses_another_networks_weights() -> None:
    tensors = {name: torch.from_numpy(a).float() for name, a in randomise(SRMD(2, 2, depth=3, features=5)).items()}
    del tensors["kernel_code"]
    with pytest.raises(HarnessError, match=r"the kernel basis net\.meta\.P is missing"):
        srmd_from_matconvnet(tensors, 2, "weights x")
    with pytest.raises(HarnessError, match="does not fit x3"):
        srmd_from_matconvnet({**tensors, "meta.P": torch.zeros(2, 225)}, 3, "weights x")


# LapSRN -------------------------------------------------------------------------------------------------------------


def lapsrn_reference(image: Array, state: Mapping[str, Array], levels: int, depth: int) -> Array:
    features = leaky(conv(image, state["head.weight"], state["head.bias"]))
    for level in range(levels):
        name = f"levels.{level}"
        for layer in range(depth):
            weight, bias = (state[f"{name}.convs.{layer}.{kind}"] for kind in ("weight", "bias"))
            features = leaky(conv(features, weight, bias))
        up = transposed(features, state[f"{name}.up.weight"], 2)[:, :-1, :-1]
        features = leaky(up + state[f"{name}.up.bias"][:, None, None])
        image = transposed(image, state[f"{name}.image_up.weight"], 2)[:, 1:-1, 1:-1]
        image = image + conv(features, state[f"{name}.residual.weight"], state[f"{name}.residual.bias"])
    return image


@pytest.mark.parametrize("levels", [1, 2])
def test_lapsrn(levels: int) -> None:
    network = LapSRN(levels, features=4, depth=2)
    state = randomise(network)
    expected = lapsrn_reference(GRAY, state, levels, 2)
    assert expected.shape == (1, 11 * 2**levels, 13 * 2**levels)
    np.testing.assert_allclose(apply(network, GRAY), expected, atol=1e-4)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (86, 57), (144, 144), (115, 76)])
def test_lapsrn_enlarges_the_image_alike_with_any_number_of_threads(shape: tuple[int, int]) -> None:
    """PyTorch's layer sums in another order with two threads, at some of these sizes."""
    layer = ImageUp()
    plain = torch.nn.ConvTranspose2d(1, 1, 4, stride=2, padding=1, bias=False)
    plain.load_state_dict(layer.state_dict())
    image = torch.rand(1, 1, *shape, generator=torch.Generator().manual_seed(1))
    before = torch.get_num_threads()
    made = []
    try:
        with torch.inference_mode():
            for threads in (1, 2, 4):
                torch.set_num_threads(threads)
                made.append(layer(image))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])
    torch.testing.assert_close(made[0], plain(image), rtol=0, atol=2e-7)


def test_lapsrn_names() -> None:
    network = LapSRN(2, features=2)
    theirs = {"input_conv_f": "head.weight", "input_conv_b": "head.bias"}
    for level, index in (("level2", 0), ("level1", 1)):  # level2 is the first enlargement
        theirs |= {f"{level}_conv{n}_f": f"levels.{index}.convs.{n - 1}.weight" for n in range(1, 11)}
        theirs |= {f"{level}_conv{n}_b": f"levels.{index}.convs.{n - 1}.bias" for n in range(1, 11)}
        theirs |= {f"{level}_upconv_f": f"levels.{index}.up.weight", f"{level}_upconv_b": f"levels.{index}.up.bias"}
        theirs[f"{level}_residual_conv_f"] = f"levels.{index}.residual.weight"
        theirs[f"{level}_residual_conv_b"] = f"levels.{index}.residual.bias"
        theirs[f"{level}_img_up_f"] = f"levels.{index}.image_up.weight"
    state = network.state_dict()
    renamed = from_dagnn({name: state[ours] for name, ours in theirs.items()}, 2, "x")
    assert set(renamed) == set(state) and all(torch.equal(renamed[name], state[name]) for name in state)
    with pytest.raises(HarnessError, match=r"^weights x: 'level3_conv1_f' is left over"):
        from_dagnn({"level3_conv1_f": torch.zeros(1)}, 2, "weights x")


def test_enlarged_colour_keeps_luma_of_the_network_and_chroma_of_bicubic() -> None:
    from harness.degradations import imresize

    def nearest(luma: torch.Tensor) -> torch.Tensor:
        return luma.repeat_interleave(2, 2).repeat_interleave(2, 3)

    result = enlarge_colour(nearest, torch.from_numpy(COLOUR).float()[None], 2)[0].double().numpy()
    assert result.shape == (3, 18, 28)
    weights = np.array([65.481, 128.553, 24.966]) / 255
    luma = np.einsum("c,chw->hw", weights, COLOUR)
    np.testing.assert_allclose(np.einsum("c,chw->hw", weights, result), luma.repeat(2, 0).repeat(2, 1), atol=1e-6)
    blue = np.array([-37.797, -74.203, 112.0]) / 255
    chroma = imresize(np.einsum("c,chw->hw", blue, COLOUR), 2.0, border="symmetric")
    np.testing.assert_allclose(np.einsum("c,chw->hw", blue, result), chroma, atol=1e-6)
    # One channel is its own luma; another size than the network's is made by bicubic.
    gray = enlarge_colour(nearest, torch.from_numpy(GRAY).float()[None], 2)
    np.testing.assert_allclose(gray[0, 0].numpy(), GRAY[0].repeat(2, 0).repeat(2, 1), atol=1e-7)
    assert enlarge_colour(nearest, torch.from_numpy(GRAY).float()[None], 3).shape == (1, 1, 33, 39)


# PReNet -------------------------------------------------------------------------------------------------------------


def test_prenet() -> None:
    features = 4
    released: dict[str, Array] = {}
    shapes = {"conv0.0": (features, 6), "conv.0": (3, features)}
    shapes |= {f"conv_{gate}.0": (features, 2 * features) for gate in "ifgo"}
    shapes |= {f"res_conv{block}.{layer}": (features, features) for block in range(1, 6) for layer in (0, 2)}
    for name, shape in shapes.items():
        released[f"{name}.weight"] = RNG.normal(scale=0.15, size=(*shape, 3, 3))
        released[f"{name}.bias"] = RNG.normal(scale=0.1, size=shape[0])

    def layer(name: str, image: Array) -> Array:
        return conv(image, released[f"{name}.weight"], released[f"{name}.bias"])

    def sigmoid(x: Array) -> Array:
        return 1 / (1 + np.exp(-x))

    image, hidden, cell = COLOUR, np.zeros((features, *COLOUR.shape[1:])), np.zeros((features, *COLOUR.shape[1:]))
    for _ in range(3):
        both = np.concatenate([relu(layer("conv0.0", np.concatenate([COLOUR, image]))), hidden])
        cell = sigmoid(layer("conv_f.0", both)) * cell + sigmoid(layer("conv_i.0", both)) * np.tanh(
            layer("conv_g.0", both)
        )
        hidden = sigmoid(layer("conv_o.0", both)) * np.tanh(cell)
        inner = hidden
        for block in range(1, 6):
            inner = relu(relu(layer(f"res_conv{block}.2", relu(layer(f"res_conv{block}.0", inner)))) + inner)
        image = layer("conv.0", inner) + COLOUR
    network = PReNet(stages=3, features=features)
    tensors = {name: torch.from_numpy(array).float() for name, array in released.items()}
    network.load_state_dict(from_state_dict(tensors, "x"))
    np.testing.assert_allclose(apply(network, COLOUR), image, atol=1e-5)
    with pytest.raises(HarnessError, match=r"^weights x: 'conv_g\.0\.weight' is missing"):
        from_state_dict({name: t for name, t in tensors.items() if name != "conv_g.0.weight"}, "weights x")
    with pytest.raises(HarnessError, match=r"'other\.weight' is left over"):
        from_state_dict({**tensors, "other.weight": torch.zeros(1)}, "weights x")


# TNRD ---------------------------------------------------------------------------------------------------------------

MEANS = np.linspace(-310, 310, 63)
GRID = np.linspace(-320, 320, 1281)
PRECISION = 0.01


def tnrd_arrays(stages: int, filters: int, denoiser: bool, scale: float = 0.4) -> dict[str, Array]:
    lines = filters * (48 + 63) + denoiser
    cof = np.random.default_rng(5).normal(size=(lines, stages)) * scale
    return {"cof": cof, "means": MEANS, "precision": np.array([PRECISION]), "grid": GRID}


def dct_filter(coefficients: Array) -> Array:
    """Sum the 2-D DCT basis images: coefficient k is vertical frequency (k + 1) mod 7, horizontal (k + 1) div 7."""
    rows = np.arange(7)
    out = np.zeros((7, 7))
    for k, value in enumerate(coefficients, 1):
        vertical, horizontal = k % 7, k // 7
        waves = [
            np.full(7, np.sqrt(1 / 7)) if f == 0 else np.sqrt(2 / 7) * np.cos(np.pi * f * (2 * rows + 1) / 14)
            for f in (vertical, horizontal)
        ]
        out += value * np.outer(waves[0], waves[1])
    return out / np.sqrt((out**2).sum())


def reaction(image: Array, cof: Array, filters: int, offset: int) -> Array:
    total = np.zeros_like(image)
    for index in range(filters):
        kernel = dct_filter(cof[index * 48 : (index + 1) * 48])
        weights = cof[filters * 48 + offset + index * 63 :][:63]
        response = correlate(image, kernel, mode="reflect")
        table = (weights[:, None] * np.exp(-0.5 * PRECISION * (GRID[None] - MEANS[:, None]) ** 2)).sum(0)
        total += correlate(np.interp(response, GRID, table), kernel[::-1, ::-1], mode="reflect")
    return total


def test_dct_filters() -> None:
    coefficients = RNG.normal(size=(3, 48))
    expected = np.array([dct_filter(row) for row in coefficients])
    np.testing.assert_allclose(dct_filters(coefficients, 7), expected, atol=1e-12)
    matrix = dct_matrix(8)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(8), atol=1e-12)


def test_influence_tables() -> None:
    weights = RNG.normal(size=(2, 63))
    table = influence_tables(weights, MEANS, PRECISION, GRID)
    x = 640
    expected = sum(w * np.exp(-PRECISION / 2 * (GRID[x] - m) ** 2) for w, m in zip(weights[1], MEANS, strict=True))
    assert table[1, x] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("size", [(20, 23), (5, 31), (1, 9)])
def test_tnrd_denoiser(size: tuple[int, int]) -> None:
    arrays = tnrd_arrays(2, 9, denoiser=True)
    network = released_tnrd(arrays, "x")
    assert isinstance(network, TNRDDenoiser)
    noisy = RNG.uniform(-20, 280, size=size)
    image = noisy
    for stage in range(2):
        cof = arrays["cof"][:, stage]
        framed = np.pad(image, 8, mode="symmetric")
        step = reaction(framed, cof, 9, 1)[8:-8, 8:-8]
        image = image - np.exp(cof[9 * 48]) * (image - noisy) - step
    found = apply(network, noisy[None])[0]
    np.testing.assert_allclose(found, image, atol=0.02)


def encode(image: Array, table: Array) -> Array:
    """Quantise an image as a JPEG encoder does, edges repeated: (H/8, W/8, 8, 8) multiples of the table."""
    padded = np.pad(image, ((0, -image.shape[0] % 8), (0, -image.shape[1] % 8)), mode="edge")
    blocks = padded.reshape(padded.shape[0] // 8, 8, -1, 8).transpose(0, 2, 1, 3)
    matrix = dct_matrix(8)
    return np.round(matrix @ blocks @ matrix.T / table) * table


def decode(coefficients: Array, size: tuple[int, int]) -> Array:
    matrix = dct_matrix(8)
    blocks = (matrix.T @ coefficients @ matrix).transpose(0, 2, 1, 3)
    image = blocks.reshape(coefficients.shape[0] * 8, -1)[: size[0], : size[1]]
    return np.clip(np.rint(image), -128, 127)


def smooth(size: tuple[int, int], seed: int = 0) -> Array:
    rows, columns = np.mgrid[: size[0], : size[1]]
    rng = np.random.default_rng(seed)
    return 60 * np.sin(rows / 5 + seed) * np.cos(columns / 7) + 30 * (columns > size[1] // 2) + rng.normal(0, 6, size)


def test_tnrd_deblocker() -> None:
    arrays = tnrd_arrays(2, 7, denoiser=False, scale=0.2)
    network = released_tnrd(arrays, "x", quality=10)
    assert isinstance(network, TNRDDeblocker)
    table = quantisation_table(10)
    coefficients = encode(smooth((24, 40)), table)
    image = decode(coefficients, (24, 40))
    matrix = dct_matrix(8)
    exact = (matrix.T @ coefficients @ matrix).transpose(0, 2, 1, 3).reshape(24, 40)
    current = np.clip(exact, -128, 127)
    for stage in range(2):
        framed = np.pad(current, 5, mode="symmetric")
        current = current - reaction(framed, arrays["cof"][:, stage], 7, 0)[5:-5, 5:-5]
        blocks = current.reshape(3, 8, 5, 8).transpose(0, 2, 1, 3)
        spectrum = np.clip(matrix @ blocks @ matrix.T, coefficients - 0.4 * table, coefficients + 0.4 * table)
        current = (matrix.T @ spectrum @ matrix).transpose(0, 2, 1, 3).reshape(24, 40)
        current = np.clip(current, -128, 127)
    found = apply(network, image[None] + 128)[0] - 128
    np.testing.assert_allclose(found, current, atol=0.02)


def test_quantisation_table() -> None:
    table = quantisation_table(10)
    assert table[0, 0] == 80 and table[7, 7] == 255 and table[0, 1] == 55  # 16, 99 and 11 times 5, at most 255
    assert quantisation_table(50)[0, 0] == 16 and quantisation_table(100).max() == 1
    assert quantisation_table(40)[0, 0] == 20  # (16 * 125 + 50) // 100
    # Pillow writes these tables too.
    import io

    from PIL import Image

    for quality in (10, 20, 30, 40, 75):
        buffer = io.BytesIO()
        Image.new("L", (8, 8)).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as image:
            written = np.array(image.quantization[0]).reshape(8, 8)
        np.testing.assert_array_equal(written, quantisation_table(quality))


@settings(deadline=None, max_examples=20)
@given(height=st.integers(1, 40), width=st.integers(1, 40), quality=st.sampled_from([10, 20]), seed=st.integers(0, 99))
def test_coefficients_are_recovered(height: int, width: int, quality: int, seed: int) -> None:
    table = quantisation_table(quality)
    wanted = encode(smooth((height, width), seed), table)
    decoded = decode(wanted, (height, width))
    seen = torch.from_numpy(decoded).float()[None, None]
    matrix = torch.from_numpy(dct_matrix(8)).float()
    found = recover_coefficients(seen, torch.from_numpy(table).float(), matrix)
    assert found.shape[1:3] == wanted.shape[:2]
    whole = (slice(0, height // 8), slice(0, width // 8))
    np.testing.assert_array_equal(found[0].numpy()[whole], wanted[whole])
    # Cut blocks: what is seen is explained almost everywhere.
    explained = inverse_dct(found, matrix).clamp(-128, 127)[0, 0, :height, :width].numpy()
    assert np.mean(np.abs(explained - decoded) > 4) < 0.2


def test_dct_round_trip() -> None:
    image = torch.from_numpy(RNG.normal(size=(2, 1, 16, 24))).float()
    matrix = torch.from_numpy(dct_matrix(8)).float()
    torch.testing.assert_close(inverse_dct(forward_dct(image, matrix), matrix), image, atol=1e-5, rtol=0)


@given(height=st.integers(1, 12), width=st.integers(1, 12), border=st.integers(0, 30))
def test_symmetric_pad_is_numpys(height: int, width: int, border: int) -> None:
    image = np.arange(height * width, dtype=np.float64).reshape(height, width)
    found = symmetric_pad(torch.from_numpy(image)[None, None], border)[0, 0].numpy()
    np.testing.assert_array_equal(found, np.pad(image, border, mode="symmetric"))


def test_released_tnrd_refuses_another_models_weights() -> None:
    with pytest.raises(HarnessError, match="weights x: 1000 parameters a stage do not fit a JPEG model"):
        released_tnrd(tnrd_arrays(2, 9, denoiser=True), "weights x", quality=10)
