from __future__ import annotations

import pytest
import torch
from torch import nn

from harness.cli.describing import describe_method
from harness.errors import HarnessError
from harness.methods import get_method
from harness.networks.kit import KiT
from harness.networks.measure import accepted_side, measure_inference, multiply_adds, parameter_count, peak_memory
from harness.networks.panet import PANet
from harness.networks.pyramid_attention import PyramidAttention
from harness.run.cost import count_cost


def test_multiply_adds_of_a_convolution() -> None:
    network = nn.Conv2d(3, 8, 3, padding=1)
    assert multiply_adds(network, (2, 3, 10, 12)) == 2 * 10 * 12 * 8 * 3 * 9
    assert parameter_count(network) == 8 * 3 * 9 + 8


def test_attention_counts_as_the_paper_writes_it() -> None:
    height, width = 12, 10
    sizes = [(height, width)] + [(int(height * s), int(width * s)) for s in (0.9, 0.8, 0.7, 0.6)]
    n, keys = height * width, sum(h * w for h, w in sizes)
    embedding = n * 64 * 32 + keys * (64 * 32 + 64 * 64)
    matching, pasting = n * keys * 9 * 32, n * keys * 9 * 64
    assert multiply_adds(PyramidAttention(), (1, 64, height, width)) == embedding + matching + pasting


def test_counting_changes_nothing() -> None:
    network = PANet(n_resblocks=2, n_feats=4)
    x = torch.rand(1, 3, 8, 8)
    want = network(x)
    assert multiply_adds(network, (1, 3, 8, 8)) > 0
    assert torch.equal(network(x), want)
    assert multiply_adds(KiT(k=2, h=1), (1, 3, 64, 64)) < multiply_adds(KiT(k=4, h=4), (1, 3, 64, 64))
    with pytest.raises(HarnessError, match="not 'fast'"):
        multiply_adds(network, (1, 3, 8, 8), kernel="fast")


def test_measured_cost() -> None:
    cost = measure_inference(nn.Conv2d(3, 8, 3), (1, 3, 32, 32), repeat=1)
    assert cost.seconds > 0 and cost.device == "cpu" and cost.threads == torch.get_num_threads()


def test_peak_memory_sees_what_is_freed_again() -> None:
    def run() -> None:
        torch.ones(16 * 2**20).sum()

    peak = peak_memory(run)
    if peak is None:
        pytest.skip("this system does not tell a process its peak memory")
    assert 60 * 2**20 < peak < 200 * 2**20


def test_a_network_of_coarse_sizes_is_counted_at_one_it_accepts() -> None:
    kit = get_method("kit")
    assert accepted_side(kit.network("denoise-real", 0), 96) == 128  # type: ignore[misc]
    assert dict(describe_method(kit, "denoise-real", None, measure=False))["multiply-adds"].endswith(
        "for 128x128 (attention as in the paper)"
    )
    assert {cost.side for cost in count_cost(kit).costs} == {128}
