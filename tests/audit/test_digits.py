"""Digits that last: bounds that hold, and the command from a table to its page."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from harness.audit.digits import WAYS, bounded_arcnn, psnr_limits
from harness.files import write_text
from harness.images import write_png
from harness.protocols import measure_many
from harness.tables.lasting import DATA, PAGE, Digits, Lasting, merged, page, read_digits, summary
from tests.conftest import Synthetic


@pytest.mark.parametrize("name", ["psnr", "psnr-y", "psnr-y8", "psnr-yfull8", "psnr-y-crop", "psnr-crop6"])
@pytest.mark.parametrize("channels", [1, 3])
def test_limits_hold_whichever_way_samples_fall(synthetic: Synthetic, name: str, channels: int) -> None:
    reference = synthetic(41, 53, channels)
    generator = np.random.default_rng(7)
    low = np.clip(reference + generator.integers(-6, 6, reference.shape), 0, 254).astype(np.uint8)
    high = low + (generator.random(low.shape) < 0.2)
    least, most = psnr_limits(name, reference, low, high.astype(np.uint8), 2)
    assert least < most
    for _ in range(20):
        between = np.where(generator.random(low.shape) < 0.5, low, high).astype(np.uint8)
        assert least - 1e-9 <= measure_many([name], reference, between, 2)[name] <= most + 1e-9
    same = psnr_limits(name, reference, low, low, 2)
    assert same[0] == same[1] == pytest.approx(measure_many([name], reference, low, 2)[name], abs=1e-9)


def test_the_ends_are_reached_without_a_luma(synthetic: Synthetic) -> None:
    reference = synthetic(20, 30, 1)
    low = np.clip(reference.astype(int) - 3, 0, 255).astype(np.uint8)
    high = low + np.uint8(1)
    near = np.where(np.abs(low - reference.astype(int)) < np.abs(high - reference.astype(int)), low, high)
    assert psnr_limits("psnr", reference, low, high)[1] == measure_many(["psnr"], reference, near)["psnr"]


def longdouble_arcnn(network: Any, image: NDArray[np.float64]) -> NDArray[np.longdouble]:
    """ARCNN by its definition, with 11 bits more than double precision has."""
    value = image.astype(np.longdouble)[None]
    layers = [network.extraction, network.enhancement, network.mapping, network.reconstruction]
    for number, layer in enumerate(layers):
        border = layer.kernel_size[0] // 2
        padded = np.pad(value, ((0, 0), (border, border), (border, border)), mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, layer.kernel_size, axis=(1, 2))
        weight, bias = (p.detach().numpy().astype(np.longdouble) for p in (layer.weight, layer.bias))
        value = np.einsum("chwij,ocij->ohw", windows, weight) + bias[:, None, None]
        if number < 3:
            value = np.maximum(value, 0)
    return value[0]


def test_the_bound_of_double_precision_holds() -> None:
    import torch

    from harness.networks.arcnn import ARCNN

    if np.finfo(np.longdouble).eps > 1e-18:
        pytest.skip("this machine has no longer floating-point numbers than double precision")
    torch.manual_seed(0)
    network = ARCNN().double()
    image = torch.rand(1, 1, 11, 9, dtype=torch.float64)
    output, bound = bounded_arcnn(network, image)
    # Rows taken together are as before: 32 rows at once here, one at a time beyond.
    assert torch.equal(output, network(image))
    off = np.abs(output[0, 0].numpy() - longdouble_arcnn(network, image[0, 0].numpy()))
    assert 0 < off.max() <= bound.max() < 1e-10
    assert (off <= bound[0, 0].numpy()).all()


def lasting(**changes: Any) -> Lasting:
    plain: dict[str, Any] = {
        "table": "t",
        "row": "r",
        "key": "s/10/psnr",
        "printed": "29.04",
        "protocol": "psnr",
        "values": {"one thread": 29.0387, "double precision": 29.0386},
        "moved": {"one thread": 2},
        "samples": 100,
        "gap": 1e-4,
        "near": 3,
        "interval": (29.0385, 29.0388),
        "bound": None,
        "undecided": None,
        "versions": {"torch": "2.9"},
    }
    return Lasting(**plain | changes)


def test_what_is_said_follows_from_the_values() -> None:
    assert lasting().changed == []
    assert lasting().certain is True
    assert lasting(interval=(29.034, 29.0388)).certain is False
    assert lasting(interval=None).certain is None
    assert lasting(values={"one thread": 29.0387, "two threads": 29.0349}).changed == ["two threads"]
    assert summary([lasting(), lasting(interval=(29.0, 29.1))]).endswith(
        "1 of their 2 PSNRs keep them whichever way the samples near an edge fall"
    )


def test_a_record_takes_the_place_of_its_own_only() -> None:
    older, other, newer = lasting(), lasting(versions={"torch": "2.10"}), lasting(near=4)
    assert merged([older, other], [newer]).cells == (other, newer)


def test_the_page_in_git_is_what_its_data_say() -> None:
    root = Path(__file__).parents[2]
    assert (root / PAGE).read_text(encoding="utf-8") == page(read_digits(root))


METHOD = """
import torch

