"""Importers: every released format, and every way a file can be wrong."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from harness.assets.weights.importers import FORMATS, import_weights
from harness.assets.weights.matlab import read_mat
from harness.errors import HarnessError

RNG = np.random.default_rng(7)
CONVS = [
    (RNG.normal(size=(4, 1, 3, 3)).astype(np.float32), RNG.normal(size=4).astype(np.float32)),
    (RNG.normal(size=(5, 4, 3, 3)).astype(np.float32), RNG.normal(size=5).astype(np.float32)),
    (RNG.normal(size=(1, 5, 3, 3)).astype(np.float32), RNG.normal(size=1).astype(np.float32)),
]


def one_sentence(error: pytest.ExceptionInfo[HarnessError], path: Path) -> str:
    """Check that an error names the file and the remedy in one line."""
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text and not text.endswith(".")
    assert len(text) < 400 + len(str(path))
    return text


# Formats ------------------------------------------------------------------------------------------------------------


def test_mat_values(tmp_path: Path, write_mat: Callable[..., Path], struct_array: Any) -> None:
    path = write_mat(
        tmp_path / "a.mat",
        matrix=np.arange(6, dtype=np.float64).reshape(2, 3),
        text="relu",
        nested={"deep": {"x": np.array([[3.0]])}, "cells": ["a", np.zeros((1, 2))]},
        many=struct_array([{"name": "p", "value": np.ones((2, 2))}, {"name": "q", "value": np.zeros((1, 1))}]),
    )
    found = read_mat(path)
    np.testing.assert_array_equal(found["matrix"], [[0, 1, 2], [3, 4, 5]])
    assert found["text"] == "relu"
    assert found["nested"]["deep"]["x"].item() == 3
    assert found["nested"]["cells"][0] == "a"
    assert [record["name"] for record in found["many"]] == ["p", "q"]
    np.testing.assert_array_equal(found["many"][0]["value"], np.ones((2, 2)))


def test_simplenn(tmp_path: Path, write_mat: Callable[..., Path], simplenn_layers: Any) -> None:
    layers = simplenn_layers(CONVS, around=("SubP", "concat"))
    path = write_mat(tmp_path / "a.mat", net={"layers": layers, "meta": {"P": np.arange(6.0).reshape(2, 3)}})
    found = import_weights(path, "matconvnet")
    assert list(found) == [f"convs.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")] + ["meta.P"]
    for index, (weight, bias) in enumerate(CONVS):
        np.testing.assert_array_equal(found[f"convs.{index}.weight"], weight)
        np.testing.assert_array_equal(found[f"convs.{index}.bias"], bias)
    np.testing.assert_array_equal(found["meta.P"], [[0, 1, 2], [3, 4, 5]])


def test_simplenn_list(tmp_path: Path, write_mat: Callable[..., Path], simplenn_layers: Any) -> None:
    layers = simplenn_layers(CONVS)
    path = write_mat(tmp_path / "a.mat", CNNdenoiser=[layers, {"layers": layers}])
    found = import_weights(path, "matconvnet-list")
    assert len(found) == 12
    np.testing.assert_array_equal(found["level2.convs.1.weight"], CONVS[1][0])


def test_dagnn(tmp_path: Path, write_mat: Callable[..., Path], struct_array: Any) -> None:
    weight, bias = CONVS[1]
    params = struct_array(
        [
            {"name": "conv_f", "value": weight.transpose(2, 3, 1, 0)},
            {"name": "conv_b", "value": bias[None]},
            {"name": "up_f", "value": np.arange(4.0).reshape(2, 2).astype(np.float32)},
        ]
    )
    found = import_weights(write_mat(tmp_path / "a.mat", net={"params": params, "layers": {"type": "x"}}), "dagnn")
    np.testing.assert_array_equal(found["conv_f"], weight)
    np.testing.assert_array_equal(found["conv_b"], bias)
    np.testing.assert_array_equal(found["up_f"], [[[[0, 1], [2, 3]]]])


def test_dagnn_layers(tmp_path: Path, write_mat: Callable[..., Path], struct_array: Any) -> None:
    weight, bias = CONVS[1]
    params = [
        {"name": "first", "value": weight.transpose(2, 3, 1, 0)},
        {"name": "second", "value": bias[None]},
        {"name": "third", "value": np.arange(4.0).reshape(2, 2).astype(np.float32)},
    ]
    layers = [
        {"name": "conv", "params": ["first", "second"]},
        {"name": "relu", "params": []},
        {"name": "up", "params": ["third"]},
    ]

    def written(layers: list[dict[str, Any]]) -> Path:
        net = {"params": struct_array(params), "layers": struct_array(layers)}
        return write_mat(tmp_path / "a.mat", net=net)

    found = import_weights(written(layers), "dagnn-layers")
    assert list(found) == ["conv.weight", "conv.bias", "up.weight"]
    np.testing.assert_array_equal(found["conv.weight"], weight)
    np.testing.assert_array_equal(found["conv.bias"], bias)
    np.testing.assert_array_equal(found["up.weight"], [[[[0, 1], [2, 3]]]])
    for wrong, match in (
        (layers[:2], "'third' belongs to no layer"),
        ([*layers, {"name": "again", "params": ["first"]}], "'again' has other parameters"),
        ([layers[0], {"name": "norm", "params": ["third", "fourth"]}], "'norm' has other parameters"),
        ([{"name": "conv", "params": ["first", "first"]}, *layers[2:]], "'conv' has other parameters"),
        ([layers[0], {"name": "conv", "params": ["third"]}], "'conv' is there twice"),
    ):
        path = written(wrong)
        with pytest.raises(HarnessError, match=match) as error:
            import_weights(path, "dagnn-layers")
        one_sentence(error, path)


def test_caffe(tmp_path: Path, write_mat: Callable[..., Path]) -> None:
    (first, first_bias), _, (last, last_bias) = CONVS

    def pack(weight: np.ndarray) -> np.ndarray:
        """OIHW → (in, k*k in column order, out)."""
        return weight.transpose(1, 3, 2, 0).reshape(weight.shape[1], -1, weight.shape[0])

    path = write_mat(
        tmp_path / "a.mat",
        weights_conv1=pack(first).astype(np.float64),
        biases_conv1=first_bias[:, None],
        weights_conv3=pack(last)[:, :, 0].astype(np.float64),
        biases_conv3=last_bias[:, None],
    )
    found = import_weights(path, "caffe-mat")
    np.testing.assert_array_equal(found["conv1.weight"], first)
    np.testing.assert_array_equal(found["conv3.weight"], last)
    np.testing.assert_array_equal(found["conv3.bias"], last_bias)


def tnrd_variables(stages: int = 2) -> dict[str, Any]:
    means = np.linspace(-310, 310, 63)[:, None]
    grid = np.linspace(-320, 320, 101)[None]
    mixture = {"means": means, "precision": np.array([[0.01]]), "D": grid}
    mixture["G"] = np.exp(-0.005 * (grid - means) ** 2)
    cof = np.random.default_rng(1).normal(size=(48 * (48 + 63) + 1, stages))
    return {"cof": cof, "MFS": mixture, "stage": np.array([[float(stages)]])}


def test_tnrd(tmp_path: Path, write_mat: Callable[..., Path]) -> None:
    variables = tnrd_variables()
    found = import_weights(write_mat(tmp_path / "a.mat", **variables), "tnrd")
    assert {name: array.shape for name, array in found.items()} == {
        "cof": (5329, 2),
        "means": (63,),
        "precision": (1,),
        "grid": (101,),
    }
    np.testing.assert_array_equal(found["cof"], variables["cof"])


def test_mlp(tmp_path: Path, write_mat: Callable[..., Path]) -> None:
    matrices = [np.arange(12.0).reshape(4, 3), np.arange(10.0).reshape(2, 5)]
    path = write_mat(tmp_path / "a.mat", **{f"w_{index}": matrix for index, matrix in enumerate(matrices, 1)})
    found = import_weights(path, "mlp-mat")
    assert list(found) == ["layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias"]
    np.testing.assert_array_equal(found["layers.0.weight"], matrices[0][:, :2])
    np.testing.assert_array_equal(found["layers.1.bias"], matrices[1][:, 4])
    with pytest.raises(HarnessError, match="'w_2' is missing"):
        import_weights(write_mat(tmp_path / "b.mat", w_1=matrices[0], w_3=matrices[1]), "mlp-mat")
    with pytest.raises(HarnessError, match="'w_1' is no matrix of weights"):
        import_weights(write_mat(tmp_path / "c.mat", w_1=np.array([[1.0]])), "mlp-mat")


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(
        path, c168_weight=CONVS[0][0], c168_bias=CONVS[0][1], c169_weight=CONVS[1][0], c169_bias=CONVS[1][1]
    )
    found = import_weights(path, "npz")
    np.testing.assert_array_equal(found["convs.1.weight"], CONVS[1][0])
    np.testing.assert_array_equal(found["convs.0.bias"], CONVS[0][1])


@pytest.mark.parametrize("legacy", [False, True])
def test_state_dict(tmp_path: Path, legacy: bool) -> None:
    path = tmp_path / "a.pth"
    state = {"body.0.weight": torch.from_numpy(CONVS[0][0]), "count": torch.tensor(3)}
    torch.save(state, path, _use_new_zipfile_serialization=not legacy)
    found = import_weights(path, "state-dict")
    np.testing.assert_array_equal(found["body.0.weight"], CONVS[0][0])
    assert found["count"] == 3 and found["count"].shape == ()


def test_safetensors(tmp_path: Path) -> None:
    save_file({"a": CONVS[0][0]}, tmp_path / "a.safetensors")
    np.testing.assert_array_equal(import_weights(tmp_path / "a.safetensors", "safetensors")["a"], CONVS[0][0])


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="unknown weights format 'matconvnett'; did you mean 'matconvnet'"):
        import_weights(tmp_path / "a", "matconvnett")


# Wrong files --------------------------------------------------------------------------------------------------------

SUFFIX = {"npz": ".npz", "state-dict": ".pth", "safetensors": ".safetensors"}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("content", [b"", b"not weights at all" * 100, b"\x80\x02."], ids=["empty", "text", "stub"])
def test_foreign_bytes(tmp_path: Path, form: str, content: bytes) -> None:
    path = tmp_path / f"a{SUFFIX.get(form, '.mat')}"
    path.write_bytes(content)
    with pytest.raises(HarnessError) as error:
        import_weights(path, form)
    one_sentence(error, path)


@pytest.mark.parametrize("form", FORMATS)
def test_missing_file(tmp_path: Path, form: str) -> None:
    path = tmp_path / "gone.mat"
    with pytest.raises(HarnessError) as error:
        import_weights(path, form)
    one_sentence(error, path)


@pytest.mark.parametrize("share", [0.2, 0.6, 0.97])
def test_truncated_mat(tmp_path: Path, write_mat: Callable[..., Path], simplenn_layers: Any, share: float) -> None:
    convs = [(RNG.normal(size=(64, 64, 3, 3)).astype(np.float32), np.zeros(64, np.float32))]
    path = write_mat(tmp_path / "a.mat", net={"layers": simplenn_layers(convs)})
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(HarnessError) as error:
        import_weights(path, "matconvnet")
    one_sentence(error, path)


@pytest.mark.parametrize("share", [0.3, 0.9])
@pytest.mark.parametrize("form", ["npz", "state-dict", "state-dict-legacy", "safetensors"])
def test_truncated(tmp_path: Path, form: str, share: float) -> None:
    path = tmp_path / "a"
    array = RNG.normal(size=(64, 64, 3, 3)).astype(np.float32)
    if form == "npz":
        with path.open("wb") as file:
            np.savez_compressed(file, c_weight=array)
    elif form == "safetensors":
        save_file({"a": array}, path)
    else:
        torch.save({"a": torch.from_numpy(array)}, path, _use_new_zipfile_serialization=form == "state-dict")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(HarnessError) as error:
        import_weights(path, form.removesuffix("-legacy"))
    one_sentence(error, path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(tmp_path: Path, write_mat: Callable[..., Path], simplenn_layers: Any, value: float) -> None:
    weight = CONVS[0][0].copy()
    weight[1, 0, 2, 2] = value
    path = write_mat(tmp_path / "a.mat", net={"layers": simplenn_layers([(weight, CONVS[0][1])])})
    with pytest.raises(HarnessError, match=r"'convs\.0\.weight' holds NaN or infinity") as error:
        import_weights(path, "matconvnet")
    one_sentence(error, path)


def test_not_finite_state_dict(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save({"w": torch.tensor([1.0, float("nan")])}, path)
    with pytest.raises(HarnessError, match="'w' holds NaN") as error:
        import_weights(path, "state-dict")
    one_sentence(error, path)


class Trap:
    """Writes a file when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return (Path.write_text, (self.target, "ran"))


