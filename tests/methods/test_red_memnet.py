"""RED30 and MemNet as methods: what they say while their weights are missing, and what they do with generated ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from foreign_formats import caffe_layer, caffemodel, mxnet_state
from generated_weights import supply

from harness.assets.weights.registry import weight_set
from harness.cli.describing import describe_method
from harness.degradations.resize import imresize
from harness.errors import NotAvailableError
from harness.methods import build_method, get_method
from harness.methods.memnet import LARGE, RELEASED
from harness.networks.memnet import MemNet
from harness.networks.red import RED30
from harness.run.apply import tensor_restorer

SHAPES = {1: (19, 32), 3: (13, 18, 3)}


def restored(name: str, task: str, level: int, channels: int) -> tuple[np.ndarray, np.ndarray]:
    method = get_method(name)
    image = np.random.default_rng(level).uniform(0, 255, SHAPES[channels])
    scale = level if task == "sr" else 1
    function = build_method(method, task, level)
    return image, tensor_restorer(function, method.policy, scale=scale)(image)


def red_file() -> bytes:
    torch.manual_seed(2)
    state = {name: tensor.numpy() for name, tensor in RED30().state_dict().items()}
    layers = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    return caffemodel(
        caffe_layer("data", "Input"),
        *(caffe_layer(name, "Convolution", state[f"{name}.weight"], state[f"{name}.bias"]) for name in layers),
    )


def memnet_file(blocks: int) -> bytes:
    """Write generated weights under the released names: each recursion has its copy of a block's filters."""
    torch.manual_seed(3)
    own = {name: tensor.numpy() for name, tensor in MemNet(blocks, blocks).state_dict().items()}
    places = {"conv1": "extract.conv", "bn_conv1": "extract.norm"}
    for m in range(1, blocks + 1):
        for r in range(1, blocks + 1):
            for half in "ab":
                places[f"conv{m:02d}_{r:02d}_{half}"] = f"blocks.{m - 1}.conv_{half}"
                places[f"bn_conv{m:02d}_{r:02d}_{half}"] = f"blocks.{m - 1}.norms_{half}.{r - 1}"
        places[f"conv_transition_{m:02d}"] = f"blocks.{m - 1}.gate.conv"
        places[f"bn_conv_transition_{m:02d}"] = f"blocks.{m - 1}.gate.norm"
        places[f"conv_end_{m:02d}"] = "reconstruct"
        places[f"bn_conv_end_{m:02d}"] = f"norms_end.{m - 1}"
    released = {}
    for layer, place in places.items():
        for kind in ("weight", "bias", "running_mean", "running_var"):
            if f"{place}.{kind}" in own:
                released[f"{layer}.{kind}"] = own[f"{place}.{kind}"]
    return mxnet_state(released)


@pytest.mark.parametrize(
    ("name", "task", "level", "file"),
    [
        ("red", "denoise-gray", 10, "sigma10.caffemodel"),
        ("red", "denoise-rgb", 70, "sigma70.caffemodel"),
        ("memnet", "denoise-rgb", 30, "m6r6-denoise.params"),
        ("memnet", "jpeg", 20, "m6r6-jpeg.params"),
        ("memnet", "sr", 3, "m6r6-sr.params"),
        ("memnet-m10r10", "sr", 2, "m10r10-sr.params"),
    ],
)
def test_missing_weights(
    name: str, task: str, level: int, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    method = get_method(name)
    known = method.weights[0]
    assert method.file is not None and method.file(task, level) == f"{known}/{file}"
    with pytest.raises(NotAvailableError, match=f"{known}/{file} are not here; run `harness weights fetch {known}`"):
        build_method(method, task, level)
    assert "parameters" in dict(describe_method(method, task, (48, 48), measure=False))


@pytest.mark.parametrize(
    ("name", "task", "level", "told"),
    [
        ("red", "denoise-gray", 15, "released for sigma 10, 30, 50 and 70, not for 15"),
        ("memnet", "denoise-gray", 10, "released for denoise-gray at 30, 50, 70, not at 10"),
        ("memnet", "jpeg", 40, "released for jpeg at 10, 20, not at 40"),
        ("memnet-m10r10", "sr", 8, "released for sr at 2, 3, 4, not at 8"),
    ],
)
def test_levels_without_a_release(name: str, task: str, level: int, told: str) -> None:
    method = get_method(name)
    with pytest.raises(NotAvailableError, match=told):
        method.build(task, level)
    assert method.file is not None and not method.file(task, level)


def test_every_file_is_pinned_and_named_by_a_method() -> None:
    named = {release.file for release in (*RELEASED.values(), LARGE)}
    assert named == {file.name for file in weight_set("memnet").files}
    for name in ("red", "memnet"):
        assert all(file.git_blob and file.at for file in weight_set(name).files)
    for release in (*RELEASED.values(), LARGE):
        assert abs(sum(release.mix) - 1) < 0.01


def test_red(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each channel is an image of its own; the mean is over eight orientations."""
    supply(tmp_path, monkeypatch, "red", {"sigma50.caffemodel": red_file()})
    image, result = restored("red", "denoise-rgb", 50, 3)
    assert result.shape == image.shape
    function = build_method(get_method("red"), "denoise-gray", 50)
    one = tensor_restorer(function, "x8")(image[:, :, 1])
    np.testing.assert_allclose(result[:, :, 1], one, atol=1e-2)
    assert np.abs(result - image).max() > 0.01


@pytest.mark.parametrize(("task", "level"), [("denoise-gray", 70), ("denoise-rgb", 30), ("jpeg", 10), ("sr", 3)])
def test_memnet(task: str, level: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supply(tmp_path, monkeypatch, "memnet", {RELEASED[task].file: memnet_file(6)})
    image, result = restored("memnet", task, level, 3 if task in ("denoise-rgb", "sr") else 1)
    if task != "sr":
        assert result.shape == image.shape
        return
    assert result.shape == (3 * image.shape[0], 3 * image.shape[1], 3)
    # Chroma is bicubic's: what the network adds to luma is the same in all three channels.
    added = result - imresize(image, 3.0, border="symmetric")
    assert np.ptp(added, axis=2).max() < 0.01 < np.ptp(added)
