"""What `import harness` gives: its names, that it stays light, and that every example in the package runs."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import harness
import harness.methods
from harness.degradations import awgn, noise_generator
from harness.errors import HarnessError
from harness.images import read_image
from harness.methods import Method
from harness.registries import added, take_out

ROOT = Path(__file__).parents[1]

HEAVY = ("dvc", "dask", "distributed", "pandas", "torch", "scipy", "skimage", "requests", "jinja2", "click", "yaml")


def loaded_by(statement: str) -> set[str]:
    """Modules that a statement loads in a fresh process."""
    code = f"import sys; before = set(sys.modules)\n{statement}\nprint(*sorted(sys.modules.keys() - before))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("room", ["metrics", "degradations", "protocols"])
def test_the_library_loads_nothing_of_the_application(room: str) -> None:
    loaded = loaded_by(f"import harness.{room}")
    assert f"harness.{room}" in loaded
    assert not loaded & set(HEAVY)
    rooms = {name.split(".")[1] for name in loaded if name.startswith("harness.")}
    assert rooms <= {"metrics", "degradations", "protocols", "registries", "names", "errors"}


def test_import_harness_loads_no_room_and_no_library() -> None:
    loaded = {name.split(".")[0] for name in loaded_by("import harness")} - sys.stdlib_module_names
    assert loaded == {"harness", "lazy_loader"}
    assert not [name for name in loaded_by("import harness") if name.startswith("harness.")]


SHOW_HELP = """
import io, contextlib
from harness.cli.main import harness
with contextlib.redirect_stdout(io.StringIO()) as shown:
    harness(["--help"], standalone_mode=False)
assert "repro" in shown.getvalue()
"""


def test_the_help_loads_less_than_twice_what_click_does() -> None:
    assert len(loaded_by(SHOW_HELP)) < 2 * len(loaded_by("import click"))


def test_public_names() -> None:
    names = (
        "dataset degradation degrade imresize load_weights luma measure method metric protocol psnr published "
        "pyiqa_metric repro restore rows ssim task"
    )
    assert harness.__all__ == dir(harness) == names.split()
    for name in harness.__all__:
        assert getattr(harness, name).__name__ == name
    with pytest.raises(AttributeError):
        harness.nothing  # noqa: B018


def modules_with_examples() -> list[str]:
    files = sorted((ROOT / "harness").rglob("*.py"))
    with_examples = [file for file in files if ">>> " in file.read_text(encoding="utf-8")]
    names = [".".join(f.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for f in with_examples]
    # That of `repro` needs a checkout: tests/test_end_to_end.py.
    return [name for name in names if name != "harness.run.reproduction"]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, _definitions_forgotten: None) -> Path:
    """An empty project folder, and registries that forget what the examples define."""
    (tmp_path / "params.yaml").write_text("{}\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(harness.methods, "_registry", harness.methods.methods())
    return tmp_path


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_run(name: str, workspace: Path) -> None:
    before = added()
    found = doctest.testmod(importlib.import_module(name))
    # What examples define is in no other test's listings.
    take_out(name for name in added() if name not in before)
    assert found.attempted and not found.failed


def test_every_public_name_has_an_example() -> None:
    for name in harness.__all__:
        examples = doctest.DocTestParser().get_examples(getattr(harness, name).__doc__)
        assert any(f"harness.{name}(" in example.source for example in examples), name


def test_noise_of_an_image_is_that_of_the_tables() -> None:
    image = np.zeros((9, 7), np.uint8)
    expected = awgn(image, 50, noise_generator("kodak24", "kodim01", 50, 0))
    made = [harness.degrade(image, "awgn-float", 50, draw=n, dataset="kodak24", image_id="kodim01") for n in (0, 1)]
    np.testing.assert_array_equal(made[0], expected)
    assert (made[1] != expected).any()


def test_a_tensor_is_restored_to_the_bits_that_the_network_gives() -> None:
    batch = torch.rand(2, 3, 5, 6, generator=torch.Generator().manual_seed(0))

    @harness.method("thirds", tasks=["denoise-rgb"])
    def build(task: str, level: int) -> object:
        return lambda images: images / 3

    try:
        restored = harness.restore(batch, "thirds", "denoise-rgb", 50)
        array = harness.restore(batch[0].double().mul(255).permute(1, 2, 0).numpy(), "thirds", "denoise-rgb", 50)
    finally:
        del harness.methods._registry["thirds"]
    assert torch.equal(restored, batch / 3)
    np.testing.assert_array_equal(array, restored[0].double().mul(255).permute(1, 2, 0).numpy())
    gray = harness.restore(batch[:1, :1], "noisy", "denoise-gray", 50)
    assert torch.equal(gray, batch[:1, :1])
    assert harness.restore(batch[:1], "bicubic", "sr", 2).shape == (1, 3, 10, 12)


def test_what_cannot_be_restored_is_said() -> None:
    image = np.zeros((4, 4), np.uint8)
    with pytest.raises(ValueError, match="unknown method"):
        harness.restore(image, "noiisy", "denoise-gray", 50)
    with pytest.raises(ValueError, match="numpy array"):
        harness.restore([[0.0]], "noisy", "denoise-gray", 50)
    with pytest.raises(HarnessError, match="does not do 'sr'"):
        harness.restore(image, "noisy", "sr", 2)
    elsewhere = Method("mine", ("denoise-gray",), lambda task, level: lambda dataset, image: image, on="images")
    with pytest.raises(ValueError, match="restored elsewhere"):
        harness.restore(image, elsewhere, "denoise-gray", 50)


def test_an_unknown_name_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="unknown metric"):
        harness.protocol("pnsr")


GRAY, COLOUR = np.zeros((16, 16), np.uint8), np.zeros((16, 16, 3), np.uint8)


@pytest.mark.parametrize(
    "call",
    [
        lambda: harness.psnr(GRAY, COLOUR),
        lambda: harness.ssim(GRAY[:8, :8], GRAY[:8, :8]),
        lambda: harness.luma(COLOUR.astype(np.float32)),
        lambda: harness.imresize(GRAY, -1),
        lambda: harness.degrade(GRAY, "jpeg-y8", 101),
        lambda: harness.degrade(GRAY, "bayer-grbg"),
        lambda: harness.degrade(GRAY, "awgn-float", -1),
        lambda: harness.protocol("psnr-y-y8"),
        lambda: harness.measure(GRAY, GRAY[1:]),
        lambda: harness.measure(GRAY, GRAY, "psnr-crop8"),
    ],
)
def test_a_bad_argument_is_a_value_error_and_one_of_ours(call: Callable[[], object]) -> None:
    with pytest.raises(ValueError) as found:
        call()
    assert isinstance(found.value, HarnessError)


def test_a_missing_image_is_an_os_error_and_one_of_ours(tmp_path: Path) -> None:
    for path in (tmp_path / "none.png", tmp_path):
        with pytest.raises(OSError, match=str(path)) as found:
            read_image(path)
        assert isinstance(found.value, HarnessError)