from harness.methods import method


@method("small", tasks=["denoise-rgb"], paper="Doe, 2026", on="tensor")
def build(task, level):
    torch.manual_seed(1)
    network = torch.nn.Conv2d(3, 3, 3, padding=1, padding_mode="replicate").eval().requires_grad_(False)
    network.weight.mul_(0.1)
    for channel in range(3):
        network.weight[channel, channel, 1, 1] = 0.8
    network.bias.zero_()
    return lambda batch: network(batch)
"""


def test_from_a_table_to_the_page(tmp_path: Path, synthetic: Synthetic) -> None:
    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "harness", *words], cwd=tmp_path / "w", capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout

    (tmp_path / "w").mkdir()
    (tmp_path / "images").mkdir()
    for number in range(2):
        write_png(tmp_path / "images" / f"{number}.png", synthetic(30 + number, 40, 3))
    run("init", ".")
    run("datasets", "add", "two", "--from", str(tmp_path / "images"))
    write_text(tmp_path / "w" / "methods" / "small.py", METHOD)
    run("new", "table", "mine", "--dataset", "two", "--level", "50", "--method", "small")
    run("repro", "mine")
    path = tmp_path / "w" / "tables" / "mine.yaml"
    measured = {cell["metric"]: cell["measured"] for cell in json.loads(run("diff", "mine", "--format", "json"))}
    table = yaml.safe_load(path.read_text(encoding="utf-8"))
    table["parts"][0]["rows"][0]["values"] = [f"{measured['psnr']:.2f}", f"{measured['ssim']:.4f}"]
    write_text(path, yaml.safe_dump(table, sort_keys=False))

    said = run("audit", "mine", "--digits", "--write")
    assert "2 of 2 matched numbers keep their printed digits" in said
    cells = {cell.key: cell for cell in read_digits(tmp_path / "w").cells}
    psnr = cells["two/50/psnr"]
    assert set(psnr.values) == {*WAYS, "double precision"}
    # What the run measured is one of the ways, digit for digit.
    assert measured["psnr"] == pytest.approx(psnr.values["one thread"], abs=1e-9)
    assert psnr.samples == (30 + 31) * 40 * 3
    assert 0 < psnr.gap < 1e-3
    assert psnr.interval is not None and psnr.interval[0] <= measured["psnr"] <= psnr.interval[1]
    assert cells["two/50/ssim"].interval is None
    written = (tmp_path / "w" / PAGE).read_text(encoding="utf-8")
    assert written == page(Digits(tuple(sorted(cells.values(), key=lambda cell: cell.place))))
    assert "otherwise than in double precision" in run("why", "mine", "small", "two/50/psnr", "--format", "json")
    assert DATA.name in said and PAGE.name in said
