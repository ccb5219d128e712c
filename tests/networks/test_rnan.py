from __future__ import annotations

import re

import pytest
import torch
from golden_recipe import check_case, relative_norm, use_direct_kernels

from harness.errors import HarnessError
from harness.methods import methods
from harness.networks.measure import parameter_count
from harness.networks.rnan import RNAN, RNANSR, TABLE_1_CASES, AttentionBlock, NonLocalBlock, rnan_ablation
from harness.tables.published import published_tables


@pytest.mark.parametrize(
    ("name", "build"),
    [("rnan_g3", lambda: RNAN(n_resgroups=3)), ("rnan_car_g2", lambda: RNAN(n_resgroups=2, n_colors=1))],
)
def test_golden(golden, name, build) -> None:
    check_case(golden, name, build())


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_golden_super_resolution(golden, scale: int) -> None:
    # Products of up to 3e7 amplify the rounding: with one thread torch's 1x1 convolutions round differently from
    # two, and single pixels move by 1.6e-4 (the recorded float32 output is as far from float64). Two threads
    # reproduce the recorded output bit for bit.
    check_case(golden, f"rnan_sr_g3_x{scale}", RNANSR(scale, n_resgroups=3), rgb_range=255, error=relative_norm)


def test_parameter_counts() -> None:
    with torch.device("meta"):
        assert parameter_count(RNAN()) == 8_959_555
        assert parameter_count(RNAN(n_resgroups=2)) == 1_837_635
        assert parameter_count(RNAN(n_colors=1)) == 8_957_249
        counts = {scale: parameter_count(RNANSR(scale)) for scale in (2, 3, 4)}
    assert counts == {2: 9_107_291, 3: 9_291_931, 4: 9_255_003}


@pytest.mark.parametrize("case", TABLE_1_CASES)
def test_cases_of_table_1(case: int) -> None:
    with torch.device("meta"):
        network = rnan_ablation(case)
    row = TABLE_1_CASES[case]
    non_local = sum(isinstance(m, NonLocalBlock) for m in network.modules())
    groups = len(network.body_nl_low) + len(network.body) - 1 + len(network.body_nl_high)
    assert (groups - non_local, non_local) == (row["rab"], row["rnab"])
    assert any("RA_MB" in key for key in network.state_dict()) == row["mask_branch"]
    assert network(torch.empty(1, 3, 8, 10, device="meta")).shape == (1, 3, 8, 10)


def test_a_printed_row_and_its_method_have_the_same_blocks() -> None:
    # RNAN Table 1: "RAB Number", "RNAB Number"; Table 7 and PANet Table 4: "1LB+1NLB", "8LBs+2NLBs", "1LB1NL".
    printed: dict[str, set[tuple[int, int]]] = {}
    for name in ("rnan-table1", "rnan-table7", "panet-table4"):
        for row in (row for part in published_tables()[name].parts for row in part.rows):
            numbers = re.search(r"(\d)LBs?\+?(\d)NL", row.name)
            counts = numbers.groups() if numbers else [row.attributes.get(f"{k} number") for k in ("RAB", "RNAB")]
            if None not in counts:
                printed.setdefault(row.method, set()).add((int(counts[0]), int(counts[1])))
    assert printed["rnan-2blocks"] == printed["rnan-case5"] == {(1, 1)} and len(printed) == 10
    for name, blocks in printed.items():
        with torch.device("meta"):
            network = methods()[name].network("denoise-rgb", 50)
        non_local = sum(isinstance(m, NonLocalBlock) for m in network.modules())
        assert {(sum(isinstance(m, AttentionBlock) for m in network.modules()) - non_local, non_local)} == blocks, name
        if name == "rnan-2blocks":
            assert parameter_count(network) == 1_829_283


def test_case_8_is_rnan() -> None:
    with torch.device("meta"):
        assert rnan_ablation(8).state_dict().keys() == RNAN().state_dict().keys()


def test_a_new_non_local_block_is_the_identity() -> None:
    x = torch.randn(1, 8, 6, 6)
    assert torch.equal(NonLocalBlock(8)(x), x)


@pytest.mark.parametrize("axis", ["released", "paper"])
def test_softmax_axes(axis: str) -> None:
    block = NonLocalBlock(8, softmax_axis=axis).double()
    torch.nn.init.normal_(block.W.weight)
    x = torch.randn(2, 8, 6, 5, dtype=torch.float64)
    theta, phi, g = (conv(x).flatten(2) for conv in (block.theta, block.phi, block.g))
    f = theta.transpose(1, 2) @ phi
    # (B, N_theta, N_phi): the released code normalises dim 1, the paper's equation the positions j of phi.
    y = (f.softmax(dim=1 if axis == "released" else 2) @ g.transpose(1, 2)).transpose(1, 2).unflatten(2, (6, 5))
    want = block.W(y) + x
    torch.testing.assert_close(block(x), want, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(use_direct_kernels(block)(x), want, rtol=1e-10, atol=1e-10)


def test_refusals() -> None:
    network = RNAN(n_resgroups=2, n_feats=4)
    with pytest.raises(HarnessError, match="even width and height, not 8x7"):
        network(torch.rand(1, 3, 7, 8))
    with pytest.raises(HarnessError, match="at most two non-local blocks"):
        RNAN(n_resgroups=1)
    with pytest.raises(HarnessError, match="softmax axis"):
        RNAN(n_resgroups=2, n_feats=4, softmax_axis="dim1")
    with pytest.raises(HarnessError, match="case of RNAN Table 1"):
        rnan_ablation(9)
