from __future__ import annotations

import json

import pytest
import torch
from golden_recipe import state_of
from torch import nn

from harness.errors import HarnessError, NotAvailableError
from harness.networks.checkpoints import load_released, mark_ready, require_ready
from harness.networks.csnln import CSNLN
from harness.networks.edsr import PAEDSR
from harness.networks.panet import PANet
from harness.networks.rnan import RNAN, RNANSR

RELEASED = {
    "panet_80": PANet,
    **{f"paedsr_x{s}": (lambda s=s: PAEDSR(s)) for s in (2, 3, 4)},
    "rnan_DN_RGB_g10": RNAN,
    "rnan_DN_Gray_g10": lambda: RNAN(n_colors=1),
    "rnan_CAR_g10": lambda: RNAN(n_colors=1),
    "rnan_Demosaic_g10": RNAN,
    **{f"rnan_SR_x{s}": (lambda s=s: RNANSR(s)) for s in (2, 3, 4)},
    **{f"csnln_x{s}": (lambda s=s: CSNLN(s)) for s in (2, 3, 4)},
}


def small() -> PANet:
    return PANet(n_resblocks=2, n_feats=4)


def state(network: nn.Module) -> dict[str, torch.Tensor]:
    return state_of(network, {key: list(value.shape) for key, value in network.state_dict().items()})


@pytest.mark.parametrize("name", RELEASED)
def test_the_key_list_of_every_released_checkpoint(golden, name: str) -> None:
    record = json.loads((golden / "activations" / "released_checkpoints.json").read_text())[name]
    with torch.device("meta"):
        network = RELEASED[name]()
    shapes = record.get("state_dict") or {k: v for k, v in record.items() if k != "parameters"}
    assert {key: list(value.shape) for key, value in network.state_dict().items()} == shapes
    assert sum(p.numel() for p in network.parameters()) == record["parameters"]


@pytest.mark.parametrize("name", ["panet_80", "rnan_SR_x4", "csnln_x2"])
def test_released_checkpoints_load(golden, name: str) -> None:
    record = json.loads((golden / "activations" / "released_checkpoints.json").read_text())[name]
    network = RELEASED[name]()
    shapes = record.get("state_dict") or {k: v for k, v in record.items() if k != "parameters"}
    weights = state_of(network, shapes)
    load_released(network, {f"module.{key}": value for key, value in weights.items()}, source=name)
    assert all(torch.equal(value, weights[key]) for key, value in network.state_dict().items())
    assert require_ready(network).source == name


def test_every_fault_is_named_and_nothing_is_loaded() -> None:
    network = small()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    good = state(network)
    faults = [
        ({k: v for k, v in good.items() if k != "head.0.bias"}, "no weights for 'head.0.bias' of PANet"),
        (good | {"extra": torch.zeros(1)}, "'extra' is no part of PANet"),
        (good | {"head.0.weight": torch.zeros(4, 1, 3, 3)}, "'head.0.weight' is 4x1x3x3, PANet needs 4x3x3x3"),
        (good | {"tail.0.bias": torch.tensor([0.0, float("nan"), 0.0])}, "'tail.0.bias' holds NaN or infinity"),
        (good | {"tail.0.bias": torch.tensor([0.0, float("inf"), 0.0])}, "'tail.0.bias' holds NaN or infinity"),
        (good | {"body.1.escape_NaN": torch.tensor([1e-3])}, "the constant 'body.1.escape_NaN'"),
        ({}, "no weights for"),
    ]
    for weights, message in faults:
        with pytest.raises(HarnessError, match=r"file\.pt: ") as error:
            load_released(network, weights, source="file.pt")
        assert message in str(error.value) and "\n" not in str(error.value)
        assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
        with pytest.raises(NotAvailableError):
            require_ready(network)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "model.", "module._orig_mod."])
def test_wrappers_are_taken_off_before_a_network_is_filled(prefix: str) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Linear(2, 2)

    state = {f"{prefix}{name}": value for name, value in Network().state_dict().items()}
    network = load_released(Network(), {**state, f"{prefix}total_ops": torch.zeros(1)}, "file")
    torch.testing.assert_close(network.body.weight, state[f"{prefix}body.weight"])


def test_a_mean_shift_of_another_range_is_refused_where_it_is_used() -> None:
    weights = state(RNANSR(2, n_resgroups=2, n_feats=4, rgb_range=1))
    with pytest.raises(HarnessError, match="rgb_range 255"):
        load_released(RNANSR(2, n_resgroups=2, n_feats=4), weights, source="x")
    # Some authors trained it without meaning to; what they then had is what their numbers were made with.
    moved = state(RNANSR(2, n_resgroups=2, n_feats=4))
    moved["sub_mean.bias"] *= 0.99
    moved["add_mean.weight"] += 0.01
    network = load_released(RNANSR(2, n_resgroups=2, n_feats=4), moved, source="x")
    assert torch.equal(network.sub_mean.bias, moved["sub_mean.bias"])
    assert torch.equal(network.add_mean.weight, moved["add_mean.weight"])
    # PANet holds the constants and never uses them.
    load_released(small(), state(small()) | {"sub_mean.bias": torch.ones(3)}, source="x")


def test_only_complete_weights_are_ready() -> None:
    network = small()
    with pytest.raises(NotAvailableError, match="PANet has no weights yet"):
        require_ready(network)
    load_released(network, state(network), source="file.pt")
    assert require_ready(network).kind == "released"
    assert not network.training


@pytest.mark.parametrize(
    "change",
    [
        lambda n: n.head.load_state_dict({k: v + 1 for k, v in n.head.state_dict().items()}),
        lambda n: nn.init.normal_(n.tail[0].weight),
        lambda n: n.body[0].body[1].weight.data.mul_(2),
        lambda n: n.load_state_dict({"head.0.bias": torch.ones(4)}, strict=False),
        lambda n: n.bfloat16(),
        lambda n: setattr(n, "tail", nn.Sequential(nn.Conv2d(4, 3, 3, padding=1))),
        lambda n: n.body.append(nn.PReLU()),
    ],
    ids=["part", "init", "data", "not-strict", "digits", "replaced", "grown"],
)
def test_any_change_undoes_the_mark(change) -> None:
    network = load_released(small(), state(small()), source="file.pt")
    change(network)
    with pytest.raises(NotAvailableError, match=r"have changed since they were loaded from file\.pt"):
        require_ready(network)


def test_a_training_step_undoes_the_mark_and_training_can_set_its_own() -> None:
    network = load_released(small(), state(small()), source="file.pt")
    optimizer = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], lr=0.1)
    network(torch.rand(1, 3, 6, 6)).sum().backward()
    optimizer.step()
    with pytest.raises(NotAvailableError):
        require_ready(network)
    mark_ready(network, "trained", "panet.yaml, 1 iteration")
    assert require_ready(network).kind == "trained"


def test_exact_conversions_keep_the_mark() -> None:
    network = load_released(small(), state(small()), source="file.pt")
    require_ready(network.double())
    require_ready(network.float().to("cpu"))


def test_marks_need_a_kind_a_source_and_finite_weights() -> None:
    with pytest.raises(HarnessError, match="not 'random'"):
        mark_ready(small(), "random", "x")
    with pytest.raises(HarnessError, match="need a source"):
        mark_ready(small(), "trained", " ")
    network = small()
    network.head[0].weight.data[0] = float("nan")
    with pytest.raises(HarnessError, match=r"'head\.0\.weight' of PANet has no finite values"):
        mark_ready(network, "trained", "x")


def test_a_function_without_parameters_is_always_ready() -> None:
    require_ready(nn.Upsample(scale_factor=2))
