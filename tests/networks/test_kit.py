from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from harness.errors import HarnessError
from harness.networks.checkpoints import load_released
from harness.networks.kit import TABLE_4, KiT
from harness.networks.knn_attention import (
    KiTAssumptions,
    KNNLocalAttention,
    _Restored,
    _Sorted,
    from_patches,
    to_patches,
)
from harness.networks.measure import parameter_count


def attention(k: int = 4, h: int = 4, channels: int = 6, r: int = 2, **assumptions) -> KNNLocalAttention:
    return KNNLocalAttention(channels, k, h, r, shared=False, assumptions=KiTAssumptions(**assumptions))


def test_patches_are_cut_row_by_row_and_put_back() -> None:
    x = torch.randn(2, 3, 4, 6)
    patches = to_patches(x, 2)
    assert patches.shape == (2, 6, 4, 3)
    assert torch.equal(patches[1, 4].t().reshape(3, 2, 2), x[1, :, 2:4, 2:4])
    assert torch.equal(from_patches(patches, (2, 3), 2), x)


def test_the_network_maps_an_image_to_its_size() -> None:
    network = KiT(assumptions=KiTAssumptions(width=4))
    x = torch.rand(2, 3, 64, 128)
    out = network(x)
    assert out.shape == x.shape
    out.square().mean().backward()
    assert all(p.grad is not None for p in network.parameters())


def test_the_bottleneck_has_4x4_patches_for_256x256() -> None:
    # KiT section 4.1; the stem's stride is chosen for it.
    network = KiT(assumptions=KiTAssumptions(width=2))
    seen = []
    network.bottleneck[0].attention.register_forward_pre_hook(lambda m, a: seen.append((a[0].shape[2:], m.k)))
    network(torch.rand(1, 3, 256, 256))
    assert seen == [(torch.Size([16, 16]), 1)]  # 16 x 16 features are 4x4 patches of 4x4; k is 1 there


def test_k_and_h_change_no_parameter_and_sharing_does() -> None:
    with torch.device("meta"):
        counts = {parameter_count(KiT(k=k, h=h)) for k, h in TABLE_4}
        assert len(counts) == 1
        assert parameter_count(KiT(shared=True)) < counts.pop()


