"""The policies of onnxruntime: what they give, what says so, and what is refused."""

from __future__ import annotations

import functools
import gc
import sys
import weakref
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from harness.errors import HarnessError, Missing, NotAvailableError
from harness.inference import POLICIES, chop_rule, engine, restore
from harness.inference.graphs import networks_of
from harness.methods import methods
from harness.networks.checkpoints import mark_ready
from harness.networks.dncnn import DnCNN
from harness.networks.edsr import EDSR
from harness.networks.panet import PANet
from harness.run.apply import array_restorer, tensor_restorer

pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")


def ready(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.ndim > 1 and parameter.requires_grad:
            nn.init.normal_(parameter, std=0.05)
    return mark_ready(network, "trained", "drawn for a test")


@pytest.fixture
def onnx() -> None:
    pytest.importorskip("onnxruntime")


@pytest.mark.usefixtures("onnx")
@pytest.mark.parametrize("policy", [name for name in POLICIES if "onnx" in name])
def test_pixels_are_those_of_torch_within_the_tolerance(policy: str) -> None:
    rule, x = chop_rule("rdn"), torch.rand(1, 3, 53, 130)
    for network in (ready(DnCNN(3, 5)), ready(EDSR(2, n_resblocks=2, n_feats=8))):
        with torch.inference_mode():
            want = restore(network, x, policy.removesuffix("+onnx1"), rule)
            got = restore(network, x, policy, rule)
        assert got.shape == want.shape
        assert 0 < float((got - want).abs().max()) <= 1e-5


@pytest.mark.usefixtures("onnx")
def test_a_method_on_tensors_is_restored_by_it_whatever_build_returns() -> None:
    network = ready(DnCNN(1, 5))
    image = np.random.default_rng(0).random((33, 47)) * 255
    want = tensor_restorer(network, "whole")(image)
    for function in (network, lambda batch: network(batch)):
        got = tensor_restorer(function, "whole+onnx1")(image)
        assert 0 < np.abs(got - want).max() < 255e-5


@pytest.mark.usefixtures("onnx")
def test_it_is_made_once_for_a_network_and_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    session = engine.session
    monkeypatch.setattr(engine, "session", lambda *given: made.append(1) or session(*given))
    network, x = ready(DnCNN(1, 3)), torch.rand(1, 1, 20, 20)
    first = restore(network, x, "whole+onnx1")
    assert torch.equal(restore(network, x, "whole+onnx1"), first) and len(made) == 1
    with torch.no_grad():
        next(network.parameters()).mul_(2)
    with pytest.raises(NotAvailableError, match="have changed"):
        restore(network, x, "whole+onnx1")
    mark_ready(network, "trained", "other weights")
    assert not torch.equal(restore(network, x, "whole+onnx1"), first) and len(made) == 2
    held = weakref.ref(network)
    del network
    gc.collect()
    assert held() is None


class Thirds(nn.Module):
    """Computes with the size in Python, where no tracer sees it."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (int(x.shape[-1]) // 3) / 100


@pytest.mark.usefixtures("onnx")
@pytest.mark.parametrize(
    ("network", "said"), [(PANet(n_resblocks=2, n_feats=16), "PANet attends"), (Thirds(), "a result of 48x48 differs")]
)
def test_what_is_no_network_of_convolutions_is_refused(network: nn.Module, said: str) -> None:
    with pytest.raises(HarnessError, match=f"for networks of convolutions.*{said}"):
        restore(ready(network), torch.rand(1, 3, 24, 24), "whole+onnx1")
    with pytest.raises(HarnessError, match="is for networks; a method on arrays"):
        array_restorer(lambda array: array, "whole+onnx1")


def test_without_onnxruntime_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    network: Any = ready(DnCNN(1, 3))
    with pytest.raises(NotAvailableError, match=r"'onnxruntime' is not installed; .*\[onnx\]") as caught:
        tensor_restorer(network, "whole+onnx1")
    assert caught.value.missing == Missing("package", "onnxruntime")


def test_no_method_uses_it_by_default() -> None:
    assert not [method.name for method in methods().values() if "onnx" in method.policy]


def test_networks_are_found_wherever_a_callable_holds_them() -> None:
    class Bound:
        def restore(self, images: Tensor) -> Tensor:
            return images

    one, two, three = (nn.Conv2d(1, 1, 1) for _ in range(3))
    levels: dict[int, Any] = {10: one, 20: [two, one]}

    def closed(images: Tensor, last: nn.Module) -> Tensor:
        return last(levels[10](images))  # type: ignore[no-any-return]

    assert set(networks_of(functools.partial(closed, last=three))) == {one, two, three}
    assert list(networks_of(one)) == [one]
    assert list(networks_of(Bound().restore)) == list(networks_of(print)) == []