@pytest.mark.parametrize("kind", ["torch", "torch-legacy", "plain-pickle", "npz"])
def test_pickle_with_code_is_refused(tmp_path: Path, kind: str) -> None:
    path, ran = tmp_path / "a.pth", tmp_path / "ran"
    trap = Trap(ran)
    if kind == "npz":
        with path.open("wb") as file:
            np.savez(file, c_weight=np.array([trap], dtype=object))
    elif kind == "plain-pickle":
        path.write_bytes(pickle.dumps({"w": trap}))
    else:
        torch.save({"w": torch.zeros(2), "x": trap}, path, _use_new_zipfile_serialization=kind == "torch")
    with pytest.raises(HarnessError, match=r"could run code|not a PyTorch file") as error:
        import_weights(path, "npz" if kind == "npz" else "state-dict")
    one_sentence(error, path)
    assert not ran.exists()


def test_pickled_module_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(torch.nn.Linear(2, 2), path)
    with pytest.raises(HarnessError, match=r"holds more than tensors.*state_dict\(\) alone") as error:
        import_weights(path, "state-dict")
    one_sentence(error, path)


@pytest.mark.parametrize("state", [[torch.zeros(2)], {"a": {"b": torch.zeros(2)}}, {"a": 3}, {}, {3: torch.zeros(1)}])
def test_not_a_state_dict(tmp_path: Path, state: Any) -> None:
    path = tmp_path / "a.pth"
    torch.save(state, path)
    with pytest.raises(HarnessError) as error:
        import_weights(path, "state-dict")
    one_sentence(error, path)