@pytest.mark.parametrize("k", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("patches", [1, 3, 16, 30])
def test_groups(k: int, patches: int) -> None:
    module = attention(k=k, h=3)
    groups = module.group(torch.randn(2, patches, 24))
    k = min(k, patches)
    assert groups.shape == (2, 3, patches, 2 * k)
    assert groups.min() >= 0 and groups.max() < patches
    # A patch is in its own chunk, and the chunk is the same for all of its members.
    own = groups[..., :k]
    assert (own == torch.arange(patches)[:, None]).any(dim=3).all()
    for rows in own.flatten(0, 1):
        chunks = {tuple(row.tolist()) for row in rows}
        assert len(chunks) == -(-patches // k)
        assert set().union(*chunks) == set(range(patches))


def test_equal_patches_meet_in_a_bucket() -> None:
    patches = torch.randn(1, 16, 24)
    patches[:, 9] = patches[:, 2] * 3  # the hash looks at directions only
    groups = attention(k=8, h=1).group(patches)[0, 0]
    position = {p: i for i, p in enumerate(dict.fromkeys(groups[:, :8].flatten().tolist()))}
    assert abs(position[9] - position[2]) < 8 or 9 in groups[2] or 2 in groups[9]


def test_pair_wise_attention_by_definition() -> None:
    module = attention(k=2, h=2, channels=3, r=2).double()
    x = torch.randn(1, 3, 4, 4, dtype=torch.float64)
    patches = to_patches(x, 2)[0]
    partners = module.group(patches.flatten(1)[None])[0]
    out = torch.zeros_like(patches)
    for rounds in partners:
        for p in range(4):
            q = module.phi(patches[p])
            keys = [module.theta(patches[j]) for j in rounds[p]]
            values = [module.psi(patches[j]) for j in rounds[p]]
            outputs = [(q @ k.t() / 3**0.5).softmax(1) @ v for k, v in zip(keys, values, strict=True)]
            weights = torch.stack([(q * k).sum() / (4 * 3) ** 0.5 for k in keys]).softmax(0)
            out[p] += sum(w * o for w, o in zip(weights, outputs, strict=True)) / 2
    torch.testing.assert_close(module(x), from_patches(out[None], (2, 2), 2))


@pytest.mark.parametrize("merge", [{}, {"round_merge": "logsumexp"}, {"pair_weight": "ratio"}])
def test_a_small_budget_changes_nothing(merge) -> None:
    module = attention(**merge).double()
    x = torch.randn(2, 6, 8, 6, dtype=torch.float64, requires_grad=True)
    want = module(x)
    want_gradient = torch.autograd.grad(want.square().sum(), x)[0]
    module.memory_budget = 1
    got = module(x)
    torch.testing.assert_close(got, want)
    torch.testing.assert_close(torch.autograd.grad(got.square().sum(), x)[0], want_gradient)


@pytest.mark.parametrize(("k", "shape"), [(2, (2, 3, 4, 4)), (3, (1, 3, 4, 4)), (9, (1, 3, 4, 2))])
def test_the_gradient_goes_back_to_where_the_patches_lie(k: int, shape: tuple[int, ...]) -> None:
    module = attention(k=k, h=2, channels=3).double()
    x = torch.randn(*shape, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,))
    # On a GPU several rounds are done at once.
    order, place = module.sort(to_patches(x.detach(), 2).flatten(2))
    patches = torch.randn(shape[0], order.shape[2], 4, 3, requires_grad=True)
    ordered = _Sorted.apply(patches, order, place)
    assert torch.equal(_Restored.apply(ordered, order, place), patches.unsqueeze(1).expand_as(ordered))
    weights = torch.randn_like(ordered)
    rows = order[:, :, :, None, None].expand_as(ordered)
    want = torch.autograd.grad((patches.unsqueeze(1).expand_as(ordered).gather(2, rows) * weights).sum(), patches)
    torch.testing.assert_close(torch.autograd.grad((ordered * weights).sum(), patches), want)


def test_the_ratio_of_equation_10_adds_up_to_one_where_it_is_stable() -> None:
    module = attention(pair_weight="ratio", h=1).double()
    with torch.no_grad():
        for linear in (module.phi, module.theta):
            linear.weight.copy_(torch.eye(6))
            linear.bias.zero_()
        module.psi.weight.zero_()
        module.psi.bias.fill_(1.0)
    out = module(torch.rand(1, 6, 4, 4, dtype=torch.float64) + 0.5)
    torch.testing.assert_close(out, torch.ones_like(out))


def test_the_rotations_are_fixed_saved_and_used() -> None:
    patches = torch.randn(1, 64, 24)
    first, again, other = attention(), attention(), attention(hash_seed=1)
    assert torch.equal(first.group(patches), again.group(patches))
    assert not torch.equal(first.group(patches), other.group(patches))
    # A checkpoint brings its rotations along.
    first.load_state_dict(other.state_dict())
    assert torch.equal(first.group(patches), other.group(patches))
    assert torch.equal(attention(h=2).rotations, again.rotations[:2])
    blocks = [b for name, b in KiT(assumptions=KiTAssumptions(width=2)).named_buffers() if name.endswith("rotations")]
    assert len({b.flatten()[:64].numpy().tobytes() for b in blocks}) == len(blocks) == 14


def test_all_sizes_share_the_rotations() -> None:
    module = attention(h=3)
    patches = torch.randn(1, 400, 24)
    few, many = module.hash(patches, 8), module.hash(patches, 128)
    assert int(few.max()) == 7 and int(many.max()) > 120
    kept = many % 64 < 4  # the nearest of 64 directions is one of the first four
    assert 0 < int(kept.sum()) < kept.numel()
    assert torch.equal(few[kept] % 4, many[kept] % 64)
    assert torch.equal(few[kept] >= 4, many[kept] >= 64)  # its sign


def test_weights_without_rotations_are_refused_with_the_reason() -> None:
    network = KiT(assumptions=KiTAssumptions(width=2))
    state = {key: value for key, value in network.state_dict().items() if not key.endswith("rotations")}
    state |= {f"{key}.hash_seed": torch.tensor(0) for key, m in network.named_modules() if hasattr(m, "rotations")}
    with pytest.raises(
        HarnessError, match=r"'encoder\.0\.0\.attention\.rotations'.*changed with .* size; train it again"
    ):
        load_released(network, state, "an old file")


def test_mixed_precision_changes_no_group(synthetic: Callable[[int, int], np.ndarray]) -> None:
    network = KiT(assumptions=KiTAssumptions(width=8)).eval()
    image = torch.from_numpy(synthetic(256, 256)).permute(2, 0, 1)[None] / 255
    seen = []
    for block in network.modules():
        if isinstance(block, KNNLocalAttention):
            block.register_forward_pre_hook(lambda m, a: seen.append((m, to_patches(a[0], m.r).flatten(2))))
    with torch.no_grad():
        network(image)
    for block, patches in seen:
        with torch.autocast("cpu", torch.bfloat16):
            mixed = block.group(patches)
        assert torch.equal(mixed, block.group(patches))


def test_mixed_precision_keeps_the_denominator_of_equation_10() -> None:
    module = attention(k=1, h=1, channels=2, r=1, pair_weight="ratio")
    query, value = torch.ones(1, 1, 1, 2), torch.tensor([[1.0, 1.0], [0.0, 0.0]]).reshape(1, 2, 1, 2)
    # The products are 257 and -256.5; bfloat16 knows neither, and the sum of what it makes of them is 0.
    key = torch.tensor([[256.0, 1.0], [-256.0, -0.5]]).reshape(1, 2, 1, 2)
    with torch.autocast("cpu", torch.bfloat16):
        out, _ = module._attend(query[None], key[None], value[None])
    assert out.flatten().tolist() == pytest.approx([257 / 0.5] * 2, rel=0.01)


def test_refusals() -> None:
    small = KiTAssumptions(width=2)
    with pytest.raises(HarnessError, match="64 divides, not 100x64"):
        KiT(assumptions=small)(torch.rand(1, 3, 64, 100))
    with pytest.raises(HarnessError, match="at least 1"):
        KiT(k=0)
    with pytest.raises(HarnessError, match="pair weight"):
        KiT(assumptions=KiTAssumptions(pair_weight="sum"))
    with pytest.raises(HarnessError, match="round merge"):
        KiT(assumptions=KiTAssumptions(round_merge="max"))
    with pytest.raises(HarnessError, match="needs the pair weight 'softmax'"):
        KiT(assumptions=KiTAssumptions(pair_weight="ratio", round_merge="logsumexp"))
