"""Checkpoints as methods: recognised, checked, recorded, and run through the restore stage."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from generated_weights import supply

import harness.methods as registry
from harness.assets.datasets import fetch
from harness.assets.inputs import record_inputs
from harness.assets.weights.fetching import fetch as fetch_weights
from harness.cli import harness
from harness.cli.authoring import write_checkpoint_method
from harness.errors import HarnessError, NotAvailableError
from harness.methods import build_method, get_method
from harness.methods.fingerprints import fingerprint, method_code
from harness.networks.mirnet import MIRNet
from harness.networks.mprnet import MPRNet
from harness.networks.recognition import _import_spandrel, recognise
from harness.records.cells import Group, NoiseDraws
from harness.records.restored import OwnFile
from harness.run.conformance import check_method
from harness.run.measure import measure
from harness.run.restore import restore
from harness.tables.workspace import Workspace

try:
    _import_spandrel()
except NotAvailableError as missing:
    pytest.skip(str(missing), allow_module_level=True)

torch.manual_seed(5)


def nafnet() -> torch.nn.Module:
    from spandrel.architectures.NAFNet import NAFNet

    return NAFNet(img_channel=3, width=8, middle_blk_num=1, enc_blk_nums=[1, 1], dec_blk_nums=[1, 1])


def swinir(channels: int = 3, upscale: int = 1) -> torch.nn.Module:
    from spandrel.architectures.SwinIR import SwinIR

    return SwinIR(
        img_size=16, patch_size=1, in_chans=channels, embed_dim=12, depths=[2], num_heads=[2], window_size=8,
        mlp_ratio=2, upscale=upscale, img_range=1.0, upsampler="pixelshuffledirect" if upscale > 1 else "",
        resi_connection="1conv",
    )  # fmt: skip


def rcan(scale: int = 2) -> torch.nn.Module:
    from spandrel.architectures.RCAN import RCAN

    return RCAN(scale=scale, n_resgroups=1, n_resblocks=2, n_feats=16)


def uformer() -> torch.nn.Module:
    from spandrel.architectures.Uformer import Uformer

    return Uformer(
        img_size=128, embed_dim=4, depths=[1] * 9, win_size=8, mlp_ratio=2.0, token_projection="linear",
        token_mlp="leff", dd_in=3,
    )  # fmt: skip


def mprnet() -> torch.nn.Module:
    return MPRNet(8, 4, 4)


def mirnet() -> torch.nn.Module:
    return MIRNet(8, 1)


def save(path: Path, network: torch.nn.Module, form: str = "plain") -> Path:
    state: Any = network.state_dict()
    if form == "safetensors":
        from safetensors.torch import save_file

        # Shared slopes are one tensor under several names, which safetensors refuses: as copies they are not.
        save_file({key: value.clone() for key, value in state.items()}, path)
        return path
    if form == "training":
        prefixed = {f"module.{key}": value for key, value in state.items()}
        optimiser = torch.optim.Adam(network.parameters())
        state = {"epoch": 7, "state_dict": prefixed, "optimizer": optimiser.state_dict()}
    if form == "basicsr":
        state = {"params": {key: value * 0 for key, value in state.items()}, "params_ema": state}
    torch.save(state, path)
    return path


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    registry.methods()
    for name in ("_registry", "_broken", "_loaded"):
        value = getattr(registry, name)
        monkeypatch.setattr(registry, name, type(value)(value))
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("methods: []\n")
    (tmp_path / "data").mkdir()
    return Workspace(tmp_path)


@pytest.mark.parametrize(
    ("make", "architecture", "form"),
    [
        (nafnet, "NAFNet", "plain"),
        (nafnet, "NAFNet", "training"),
        (nafnet, "NAFNet", "basicsr"),
        (nafnet, "NAFNet", "safetensors"),
        (swinir, "SwinIR", "basicsr"),
        (uformer, "Uformer", "training"),
        (mprnet, "MPRNet", "training"),
        (mprnet, "MPRNet", "safetensors"),
        (mirnet, "MIRNet", "training"),
    ],
)
def test_a_checkpoint_becomes_a_method(make: Any, architecture: str, form: str, workspace: Workspace) -> None:
    network = make().eval()
    file = save(workspace.root / ("net.safetensors" if form == "safetensors" else "net.pth"), network, form)
    path, what = write_checkpoint_method(workspace, "my-net", "deblur", file)
    assert architecture in what and f"{sum(p.numel() for p in network.parameters()):,} parameters" in what
    assert str(workspace.root) not in path.read_text()
    method = Workspace(workspace.root).method("my-net")
    assert method.depends == (path.parent / "../net.pth",) or form == "safetensors"
    side = 128 if make is uformer else 32
    image = torch.rand(1, 3, side, side)
    with torch.inference_mode():
        torch.testing.assert_close(build_method(method, "deblur", 0)(image), network(image).clamp(0, 1))


@pytest.mark.parametrize("make", [nafnet, swinir, mprnet, mirnet])
def test_it_keeps_what_methods_promise(make: Any, workspace: Workspace) -> None:
    write_checkpoint_method(workspace, "my-net", "derain", save(workspace.root / "net.pth", make()))
    checks = list(check_method(Workspace(workspace.root).method("my-net")))
    assert len(checks) >= 8 and [check for check in checks if check.held is False] == []


@pytest.mark.parametrize(
    ("make", "task", "dataset", "degradation", "images"),
    [
        (nafnet, "denoise-rgb", "embedded", "awgn-8bit", ["astronaut", "chelsea", "coffee"]),
        (lambda: swinir(channels=1), "denoise-gray", "embedded-gray", "awgn-8bit-gray", ["camera"]),
    ],
)
def test_through_the_restore_stage(
    make: Any, task: str, dataset: str, degradation: str, images: list[str], workspace: Workspace
) -> None:
    """The real stage: images are restored by the network, and the record names the checkpoint and its SHA-256."""
    file = save(workspace.root / "net.pth", make())
    write_checkpoint_method(workspace, "my-net", task, file, (30,), "trained")
    method = Workspace(workspace.root).method("my-net")
    assert fetch(dataset, "data").complete
    noise = NoiseDraws(0, 0)
    inputs = record_inputs(Path("data"), dataset, degradation, (10, 30), noise)
    record, _ = restore(
        Group(task, dataset, degradation, "my-net", "whole"),
        method, (10, 30), inputs, data=Path("data"), partial=Path("partial"), target=Path("restored"), noise=noise,
        code=fingerprint(method_code(method)),
    )  # fmt: skip
    assert record.origin == "trained"
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert record.levels[30].weights == {"net.pth": digest}
    assert record.levels[30].own_files == {"net.pth": OwnFile(digest, file.stat().st_size)}
    assert record.levels[10].reason == "the checkpoint of 'my-net' is for level 30, not for 10"
    assert sorted(record.images) == [f"30/draw0/{name}.png" for name in images]
    _, rows = measure(Path("restored"), data=Path("data"), protocols=("psnr",))
    assert len(rows) == len(images) and all(np.isfinite(row.value) for row in rows)


def test_the_command_line(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    save(workspace.root / "net.pth", swinir(upscale=2))
    harness.main(args=["new", "method", "my-sr", "--task", "sr", "--checkpoint", "net.pth"], standalone_mode=False)
    said = capsys.readouterr().out
    assert "recognised: SwinIR small" in said and "written: methods/my_sr.py" in said
    text = (workspace.root / "methods/my_sr.py").read_text()
    assert "LEVELS = (2,)  # the scales it was trained for" in text and '"../net.pth"' in text
    method = Workspace(workspace.root).method("my-sr")
    assert build_method(method, "sr", 2)(torch.rand(1, 3, 20, 30)).shape == (1, 3, 40, 60)
    with pytest.raises(NotAvailableError, match="for level 2, not for 4"):
        build_method(method, "sr", 4)
    with pytest.raises(HarnessError, match="--level goes with --checkpoint"):
        harness.main(args=["new", "method", "x", "--level", "2"], standalone_mode=False)


@pytest.mark.parametrize(
    ("make", "task", "levels", "told"),
    [
        (lambda: swinir(upscale=2), "deblur", (), "enlarges by 2, deblurring keeps the size"),
        (lambda: swinir(upscale=2), "sr", (4,), "enlarges by 2, not by 4"),
        (lambda: swinir(channels=1), "deblur", (), "takes 1 and gives 1 channels, deblurring has 3"),
        (nafnet, "jpeg", (), "takes 3 and gives 3 channels, JPEG artifact reduction has 1"),
        (nafnet, "sr", (), "enlarges by 1; super-resolution has x2, x3, x4"),
        (nafnet, "denoise-rgb", (11,), "has the levels 10, 30, 50, 70, not 11"),
        (lambda: torch.nn.Conv2d(3, 3, 3), "deblur", (), "is of an architecture that spandrel .* does not read"),
    ],
)
def test_networks_that_do_not_fit(make: Any, task: str, levels: Any, told: str, workspace: Workspace) -> None:
    with pytest.raises(HarnessError, match=told):
        write_checkpoint_method(workspace, "my-net", task, save(workspace.root / "net.pth", make()), levels)
    assert not (workspace.root / "methods").exists()


class Evil:
    def __reduce__(self) -> Any:
        return os.system, ("touch harmed",)


def test_files_that_are_refused(workspace: Workspace) -> None:
    file = workspace.root / "net.pth"

    def refused(told: str) -> None:
        with pytest.raises(HarnessError, match=told):
            write_checkpoint_method(workspace, "my-net", "deblur", file)
        assert not (workspace.root / "harmed").exists()

    refused("net.pth is not here")
    torch.save({"state_dict": nafnet().state_dict(), "args": Evil()}, file)
    refused("holds more than tensors")
    save(file, nafnet())
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])
    refused("not a readable file of the format 'checkpoint'")
    file.write_bytes(b"nonsense")
    refused("net.pth")
    torch.save({"epoch": 1, "loss": [1.0]}, file)
    refused("holds no state dictionary of named tensors \\(it holds epoch, loss\\)")
    state = nafnet().state_dict()
    torch.save({**state, "left.over": torch.ones(1)}, file)
    refused("is damaged or of an unusual size .*left.over")
    torch.save({key: value for key, value in state.items() if key != "encoders.0.0.conv1.bias"}, file)
    refused("is damaged or of an unusual size .*encoders.0.0.conv1.bias")
    state["intro.weight"][0, 0, 0, 0] = float("nan")
    torch.save(state, file)
    refused("'intro.weight' holds NaN or infinity")
    broken = mprnet().state_dict()
    del broken["tail.weight"]
    torch.save(broken, file)
    refused("lacks layers of MPRNet")


def test_a_changed_or_missing_checkpoint_is_noticed(workspace: Workspace) -> None:
    file = save(workspace.root / "net.pth", nafnet())
    write_checkpoint_method(workspace, "my-net", "deblur", file)
    method = Workspace(workspace.root).method("my-net")
    save(file, nafnet())
    with pytest.raises(HarnessError, match=r"has the SHA-256 .* instead of .*; put the former file back"):
        build_method(method, "deblur", 0)
    file.unlink()
    with pytest.raises(NotAvailableError, match="is not here; put the file there"):
        build_method(method, "deblur", 0)


# The papers' own, in the weights registry ----------------------------------------------------------------------------

REGISTERED = {
    "mirnet": ["denoise-real"],
    "mprnet": ["denoise-real", "deblur", "derain"],
    "nafnet": ["denoise-real", "deblur"],
    "uformer": ["denoise-real", "deblur"],
    "restormer": ["denoise-real", "deblur", "derain", "denoise-rgb"],
    "swinir": ["denoise-rgb", "denoise-gray", "jpeg", "sr"],
}


@pytest.mark.parametrize("name", REGISTERED)
def test_registered_checkpoints_say_what_is_missing(name: str, workspace: Workspace) -> None:
    from harness.records.tasks import TASKS

    method = get_method(name)
    assert list(method.tasks) == REGISTERED[name]
    for task in method.tasks:
        for level in TASKS[task].levels:
            with pytest.raises(NotAvailableError, match=r"are not here; (download|run)|released networks for"):
                build_method(method, task, level)


def test_a_registered_checkpoint_is_used_when_it_appears(workspace: Workspace) -> None:
    """Under the name of its release, in a folder of the user's."""
    network = nafnet().eval()
    (workspace.root / "own").mkdir()
    save(workspace.root / "own/NAFNet-GoPro-width64.pth", network, "basicsr")
    manifest = fetch_weights("nafnet", "data", folder="own", say=lambda text: None)
    assert [file.name for file in manifest.files] == ["gopro-width64.pth"]
    image = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(build_method(get_method("nafnet"), "deblur", 0)(image), network(image).clamp(0, 1))
    with pytest.raises(NotAvailableError, match=r"sidd-width64\.pth are not here"):
        build_method(get_method("nafnet"), "denoise-real", 0)
    save(workspace.root / "data/weights/nafnet/new.pth", swinir())
    os.replace(workspace.root / "data/weights/nafnet/new.pth", workspace.root / "data/weights/nafnet/gopro-width64.pth")
    with pytest.raises(HarnessError, match="holds a SwinIR, not a NAFNet"):
        build_method(get_method("nafnet"), "deblur", 0)


