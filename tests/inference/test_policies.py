from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from harness.errors import HarnessError, NotAvailableError
from harness.inference import POLICIES, chop, chop_rule, policy, restore, self_ensemble, whole
from harness.networks.checkpoints import mark_ready
from harness.networks.csnln import CSNLN
from harness.networks.edsr import EDSR
from harness.networks.panet import PANet
from harness.networks.rnan import RNAN, RNANSR


def ready(network: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in network.parameters():
        if parameter.requires_grad and parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.05)
    return mark_ready(network, "trained", "drawn for a test")


def test_untrained_networks_are_never_applied() -> None:
    for name in POLICIES:
        with pytest.raises(NotAvailableError, match="has no weights yet"):
            restore(PANet(n_resblocks=2, n_feats=4), torch.rand(1, 3, 8, 8), name, chop_rule("panet-denoise"))


def test_half_loaded_networks_are_never_applied() -> None:
    network = ready(PANet(n_resblocks=2, n_feats=4))
    network.load_state_dict({"tail.0.bias": torch.ones(3)}, strict=False)
    with pytest.raises(NotAvailableError, match="have changed"):
        restore(network, torch.rand(1, 3, 8, 8))


def test_policies_are_their_parts() -> None:
    network = ready(RNAN(n_resgroups=2, n_feats=8))
    rule = chop_rule("rnan-denoise")
    x = torch.rand(1, 3, 50, 43)

    def apply(t: Tensor) -> Tensor:
        return whole(network, t)

    with torch.inference_mode():
        own = 255 * x
        parts = {
            "whole": apply(own),
            "chop": chop(apply, own, rule),
            "x8": self_ensemble(apply, own),
            "chop+x8": self_ensemble(lambda t: chop(apply, t, rule), own),
        }
        want = {name: part / 255 for name, part in parts.items()}
    for name in want:
        got = restore(network, x, name, rule)
        assert torch.equal(got, want[name]) and got.shape == x.shape
        assert policy(name).tiled == ("chop" in name) and policy(name).ensemble == ("x8" in name)
    assert len({float(w.sum()) for w in want.values()}) == 4


def test_batched_tiles_are_the_single_tiles() -> None:
    network = ready(PANet(n_resblocks=2, n_feats=16))
    rule = chop_rule("panet-denoise")
    x = torch.rand(1, 3, 60, 70)
    single = restore(network, x, "chop", rule, at_once=1)
    # Convolutions of a batch may round differently from those of one tile; never by more than this.
    torch.testing.assert_close(restore(network, x, "chop", rule, at_once=4), single, rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("network", "size"),
    [
        (RNAN(n_resgroups=2, n_feats=4), (7, 9)),
        (RNAN(n_resgroups=2, n_feats=4), (1, 1)),
        (CSNLN(2, depth=1, n_feats=4), (5, 6)),
        (CSNLN(3, depth=1, n_feats=4), (4, 7)),
        (RNANSR(2, n_resgroups=2, n_feats=4), (5, 5)),
        (PANet(n_resblocks=2, n_feats=4), (1, 2)),
    ],
)
def test_any_size_is_restored_whole(network: nn.Module, size: tuple[int, int]) -> None:
    scale = getattr(network, "scale", 1)
    out = restore(ready(network), torch.rand(2, 3, *size))
    assert out.shape == (2, 3, size[0] * scale, size[1] * scale)


def test_padding_repeats_the_border_and_only_where_needed() -> None:
    seen: list[Tensor] = []

    class Even(nn.Module):
        size_multiple = 2

        def forward(self, x: Tensor) -> Tensor:
            seen.append(x)
            return x

    x = torch.rand(1, 1, 3, 4)
    assert torch.equal(whole(Even(), x), x)
    assert torch.equal(seen[0], torch.cat([x, x[:, :, 2:]], dim=2))


def test_images_are_in_0_1_whatever_the_network_works_in() -> None:
    a, b = EDSR(2, n_resblocks=2, n_feats=8), EDSR(2, n_resblocks=2, n_feats=8, rgb_range=255)
    b.load_state_dict({k: v for k, v in a.state_dict().items() if "mean" not in k}, strict=False)
    for network in (a, b):
        for parameter in network.parameters():
            if parameter.ndim == 1 and parameter.requires_grad:
                nn.init.zeros_(parameter)  # without biases both are the same function of their range
        mark_ready(network, "trained", "drawn for a test")
    x = torch.rand(1, 3, 6, 6)
    torch.testing.assert_close(restore(a, x), restore(b, x), rtol=1e-4, atol=1e-5)


def test_no_gradient_and_no_training_mode() -> None:
    network = ready(PANet(n_resblocks=2, n_feats=4)).train()
    assert not restore(network, torch.rand(1, 3, 6, 6)).requires_grad
    assert not network.training


def test_refusals() -> None:
    network = ready(PANet(n_resblocks=2, n_feats=4))
    with pytest.raises(HarnessError, match="inference policy"):
        restore(network, torch.rand(1, 3, 8, 8), "tiles")
    with pytest.raises(HarnessError, match="needs the paper's chop rule"):
        restore(network, torch.rand(1, 3, 8, 8), "chop")