WRAPPED: dict[str, Callable[[dict[str, torch.Tensor]], Any]] = {
    "bare": lambda state: state,
    "DataParallel": lambda state: {f"module.{name}": value for name, value in state.items()},
    "torch.compile": lambda state: {f"_orig_mod.{name}": value for name, value in state.items()},
    "both": lambda state: {f"module._orig_mod.{name}": value for name, value in state.items()},
    "Lightning": lambda state: {
        "state_dict": {f"model.{name}": value for name, value in state.items()},
        "pytorch-lightning_version": "2.0",
        "epoch": 3,
    },
    "thop": lambda state: {**state, "total_ops": torch.zeros(1), "body.total_params": torch.zeros(1)},
    "bfloat16": lambda state: {name: value.bfloat16() for name, value in state.items()},
    "BasicSR": lambda state: {"params": {name: value + 1 for name, value in state.items()}, "params_ema": state},
}


@pytest.mark.parametrize("saved_as", ["pth", "safetensors"])
@pytest.mark.parametrize("wrapper", list(WRAPPED))
def test_what_training_programs_wrap_around_weights_is_taken_off(tmp_path: Path, wrapper: str, saved_as: str) -> None:
    from safetensors.torch import save_file

    state = {"conv_first.weight": torch.arange(6.0).reshape(2, 3), "body.0.bias": torch.ones(2)}
    wrapped, path = WRAPPED[wrapper](state), tmp_path / f"a.{saved_as}"
    if saved_as == "safetensors":
        if wrapper in ("Lightning", "BasicSR"):
            pytest.skip("safetensors has no names within names")
        save_file(wrapped, path)
    else:
        torch.save(wrapped, path)
    found = import_weights(path, "checkpoint")
    assert found.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_array_equal(found[name], value.numpy())
        assert found[name].dtype == np.float32


