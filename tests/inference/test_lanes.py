from __future__ import annotations

import threading

import pytest
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.inference import chop, chop_rule, restore
from harness.inference.lanes import side_by_side
from harness.networks.checkpoints import mark_ready
from harness.networks.csnln import CSNLN
from harness.networks.edsr import PAEDSR
from harness.networks.panet import PANet
from harness.networks.rnan import RNAN

NETWORKS = {
    "panet-denoise": lambda: PANet(n_resblocks=2, n_feats=16),
    "rnan-denoise": lambda: RNAN(n_resgroups=2, n_feats=8),
    "paedsr": lambda: PAEDSR(2, n_resblocks=2, n_feats=16),
    "csnln": lambda: CSNLN(2, depth=1, n_feats=16),
}


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("rule", NETWORKS)
def test_the_cores_do_not_change_a_bit(rule: str, threads) -> None:
    torch.manual_seed(0)
    network = mark_ready(NETWORKS[rule](), "trained", "drawn for a test")
    assert network.reentrant
    x = torch.rand(1, 3, 101, 88)
    results = []
    for count, at_once in [(1, None), (2, None), (3, None), (2, 1), (2, 7)]:
        threads(count)
        results.append(restore(network, x, "chop", chop_rule(rule), at_once))
    assert all(torch.equal(result, results[0]) for result in results[1:])
    threads(1)
    with torch.inference_mode():
        reach, scale = getattr(network, "rgb_range", 1.0), getattr(network, "scale", 1)
        one_by_one = chop(network, x * reach, chop_rule(rule), scale, 1) / reach
    assert torch.equal(one_by_one, results[0])


def test_results_come_in_order_and_lanes_bound_what_runs() -> None:
    running, most, guard = 0, 0, threading.Lock()
    release = threading.Event()

    def function(tile: Tensor) -> Tensor:
        nonlocal running, most
        with guard:
            running += 1
            most = max(most, running)
            if running == 3:
                release.set()
        assert release.wait(30), "three tiles were never computed side by side"
        assert torch.get_num_threads() == 1
        with guard:
            running -= 1
        return tile + 1

    taken = 0

    def tiles():
        nonlocal taken
        for number in range(20):
            taken += 1
            yield torch.tensor(float(number))

    found = []
    for result in side_by_side(function, tiles(), 3):
        found.append(float(result))
        assert taken <= len(found) + 3
    assert found == [number + 1.0 for number in range(20)]
    assert most == 3


def test_threads_are_as_they_were_also_after_an_error(threads) -> None:
    threads(3)

    def fail(tile: Tensor) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        list(side_by_side(fail, [torch.zeros(1)] * 5, 2))
    assert torch.get_num_threads() == 3
    found: list[int] = []
    later = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert found == [3]


def test_modes_of_the_caller_hold_in_the_threads() -> None:
    layer = nn.Conv2d(1, 1, 3, padding=1)
    rule, x = chop_rule("csnln"), torch.rand(1, 1, 80, 90)
    chop(layer, x, rule, at_once=2, reentrant=True).sum().backward()
    assert layer.weight.grad is not None
    with torch.inference_mode():
        assert chop(layer, x, rule, at_once=2, reentrant=True).is_inference()
    with torch.no_grad():
        assert not chop(layer, x, rule, at_once=2, reentrant=True).requires_grad


def test_only_a_network_that_says_so_is_called_in_two_threads() -> None:
    class Silent(nn.Module):
        """Keeps a feature between two layers, as a plugin may."""

        scale, rgb_range = 1, 1.0

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.threads: set[int] = set()

        def forward(self, x: Tensor) -> Tensor:
            self.threads.add(threading.get_ident())
            return x * self.weight

    network = mark_ready(Silent(), "trained", "ones")
    x = torch.rand(1, 3, 200, 200)
    for at_once in (None, 4):
        assert torch.equal(restore(network, x, "chop", chop_rule("csnln"), at_once), x)
    assert network.threads == {threading.get_ident()}


def test_a_tile_of_the_wrong_size_ends_it_in_one_sentence() -> None:
    with pytest.raises(HarnessError, match="for scale 2 it must be"):
        chop(lambda t: t, torch.rand(1, 1, 200, 200), chop_rule("csnln"), scale=2, at_once=3, reentrant=True)
