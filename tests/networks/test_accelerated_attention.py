"""What a GPU gets: few kernels in a training step, and one graph for torch.compile; both are seen without one."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.methods import get_method
from harness.networks import csnln
from harness.networks.batched_attention import Plain, agree
from harness.networks.csnln import CSNLN
from harness.networks.dot_product_attention import dot_product_attention
from harness.networks.flat_keys import FlatKeys
from harness.networks.panet import PANet
from harness.networks.patch_attention import MEMORY_BUDGET, patch_attention
from harness.networks.recurrence import uses

# These only look at memory that is there, or make a tensor without filling it.
NO_KERNEL = {
    "alias", "as_strided", "detach", "diagonal", "empty", "empty_like", "empty_strided", "expand", "new_empty",
    "permute", "select", "slice", "split", "split_with_sizes", "squeeze", "t", "transpose", "unbind", "unfold",
    "unsqueeze", "view", "_unsafe_view",
}  # fmt: skip


class Counted(TorchDispatchMode):
    """Counts the kernels that torch dispatches."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.kernels += function.overloadpacket.__name__ not in NO_KERNEL
        return function(*args, **(kwargs or {}))


def kernels(network: nn.Module, scale: int, batch: int = 16) -> int:
    """Count a step's kernels on torch's meta device, at a batch of 48x48 and the memory of a GPU of 72 GiB.

    Forward and backward; Adam's are a few more, or with ``fused`` one.
    """
    network = network.to("meta")
    for module in network.modules():
        if hasattr(module, "memory_budget"):
            module.memory_budget = 9 * MEMORY_BUDGET
    x = torch.empty(batch, 3, 48, 48, device="meta")
    y = torch.empty(batch, 3, 48 * scale, 48 * scale, device="meta")
    for _ in range(2):  # what the first step keeps for all others is not counted
        network.zero_grad(set_to_none=True)
        with Counted() as counted:
            (network(x) - y).abs().mean().backward()
    return counted.kernels


def test_a_step_of_panet_dispatches_few_kernels() -> None:
    # In loops over items and tiles these were 21,405.
    assert kernels(PANet(), 1) <= 1500


def test_a_step_of_csnln_dispatches_few_kernels() -> None:
    # In loops over items and tiles these were 26,127.
    assert kernels(CSNLN(2), 2) <= 1500


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_few_kernels_are_the_same_network(scale: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    network, x = CSNLN(scale, depth=3, n_feats=8).double(), torch.rand(2, 3, 12, 12, dtype=torch.float64)
    with torch.no_grad():  # slopes that differ from layer to layer
        for module in network.modules():
            if isinstance(module, nn.PReLU):
                module.weight.uniform_(0.1, 0.9)

    def step() -> list[Tensor]:
        network.zero_grad(set_to_none=True)
        out = network(x)
        out.square().mean().backward()
        return [out.detach(), *(p.grad for p in network.parameters() if p.grad is not None)]

    want, state = step(), list(network.state_dict())
    monkeypatch.setattr(csnln, "few_kernels", lambda x: True)
    found = step()
    assert state == list(network.state_dict()) and len(found) == len(want)
    for a, b in zip(found, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradients_of_several_uses_are_added_as_autograd_adds_them() -> None:
    torch.manual_seed(0)
    weight, other = torch.randn(50, requires_grad=True), torch.randn(3, requires_grad=True)
    factors = torch.randn(7, 50)

    def gradient(given: Iterable[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
        total = sum((w * f).sum() * o.sum() for (w, o), f in zip(given, factors, strict=True))
        return torch.autograd.grad(total, (weight, other))

    pairs = zip(gradient(uses((weight, other), 7)), gradient([(weight, other)] * 7), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


class _Wrong(Plain):
    def __init__(self, layout: FlatKeys, pitches: Tensor) -> None:
        super().__init__(layout)

    def spread(self, rows: Tensor) -> Tensor:
        return super().spread(rows) * 1.01


class _Broken(_Wrong):
    def softmax_rows(self, gathered: Tensor, norms: Tensor) -> Tensor:
        raise RuntimeError("out of resource: shared memory")


@pytest.mark.parametrize(("passes", "what"), [(_Wrong, "differ by 1.0e-02"), (_Broken, "RuntimeError: out of res")])
def test_kernels_that_a_card_computes_otherwise_are_not_used(passes: type, what: str) -> None:
    with pytest.warns(UserWarning, match=f"Triton kernels are not used on cpu, torch's own are: .*{what}"):
        assert not agree(passes, 1, torch.device("cpu"))
    assert agree(lambda layout, pitches: Plain(layout), 1, torch.device("cpu"))


@pytest.mark.parametrize("network", [PANet(n_resblocks=8), CSNLN(2, depth=2, n_feats=32)])
def test_items_of_a_batch_go_through_the_attention_together(network: nn.Module) -> None:
    scale = 2 if isinstance(network, CSNLN) else 1
    assert kernels(network, scale, batch=2) == kernels(network, scale, batch=8)


@pytest.mark.parametrize(
    ("name", "task", "level", "side"),
    [("panet-s", "denoise-rgb", 50, 16), ("csnln-trained", "sr", 2, 8), ("kit", "denoise-real", 0, 64),
     ("rnan-trained", "denoise-rgb", 50, 16)],
)  # fmt: skip
def test_a_network_is_one_graph(name: str, task: str, level: int, side: int) -> None:
    make = get_method(name).network
    assert make is not None
    torch._dynamo.reset()
    found = torch._dynamo.explain(make(task, level))(torch.rand(1, 3, side, side))
    assert (found.graph_count, found.graph_break_count) == (1, 0), found.break_reasons


def test_compiled_attention_is_the_same_with_its_gradient() -> None:
    query, key, value = (torch.randn(2, c, 7, 6) for c in (4, 4, 5))

    def function(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        return patch_attention(q, [k], [v]).mul(2) + dot_product_attention(q, k, v)

    def run(call) -> list[Tensor]:
        leaves = [t.clone().requires_grad_() for t in (query, key, value)]
        out = call(*leaves)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), leaves)]

    torch._dynamo.reset()
    compiled = torch.compile(function, backend="aot_eager", fullgraph=True)
    for a, b in zip(run(compiled), run(function), strict=True):
        torch.testing.assert_close(a, b)