def test_danets_denoiser_is_taken_and_its_generator_left(tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    torch.save({"D": {"module.last.weight": torch.ones(2)}, "G": {"head.weight": torch.zeros(1)}}, path)
    assert list(import_weights(path, "danet")) == ["last.weight"]
    torch.save({"G": {"head.weight": torch.zeros(1)}}, path)
    with pytest.raises(HarnessError, match="holds no denoiser 'D'") as error:
        import_weights(path, "danet")
    one_sentence(error, path)


def test_a_sequences_own_prefix_stays(tmp_path: Path) -> None:
    """``model.0.weight`` is how ESRGAN and DnCNN call their own layers."""
    torch.save({"model.0.weight": torch.ones(1), "model.2.weight": torch.ones(1)}, tmp_path / "a.pth")
    assert list(import_weights(tmp_path / "a.pth", "checkpoint")) == ["model.0.weight", "model.2.weight"]


def test_link_to_another_file_is_refused(tmp_path: Path) -> None:
    import h5py

    path = tmp_path / "a.mat"
    with h5py.File(path, "w", userblock_size=512) as file:
        file["net"] = h5py.ExternalLink("/etc/other.h5", "/net")
    with pytest.raises(HarnessError, match="'net' is a link") as error:
        import_weights(path, "matconvnet")
    one_sentence(error, path)


@pytest.mark.parametrize(
    ("variables", "match"),
    [
        ({"other": np.zeros((1, 1))}, r"'net' is missing \(the file holds other\)"),
        ({"net": {"x": np.zeros((1, 1))}}, "'layers' is missing"),
        ({"net": np.zeros((1, 1))}, "'net' is not a struct"),
        ({"net": {"layers": np.zeros((1, 1))}}, "'layers' is not a list"),
        ({"net": {"layers": [{"type": "bnorm", "weights": ["a"]}]}}, "layer 1 is of type 'bnorm'"),
        ({"net": {"layers": [{"type": "conv", "weights": [np.zeros((3, 3))]}]}}, "layer 1 should have filters and"),
        ({"net": {"layers": [{"type": "conv", "weights": ["a", "b"]}]}}, "has no filters and biases"),
        (
            {"net": {"layers": [{"type": "conv", "weights": [np.zeros((3, 3, 2, 4)), np.zeros((3, 1))]}]}},
            "has 4 filters and 3 biases",
        ),
        ({"net": {"layers": [{"type": "relu"}]}}, "holds no arrays"),
    ],
)
def test_wrong_simplenn(tmp_path: Path, write_mat: Callable[..., Path], variables: dict[str, Any], match: str) -> None:
    path = write_mat(tmp_path / "a.mat", **variables)
    with pytest.raises(HarnessError, match=match) as error:
        import_weights(path, "matconvnet")
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"stage": np.array([[3.0]])}, "has 2 stages, 'stage' says 3"),
        ({"stage": np.array([[3.0, 1.0]])}, "'stage' should be one number"),
        ({"cof": np.zeros((2, 2, 2))}, "not what TNRD saves"),
        ({"MFS": {"means": np.zeros((1, 1))}}, "'D' is missing"),
    ],
)
def test_wrong_tnrd(tmp_path: Path, write_mat: Callable[..., Path], change: dict[str, Any], match: str) -> None:
    path = write_mat(tmp_path / "a.mat", **{**tnrd_variables(), **change})
    with pytest.raises(HarnessError, match=match):
        import_weights(path, "tnrd")