def test_the_released_mprnet_is_loaded_strictly(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    network = MPRNet(40, 20, 16).eval()
    content = save(workspace.root / "a.pth", network, "training").read_bytes()
    supply(workspace.root, monkeypatch, "mprnet", dict.fromkeys(("deraining.pth", "deblurring.pth"), content))
    image = torch.rand(1, 3, 24, 40)
    with torch.inference_mode():
        torch.testing.assert_close(build_method(get_method("mprnet"), "derain", 0)(image), network(image))
    with pytest.raises(HarnessError, match="MPRNet needs"):
        build_method(get_method("mprnet"), "deblur", 0)


def test_another_file_than_the_released_mprnet_is_refused(workspace: Workspace) -> None:
    (workspace.root / "own").mkdir()
    save(workspace.root / "own/model_deraining.pth", MPRNet(8, 4, 4), "training")
    with pytest.raises(HarnessError, match=r"deraining\.pth"):
        fetch_weights("mprnet", "data", folder="own", say=lambda text: None)


def test_recognition_without_spandrel(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "spandrel", None)
    with pytest.raises(NotAvailableError, match=r"pip install 'restoration-harness\[spandrel\]'"):
        recognise({"a": torch.ones(1)}, "net.pth")
    assert recognise(mprnet().state_dict(), "net.pth").about.architecture == "MPRNet"


def test_an_architecture_that_writes_into_its_input_leaves_it_alone(tmp_path: Path) -> None:
    """RCAN scales what it is given in place."""
    network = recognise(rcan().state_dict(), "rcan.pth")
    assert network.about.architecture == "RCAN" and network.about.scale == 2
    batch = torch.rand(2, 3, 24, 20)
    before = batch.clone()
    first = network(batch)
    assert torch.equal(batch, before)
    assert torch.equal(network(batch), first)
