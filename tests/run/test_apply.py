"""Policies on arrays and tensors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import HarnessError, NotAvailableError
from harness.networks.checkpoints import mark_ready
from harness.run.apply import WrongResultError, array_restorer, image_restorer, tensor_restorer

RNG = np.random.default_rng(0)
IMAGE = RNG.integers(0, 256, (120, 90, 3)).astype(np.uint8)


def lopsided(image):
    """Depends on the orientation, so that a wrong flip shows."""
    return image * 0.5 + 0.25 * np.roll(image, 1, axis=0) + 0.25 * np.roll(image, 1, axis=1)


def lopsided_tensor(batch):
    return batch * 0.5 + 0.25 * batch.roll(1, 2) + 0.25 * batch.roll(1, 3)


@pytest.mark.parametrize("image", [IMAGE, IMAGE[..., 0]])
def test_arrays_and_tensors_agree(image: np.ndarray) -> None:
    for policy in ("whole", "x8"):
        on_array = array_restorer(lopsided, policy)(image)
        on_tensor = tensor_restorer(lopsided_tensor, policy)(image)
        assert on_array.shape == on_tensor.shape == image.shape
        np.testing.assert_allclose(on_array, on_tensor, atol=1e-4)


@pytest.mark.parametrize("policy", ["whole", "x8", "chop", "chop+x8"])
def test_a_plugin_may_write_into_its_input(policy: str) -> None:
    def careless(batch):
        batch *= 0.5
        return batch

    made = [tensor_restorer(careless, policy, "csnln")(IMAGE)]
    if "chop" not in policy:
        made.append(array_restorer(careless, policy)(IMAGE))
    for result in made:
        np.testing.assert_allclose(result, IMAGE * 0.5, atol=1e-4)


def test_self_ensemble_is_invariant() -> None:
    restore = array_restorer(lopsided, "x8")
    np.testing.assert_allclose(restore(IMAGE[::-1]), restore(IMAGE)[::-1], atol=1e-9)
    np.testing.assert_allclose(restore(IMAGE.swapaxes(0, 1)), restore(IMAGE).swapaxes(0, 1), atol=1e-9)


def test_tiles_of_a_pointwise_function_equal_the_whole() -> None:
    whole = tensor_restorer(lambda batch: batch * 0.5, "whole")(IMAGE)
    for policy in ("chop", "chop+x8"):
        tiled = tensor_restorer(lambda batch: batch * 0.5, policy, "panet-denoise")(IMAGE)
        np.testing.assert_allclose(tiled, whole, atol=1e-4)
    seen = []
    tensor_restorer(lambda batch: seen.append(batch.shape) or batch, "chop", "panet-denoise")(IMAGE)
    assert all(shape[2] * shape[3] < 6800 for shape in seen)


def test_enlarging_in_tiles() -> None:
    def twice(batch):
        return batch.repeat_interleave(2, 2).repeat_interleave(2, 3)

    whole = tensor_restorer(twice, "whole", scale=2)(IMAGE)
    np.testing.assert_array_equal(tensor_restorer(twice, "chop", "paedsr", 2)(IMAGE), whole)


def test_networks_without_weights_make_no_results() -> None:
    network = torch.nn.Conv2d(3, 3, 3, padding=1)
    torch.nn.init.constant_(network.weight, 0.01)  # random ones may leave the range that is accepted
    with pytest.raises(NotAvailableError, match="has no weights yet"):
        tensor_restorer(network, "whole")(IMAGE)
    mark_ready(network, "trained", "this test")
    assert tensor_restorer(network, "whole")(IMAGE).shape == IMAGE.shape
    with torch.no_grad():
        network.weight += 1
    with pytest.raises(NotAvailableError, match="have changed"):
        tensor_restorer(network, "whole")(IMAGE)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: array_restorer(lopsided, "chop"), "'whole' and 'x8'"),
        (lambda: tensor_restorer(lopsided_tensor, "chop"), "names none"),
        (lambda: tensor_restorer(lopsided_tensor, "hole"), "did you mean 'whole'"),
        (lambda: tensor_restorer(lopsided_tensor, "chop", "panet"), "unknown chop rule 'panet'"),
        (lambda: tensor_restorer(lambda batch: batch[0], "whole")(IMAGE), "a tensor"),
        (lambda: tensor_restorer(lambda batch: None, "whole")(IMAGE), "NoneType"),
    ],
)
def test_mistakes(make, message: str) -> None:
    with pytest.raises(HarnessError, match=message):
        make()


@pytest.mark.parametrize(
    ("on", "make", "said"),
    [
        ("array", lambda image: image + 0j, "returned samples of dtype complex128; real floating-point samples"),
        ("array", lambda image: image > 0.5, "returned samples of dtype bool"),
        ("array", lambda image: image.astype(str), "returned samples of dtype <U"),
        ("array", lambda image: image.astype(object), "returned samples of dtype object"),
        ("array", lambda image: (image * 255).astype(np.uint8), "returned samples of dtype uint8"),
        ("array", lambda image: image * 255, r"returned values from 0 to 255 \(as if in 0..255\); real floating-point"),
        ("array", lambda image: image - 3, "returned values from -3 to -2; real floating-point samples in"),
        ("array", lambda image: image * np.nan, "returned NaN or infinity"),
        ("array", lambda image: image.tolist(), r"returned an object of type list; a numpy array \(H, W\) or"),
        ("array", torch.from_numpy, r"returned an object of type torch.Tensor; a numpy array \(H, W\) or"),
        ("tensor", lambda batch: batch + 0j, r"of torch.complex64; a floating-point tensor \(1, C, H, W\) was"),
        ("tensor", lambda batch: batch > 0.5, "of torch.bool; a floating-point tensor"),
        ("tensor", lambda batch: (batch * 255).byte(), "of torch.uint8; a floating-point tensor"),
        ("tensor", lambda batch: batch * 255, r"\(as if in 0..255\); real floating-point samples in"),
        ("tensor", lambda batch: batch / 0, "returned NaN or infinity"),
        ("tensor", lambda batch: batch.numpy(), "returned an object of type numpy.ndarray; a floating-point tensor"),
        ("tensor", lambda batch: [batch], r"returned an object of type list; a floating-point tensor \(1, C, H, W\)"),
        ("images", lambda dataset, image: np.full((4, 4), 0.5), r"from 0 to 0.5 \(as if in \[0, 1\]\); the path of"),
        ("images", lambda dataset, image: np.full((4, 4), 9000.0), "from 0 to 9000; the path of an image, or an array"),
        ("images", lambda dataset, image: np.ones((4, 4), bool), "returned pixels of dtype bool; the path of an"),
        ("images", lambda dataset, image: np.ones((4, 4), complex), "returned pixels of dtype complex128"),
        ("images", lambda dataset, image: np.full((4, 4), np.inf), "returned NaN or infinity"),
        ("images", lambda dataset, image: [[1, 2]], "returned an object of type list; the path of an image"),
    ],
)
@pytest.mark.parametrize("policy", ["whole", "x8"])
def test_what_a_method_must_not_return(on: str, policy: str, make: Callable[..., Any], said: str) -> None:
    with pytest.raises(WrongResultError, match=said):
        if on == "images":
            image_restorer(make, "round")("set", "image")
        else:
            (tensor_restorer if on == "tensor" else array_restorer)(make, policy)(IMAGE)


def test_what_a_method_may_return() -> None:
    """Other floating-point types, and a little or, where the input is, more outside [0, 1]."""
    for dtype in (np.float16, np.float32, np.longdouble):
        found = array_restorer(lambda image, dtype=dtype: image.astype(dtype), "whole")(IMAGE)
        assert found.dtype == np.float64 and np.abs(found - IMAGE).max() < 0.2
    noisy = IMAGE + RNG.normal(0, 200, IMAGE.shape)
    for restore in (array_restorer, tensor_restorer):
        np.testing.assert_allclose(restore(lambda image: image, "whole")(noisy), noisy, atol=1e-3)
        np.testing.assert_allclose(restore(lambda image: image * 1.5 - 0.25, "x8")(IMAGE).max(), 318.75, atol=1e-3)
    for pixels in (IMAGE, IMAGE.astype(np.float32), np.zeros((4, 4))):
        found = image_restorer(lambda dataset, image, pixels=pixels: pixels, "round")("set", "image")
        np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("policy", ["x8", "chop", "chop+x8"])
@pytest.mark.parametrize("reentrant", [False, True])
def test_a_buffer_that_is_used_again(policy: str, reentrant: bool) -> None:
    """Each result is copied before the next call, also by each of the threads that compute tiles side by side."""

    class Fresh:
        def __init__(self) -> None:
            self.reentrant = reentrant

        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            return lopsided_tensor(batch)

    class Again(Fresh):
        buffers = threading.local()

        def __call__(self, batch: torch.Tensor) -> torch.Tensor:
            kept: dict[Any, torch.Tensor] = self.buffers.__dict__.setdefault("kept", {})
            return kept.setdefault(tuple(batch.shape), torch.empty_like(batch)).copy_(lopsided_tensor(batch))

    wanted = tensor_restorer(Fresh(), policy, "csnln")(IMAGE)
    np.testing.assert_array_equal(tensor_restorer(Again(), policy, "csnln")(IMAGE), wanted)


class Attending(torch.nn.Module):
    """A convolution and a module with a memory budget; notes the batches and budgets that it sees."""

    scale, rgb_range, size_multiple = 1, 1.0, 1

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Conv2d(3, 3, 3, padding=1)
        self.attention = torch.nn.Identity()
        self.attention.memory_budget = 512 * 2**20
        self.seen: list[tuple[int, int]] = []

    def forward(self, x):
        self.seen.append((len(x), self.attention.memory_budget))
        return self.body(x)


def test_less_at_once_gives_the_same_image() -> None:
    """After running out of memory: smaller batches of tiles and buffers; the last bit may differ."""
    torch.manual_seed(0)
    network = mark_ready(Attending(), "trained", "this test")
    image = np.random.default_rng(0).integers(0, 256, (150, 170, 3)).astype(np.float64)
    whole = tensor_restorer(network, "chop", "panet-denoise")(image)
    usual = {batch for batch, _ in network.seen}
    for shrink in (1, 2, 3):
        network.seen.clear()
        small = tensor_restorer(network, "chop", "panet-denoise", shrink=shrink)(image)
        assert max(batch for batch, _ in network.seen) <= max(1, max(usual) // 4**shrink)
        assert {budget for _, budget in network.seen} == {max(512 * 2**20 // 4**shrink, 8 * 2**20)}
        assert np.abs(small - whole).max() < 1e-3
        assert np.mean(np.rint(small) != np.rint(whole)) < 1e-3
    # The next image gets what the network was made with.
    network.seen.clear()
    tensor_restorer(network, "chop", "panet-denoise")(image)
    assert {budget for _, budget in network.seen} == {512 * 2**20}