def test_tnrd_with_another_influence_function(tmp_path: Path, write_mat: Callable[..., Path]) -> None:
    variables = tnrd_variables()
    variables["MFS"]["G"] = variables["MFS"]["G"] ** 2
    with pytest.raises(HarnessError, match="the Gaussian table 'G' is not"):
        import_weights(write_mat(tmp_path / "a.mat", **variables), "tnrd")


@pytest.mark.parametrize(
    ("variables", "match"),
    [
        ({"weights_conv1": np.zeros((1, 9, 4))}, "'biases_conv1' is missing"),
        ({"biases_conv1": np.zeros((4, 1))}, "'weights_conv1' is missing"),
        ({"filters": np.zeros((4, 1))}, "neither filters nor biases"),
        ({"weights_conv1": np.zeros((1, 8, 4)), "biases_conv1": np.zeros((4, 1))}, "no square"),
        ({"weights_conv1": np.zeros((1, 9, 4)), "biases_conv1": np.zeros((3, 1))}, "4 filters and 3 biases"),
    ],
)
def test_wrong_caffe(tmp_path: Path, write_mat: Callable[..., Path], variables: dict[str, Any], match: str) -> None:
    with pytest.raises(HarnessError, match=match):
        import_weights(write_mat(tmp_path / "a.mat", **variables), "caffe-mat")


def test_wrong_dagnn(tmp_path: Path, write_mat: Callable[..., Path], struct_array: Any) -> None:
    twice = struct_array([{"name": "a_f", "value": np.zeros((3, 3))}] * 2)
    with pytest.raises(HarnessError, match="'a_f' is there twice"):
        import_weights(write_mat(tmp_path / "a.mat", net={"params": twice}), "dagnn")
    with pytest.raises(HarnessError, match="a parameter has no name"):
        import_weights(write_mat(tmp_path / "b.mat", net={"params": {"value": np.zeros((1, 1))}}), "dagnn")


def test_wrong_npz(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.zeros(3))
    with pytest.raises(HarnessError, match="ends neither in _weight nor in _bias"):
        import_weights(tmp_path / "a.npz", "npz")
    with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
        archive.writestr("x_weight.npy", b"garbage")
    with pytest.raises(HarnessError):
        import_weights(tmp_path / "b.npz", "npz")
    np.savez(tmp_path / "c.npz", x_weight=np.array(["text"]))
    with pytest.raises(HarnessError, match="weights are numbers"):
        import_weights(tmp_path / "c.npz", "npz")


def test_a_web_page_is_called_one(tmp_path: Path) -> None:
    """What a file host answers when its quota is used up."""
    file = tmp_path / "net.pth"
    file.write_bytes(b"<!DOCTYPE html><html>Quota exceeded</html>")
    with pytest.raises(HarnessError, match=r"net\.pth: not a PyTorch file, but a web page"):
        import_weights(file, "checkpoint")
