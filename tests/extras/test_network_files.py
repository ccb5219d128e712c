"""Networks as ONNX and TorchScript files: what they give, what is said of them, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from forked import harness
from torch import nn

from harness.errors import CheckFailedError, HarnessError, NotAvailableError
from harness.extras.network_files import NetworkFile, export_network
from harness.files import file_sha256
from harness.inference import graphs
from harness.methods import Method
from harness.networks.checkpoints import load_released
from harness.records.loading import load_json

FORMS = (".pt", ".onnx")

# TorchScript is what many programs still read; torch itself would rather be used.
pytestmark = pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")


def ready(network: nn.Module) -> nn.Module:
    return load_released(network, network.state_dict(), "generated")


def conv() -> nn.Module:
    from harness.networks.dncnn import DnCNN

    return DnCNN(3, 5)


def residual_in_its_own_range() -> nn.Module:
    from harness.networks.rnan import RNAN

    return RNAN(n_resgroups=2, n_feats=8)


def enlarging() -> nn.Module:
    from harness.networks.edsr import EDSR

    return EDSR(n_resblocks=2, n_feats=8, scale=2)


def channel_attention() -> nn.Module:
    from harness.networks.rcan import RCAN

    return RCAN(scale=3, n_resgroups=1, n_resblocks=1, n_feats=16)


def pyramid() -> nn.Module:
    from harness.networks.panet import PANet

    return PANet(n_resblocks=2, n_feats=16)


def cross_scale() -> nn.Module:
    from harness.networks.csnln import CSNLN

    return CSNLN(scale=2, depth=1, n_feats=16)


def hashed() -> nn.Module:
    from harness.networks.kit import KiT

    return KiT(k=1, h=1, b=1)


def told_the_noise() -> Callable[[torch.Tensor], torch.Tensor]:
    """As the methods of the released weights are built: a function around a frozen network and a noise level."""
    from harness.assets.weights.loading import ready as frozen
    from harness.networks.ffdnet import FFDNet

    apply = frozen(FFDNet(3, 5, 16))
    return lambda images: apply(images, 50 / 255)


def method(build: Callable[[], Any], task: str = "denoise-rgb", **more: Any) -> Method:
    def seeded(task: str, level: int) -> Any:
        torch.manual_seed(3)
        made = build()
        return ready(made) if isinstance(made, nn.Module) else made

    about = {"paper": "Doe et al., 2026", "licence": "MIT"}
    return Method(name="small", tasks=(task,), build=seeded, module=__name__, **about, **more)  # type: ignore[arg-type]


def other_program(path: Path, image: torch.Tensor) -> torch.Tensor:
    """Run a file as one does who has neither this project nor its networks."""
    if path.suffix == ".pt":
        return torch.jit.load(str(path))(image)  # type: ignore[no-untyped-call, no-any-return]
    import onnxruntime

    return torch.from_numpy(onnxruntime.InferenceSession(str(path)).run(None, {"input": image.numpy()})[0])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("build", "task", "level", "scale"),
    [
        (conv, "denoise-rgb", 50, 1),
        (residual_in_its_own_range, "denoise-rgb", 50, 1),
        (told_the_noise, "denoise-rgb", 50, 1),
        (enlarging, "sr", 2, 2),
        (channel_attention, "sr", 3, 3),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_file_restores_images_of_any_size(
    tmp_path: Path, build: Callable[[], Any], task: str, level: int, scale: int, form: str
) -> None:
    if form == ".onnx":
        pytest.importorskip("onnxruntime")
    path = tmp_path / f"net{form}"
    found = method(build, task)
    about = export_network(found, task, level, path)
    assert about.difference <= 1e-5 and about.size is None and len(about.compared) == 4
    restore = graphs.as_module(found.build(task, level))
    image = torch.rand(2, 3, 33, 58)
    given, expected = other_program(path, image), restore(image).detach()
    assert given.shape == (2, 3, 33 * scale, 58 * scale)
    assert float((given - expected).abs().max()) <= 1e-5
    # It does something: a network of zeros would be equal, too.
    assert float((expected - expected.mean()).abs().max()) > 1e-3


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("build", "task", "level", "size"),
    [(pyramid, "denoise-rgb", 50, (21, 24)), (cross_scale, "sr", 2, (20, 23)), (hashed, "denoise-real", 0, (64, 64))],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_attention_over_patches_is_exported_for_one_size(
    tmp_path: Path, build: Callable[[], Any], task: str, level: int, size: tuple[int, int], form: str
) -> None:
    if form == ".onnx":
        pytest.importorskip("onnxruntime")
    found, path = method(build, task), tmp_path / f"net{form}"
    about = export_network(found, task, level, path, size)
    assert about.size == size and about.compared == ((1, *size),) and about.difference <= 1e-5
    image = torch.rand(1, 3, *size)
    # The streamed form, in which the method itself computes.
    expected = graphs.as_module(found.build(task, level))(image).detach()
    assert float((other_program(path, image) - expected).abs().max()) <= 1e-5


def test_what_depends_on_the_size_is_refused_without_one(tmp_path: Path) -> None:
    for build in (pyramid, lambda: Thirds()):
        with pytest.raises(
            CheckFailedError, match=r"small, denoise-rgb at level 50: .*--size 48x48 exports it for one"
        ):
            export_network(method(build), "denoise-rgb", 50, tmp_path / "net.pt")
    assert not list(tmp_path.iterdir())
    about = export_network(method(lambda: Thirds()), "denoise-rgb", 50, tmp_path / "net.pt", (30, 36))
    assert about.size == (30, 36) and about.input == "float32 (1, 3, 30, 36), samples in 0..1"


class Thirds(nn.Module):
    """Computes with the size in Python, where no tracer sees it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * (int(x.shape[-1]) // 3) / 100


class Untraceable(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * float(x.mean())


def test_a_file_that_differs_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.pt"
    path.write_text("old")
    traced = graphs.traced

    def off(network: nn.Module, restore: Any, image: torch.Tensor, onnx: bool, *, fixed: bool) -> Any:
        made = traced(network, restore, image, onnx, fixed=fixed)
        return torch.jit.trace(nn.Sequential(made, Shift()), image, check_trace=False)  # type: ignore[no-untyped-call]

    with monkeypatch.context() as wrong:
        wrong.setattr(graphs, "traced", off)
        with pytest.raises(CheckFailedError, match=r"on 1 image of 48x48 the file differs from the network by 2e-05"):
            export_network(method(conv), "denoise-rgb", 50, path)
    with pytest.raises(CheckFailedError, match="the file differs"):
        export_network(method(Untraceable), "denoise-rgb", 50, path)
    assert path.read_text() == "old" and [file.name for file in tmp_path.iterdir()] == ["net.pt"]


class Shift(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + 2e-5


def test_what_is_no_network_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HarnessError, match=r"ends in \.onnx \(ONNX\) or \.pt"):
        export_network(method(conv), "denoise-rgb", 50, tmp_path / "net.pth")
    with pytest.raises(HarnessError, match="'small' works on arrays"):
        export_network(method(conv, on="array"), "denoise-rgb", 50, tmp_path / "net.pt")
    random = Method(name="small", tasks=("denoise-rgb",), build=lambda task, level: conv(), module=__name__)
    with pytest.raises(NotAvailableError, match="has no weights yet"):
        export_network(random, "denoise-rgb", 50, tmp_path / "net.pt")
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    with pytest.raises(NotAvailableError, match=r"pip install 'restoration-harness\[onnx\]'"):
        export_network(method(conv), "denoise-rgb", 50, tmp_path / "net.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", FORMS)
def test_a_file_says_what_it_holds(tmp_path: Path, form: str) -> None:
    """The released DnCNN from the mirror, through the command."""
    onnx = pytest.importorskip("onnx") if form == ".onnx" else None
    path = tmp_path / f"dncnn{form}"
    (tmp_path / "params.yaml").write_text("{}\n")
    words = ("export", "network", "dncnn", "--task", "denoise-gray", "--level", "50", "--out", str(path))
    done = harness(*words, cwd=tmp_path)
    if "not here" in done.stderr or "not available" in done.stderr:
        pytest.skip("needs DnCNN's weights")
    assert done.returncode == 0, done.stderr
    assert f"written: {path} (images of any size, SHA-256 " in done.stdout
    about = load_json(tmp_path / f"dncnn{form}.json", NetworkFile)
    assert about.sha256 == file_sha256(path) and (about.method, about.task, about.level) == (
        "dncnn",
        "denoise-gray",
        50,
    )
    weights = tmp_path / "data/weights/dncnn/gray-sigma50.mat"
    assert about.weights == ({"set": "dncnn", "file": "gray-sigma50.mat", "sha256": file_sha256(weights)},)
    assert about.input == "float32 (B, 1, H, W), samples in 0..1" and about.versions["torch"] == torch.__version__
    if onnx is None:
        inside = {"harness.json": ""}
        torch.jit.load(str(path), _extra_files=inside)  # type: ignore[no-untyped-call]
        said = json.loads(inside["harness.json"])
        assert about.opset == 0
    else:
        model = onnx.load(str(path))
        said = {entry.key: entry.value for entry in model.metadata_props}
        said["weights"] = json.loads(said["weights"])
        assert about.opset == graphs.OPSET == model.opset_import[0].version
        assert set(about.versions) == {"torch", "onnx", "onnxruntime"}
    assert said["method"] == "dncnn" and said["weights"] == list(about.weights) and said["input"] == about.input
    for wrong, sentence in (
        (("--size", "48"), "width x height, such as 48x48"),
        (("--level", "30"), "takes one --level"),
    ):
        refused = harness(*words, *wrong, cwd=tmp_path)
        assert refused.returncode == 2 and sentence in refused.stderr, refused.stderr
    refused = harness("export", "network", "dncnn", "--out", str(path), cwd=tmp_path)
    assert refused.returncode == 2 and "say which with --task: 'dncnn' does denoise-rgb, " in refused.stderr
