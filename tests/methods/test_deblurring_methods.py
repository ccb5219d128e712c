"""The systems of KiT's Table 2: listed, described, refused without weights, and applied with generated ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from foreign_formats import tf1_checkpoint
from torch import Tensor, nn
from torch.nn import functional

from harness.assets import places
from harness.assets.weights.registry import weight_set
from harness.cli.describing import describe_method
from harness.errors import NotAvailableError
from harness.methods import build_method, get_method, methods
from harness.networks.ranges import from_network, to_network
from harness.run.apply import tensor_restorer
from harness.tables.published import published_tables

RELEASED = (*("deepdeblur", "srn", "pss-nsc", "dmphn", "mt-rnn", "mimo-unet", "mimo-unet-plus", "mimo-unet-plusplus"),)
TRAINED = tuple(f"{name}-trained" for name in RELEASED if name != "mimo-unet-plusplus")
SETS = ("deepdeblur", "srn", "pss-nsc", "dmphn", "mt-rnn", "mimo-unet")

Files = Mapping[str, bytes]


def test_each_is_listed_and_described() -> None:
    known = methods()
    assert all(known[name].tasks == ("deblur",) and known[name].network for name in RELEASED + TRAINED)
    for name in ("mt-rnn", "pss-nsc"):
        described = dict(describe_method(known[name], "deblur", (16, 16), measure=False))
        assert known[name].title in str(described) and "parameters" in str(described)


@pytest.mark.parametrize("name", RELEASED)
def test_missing_weights_say_how_to_supply_them(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    supplied = "download .*--from FOLDER" if name.startswith(("deepdeblur", "mimo")) else "run `harness weights fetch"
    with pytest.raises(NotAvailableError, match=rf"are not here; {supplied}"):
        build_method(get_method(name), "deblur", 0)


def test_the_rows_of_the_table() -> None:
    rows = {row.name: row for row in published_tables()["kit-table2"].parts[0].rows}
    assert {name: row.method for name, row in rows.items()} == {
        "DeepDeblur": "deepdeblur",
        "SRN": "srn",
        "PSS-NSC": "pss-nsc",
        "DMPHN": "dmphn",
        "SAPHN": "",
        "MT-RNN": "mt-rnn",
        "SPAIR": "",
        "MPRNet": "mprnet",
        "MIMO-UNet": "mimo-unet-plusplus",
        "KiT": "kit",
    }
    for name in ("SAPHN", "SPAIR"):
        assert rows[name].not_run.startswith("No code is public") and rows[name].lacks == "code"
    # Printed of other weights than those that can be had.
    assert "30.40 dB" in rows["DeepDeblur"].incomparable
    assert "30.19 dB" in rows["SRN"].cells["gopro-test/psnr"].incomparable and not rows["SRN"].incomparable


def test_the_records_are_pinned_where_files_are_public() -> None:
    for name in SETS:
        for file in weight_set(name).files:
            assert file.pinned == (name not in ("deepdeblur", "mimo-unet")) == bool(file.at), (name, file.name)
    assert len(weight_set("dmphn").files) == 24 and all(file.sha256 for file in weight_set("dmphn").files)


def torch_file(state: object, folder: Path) -> bytes:
    torch.save(state, folder / "made")
    return (folder / "made").read_bytes()


def checkpoint(network: nn.Module, name: str) -> Files:
    """Write a TensorFlow checkpoint, filters as HWIO, with what training keeps beside the weights."""
    variables: dict[str, Any] = {"Variable": np.array(523000, np.int32)}
    for key, value in network.state_dict().items():
        layer, _, kind = key.rpartition(".")
        array = value.permute(2, 3, 1, 0).contiguous() if value.ndim == 4 else value
        variables[f"g_net/{layer.replace('.', '/')}/{kind.replace('weight', 'weights').replace('bias', 'biases')}"] = (
            array.numpy()
        )
    variables["g_net/dec1_0/biases/Adam"] = np.zeros(1, np.float32)
    index, numbers = tf1_checkpoint(variables)
    return {f"{name}.index": index, f"{name}.data-00000-of-00001": numbers}


def released(name: str, network: nn.Module, folder: Path) -> tuple[str, Files]:
    """Give the set of a method and its files as the authors' programs would write them."""
    state = network.state_dict()
    if name == "deepdeblur":
        return name, {"gopro-l1.pt": torch_file({"G": state}, folder)}
    if name == "mt-rnn":
        return name, {"model_best.pt": torch_file(state, folder)}
    if name == "dmphn":
        parts = {part: getattr(network, part).state_dict() for part, _ in network.named_children()}
        return name, {f"{part}.pkl": torch_file(own, folder) for part, own in parts.items()}
    if name in ("srn", "pss-nsc"):
        return name, checkpoint(network, {"srn": "lstm", "pss-nsc": "default"}[name])
    file = "mimo-unet.pkl" if name == "mimo-unet" else "mimo-unet-plus.pkl"
    inner = getattr(network, "inner", network).state_dict()
    return "mimo-unet", {file: torch_file({"model": inner, "epoch": 3000}, folder)}


@pytest.fixture
def supply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, Files], None]:
    """Put files where fetched ones lie; the records are as they are, without the checksums of the released files."""
    (tmp_path / "records").mkdir()
    for name in SETS:
        path = places.record_path("weights", name)
        assert path is not None
        record = json.loads(path.read_text()) | {"sources": [], "obtain": "ask"}
        for file in record["files"]:
            for pin in ("bytes", "sha256", "git_blob", "at"):
                file.pop(pin, None)
        (tmp_path / "records" / path.name).write_text(json.dumps(record))
    monkeypatch.setitem(places.REGISTRIES, "weights", tmp_path / "records")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)

    def put(name: str, files: Files) -> None:
        folder = tmp_path / "data/weights" / name
        folder.mkdir(parents=True)
        for file, content in files.items():
            (folder / file).write_bytes(content)

    return put


@pytest.mark.parametrize("name", RELEASED)
def test_an_image_of_odd_size_is_restored(name: str, supply: Callable[[str, Files], None], tmp_path: Path) -> None:
    method = get_method(name)
    assert method.network is not None
    torch.manual_seed(0)
    network = method.network("deblur", 0).eval()
    supply(*released(name, network, tmp_path))
    image = np.random.default_rng(0).integers(0, 256, (21, 30, 3)).astype(np.float64)
    found = tensor_restorer(build_method(method, "deblur", 0), "whole")(image)
    assert found.shape == image.shape

    multiple = network.size_multiple
    x = torch.from_numpy(image / 255).float().permute(2, 0, 1)[None]
    x = functional.pad(x, (0, -30 % multiple, 0, -21 % multiple), mode="replicate")
    with torch.inference_mode():
        expected: Tensor = from_network(network, network(to_network(network, x)))[0, :, :21, :30]
    np.testing.assert_allclose(found / 255, expected.permute(1, 2, 0).double().numpy(), atol=1e-4)
