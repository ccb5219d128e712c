"""Tables made under a hidden random protocol on other images than the mirror's: the audit must recover it.

The tables are made here from the degradations and protocols themselves, without the audit's code. What the numbers
cannot tell apart must be said: the hidden value of every dimension is among those that the audit admits.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from harness.assets.datasets import fetch
from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.assets.places import AssetPaths
from harness.audit.images import Bench
from harness.audit.outcomes import RowAudit
from harness.audit.rows import audit_row
from harness.audit.settings import AuditSettings
from harness.audit.variants import SAVING_LABELS
from harness.audit.wording import mixture_sentence
from harness.degradations import degradation, imresize, noise_generator
from harness.metrics.quantization import to_uint8
from harness.protocols import measure_many, protocol
from harness.tables.published import Table, read_table
from harness.tables.workspace import Workspace

TABLE = """
name: hidden-table
paper: ""
title: A table made under a hidden protocol
source: a test
parts:
  - task: {task}
    columns:
{columns}
    rows:
      - {{name: Something, method: {method}, values: [{values}]}}
"""


class Cropped(FetchedDataset):
    """A set of smaller images of different sizes, for time.

    The largest stays above 384 pixels, from which on `ssim-downsampled` differs from `ssim-gauss`.
    """

    def read(self, image_id: str) -> NDArray[np.uint8]:
        height, width = self.shape(image_id)[:2]
        return super().read(image_id)[-height:, -width:]

    def shape(self, image_id: str) -> tuple[int, ...]:
        height, width, *channels = super().shape(image_id)
        size = (416, 424) if min(height, width) > 416 else (height // 4, width // 4)
        return (*size, *channels)


class SmallBench(Bench):
    def open(self, name: str) -> FetchedDataset:
        return cropped(name, self.workspace)


def cropped(name: str, workspace: Workspace) -> FetchedDataset:
    fetched = open_dataset(name, workspace.data)
    return Cropped(fetched.record, AssetPaths(workspace.data, "datasets", name), fetched.manifest)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    root = tmp_path_factory.mktemp("workspace")
    (root / "params.yaml").write_text("tables: []\n")
    for name in ("embedded", "embedded-gray"):
        assert fetch(name, root / "data").complete
    return Workspace(root)


def saved(output: np.ndarray, saving: str) -> np.ndarray:
    if saving in ("round", "truncate"):
        return to_uint8(output, saving)
    return np.clip(output, 0, 255) if saving == "unrounded" else output


def measured(
    fetched: FetchedDataset, task: str, level: int, hidden: dict[str, Any], protocols: list[str]
) -> dict[str, float]:
    """Measure a set as a paper's own program would."""
    made = degradation(hidden["input"])
    values: dict[str, list[float]] = {name: [] for name in protocols}
    for image in fetched.image_ids:
        reference = made.reference(fetched.read(image), level)
        rng = None
        if made.random:
            rng = noise_generator(fetched.name, image, level, hidden["noise"])
        output = made.degrade(reference, level, rng).astype(np.float64)
        if task == "sr":
            # Methods work in [0, 1].
            output = imresize(output / 255, float(level)) * 255
        if hidden.get("range") == "16..235":
            output = np.clip(output, 16, 235)
        found = measure_many(protocols, reference, saved(output, hidden["saving"]), made.scale(level))
        for name, value in found.items():
            values[name].append(value)
    return {name: protocol(name).aggregate(found) for name, found in values.items()}


def hidden_table(
    folder: Path, workspace: Workspace, dataset: str, task: str, method: str, levels: list[int], hidden: dict[str, Any]
) -> Table:
    fetched = cropped(dataset, workspace)
    columns, values = [], []
    for level in levels:
        found = measured(fetched, task, level, hidden, [hidden["psnr"], hidden["ssim"]])
        for metric, digits in (("psnr", 2), ("ssim", 4)):
            at = f", level: {level}" if level else ""
            columns.append(f"      - {{metric: {metric}, dataset: {dataset}{at}}}")
            values.append(f'"{found[hidden[metric]]:.{digits}f}"')
    path = folder / "hidden-table.yaml"
    path.write_text(TABLE.format(task=task, method=method, columns="\n".join(columns), values=", ".join(values)))
    return read_table(path)


def name_of(metric: str, *words: str) -> str:
    return "-".join(word for word in (metric, *words) if word)


def check(audit: RowAudit, hidden: dict[str, Any]) -> None:
    """The best variant explains every digit, and every hidden choice is among those that are admitted."""
    assert audit.explained, (audit.best, audit.screened)
    admitted = {dimension.name: dimension.admitted for dimension in audit.dimensions}
    expected = {
        "input": hidden["input"],
        "saved": SAVING_LABELS[hidden["saving"]],
        "range": hidden.get("range", "0..255"),
        "kind of SSIM": hidden["kind"],
        "luma of PSNR": hidden["luma"] or "none",
        "luma of SSIM": hidden["luma"] or "none",
        "border of PSNR": hidden["border"] or "none",
        "border of SSIM": hidden["border"] or "none",
        "average of PSNR": "pooled" if hidden["pooled"] else "mean",
    }
    if "noise" in hidden and audit.best is not None and audit.best.exact == audit.digits:
        expected["noise draw"] = f"independent, seed {hidden['noise']}"
    for name, value in expected.items():
        if name in admitted:
            assert value in admitted[name], (name, hidden)


def draw(rng: random.Random, inputs: list[str], lumas: list[str], savings: list[str]) -> dict[str, Any]:
    hidden: dict[str, Any] = {
        "input": rng.choice(inputs),
        "saving": rng.choice(savings),
        "luma": rng.choice(lumas),
        "border": rng.choice(["", "crop", "crop+6"]),
        "kind": rng.choice(["ssim-gauss", "ssim-8x8", "ssim-toolbox", "ssim-skimage", "ssim-downsampled"]),
        "pooled": rng.random() < 0.3,
    }
    words = (hidden["luma"], hidden["border"])
    hidden["psnr"] = name_of("psnr", *words, "pooled" if hidden["pooled"] else "")
    hidden["ssim"] = name_of(hidden["kind"], *words)
    return hidden


def audited(workspace: Workspace, table: Table, seeds: int = 2) -> RowAudit:
    return audit_row(SmallBench(workspace), table, 0, "Something", AuditSettings(seeds=seeds))


@pytest.mark.parametrize("seed", range(4))
def test_jpeg(seed: int, workspace: Workspace, tmp_path: Path) -> None:
    rng = random.Random(seed)
    hidden = draw(rng, ["jpeg-y8", "jpeg-y-truncated", "jpeg-rgb2gray", "jpeg-rgb"], [""], ["round"])
    audit = audited(workspace, hidden_table(tmp_path, workspace, "embedded", "jpeg", "jpeg", [10, 30], hidden))
    check(audit, hidden)
    # The rest is told apart: another border, window or average explains less.
    admitted = {dimension.name: dimension.admitted for dimension in audit.dimensions}
    assert admitted["kind of SSIM"] == [hidden["kind"]] or hidden["kind"] == "ssim-toolbox"
    assert len(admitted["border of SSIM"]) == 1


@pytest.mark.parametrize("seed", [0, 2])
def test_reduction_and_enlargement(seed: int, workspace: Workspace, tmp_path: Path) -> None:
    rng = random.Random(100 + seed)
    inputs = ["bicubic-replicate", "bicubic-symmetric", "bicubic-y8-float", "bicubic-y8-symmetric"]
    hidden = draw(rng, ["y", "y8", "yfull"], ["y", "y8", "yfull"], ["round", "truncate"])
    hidden["input"] = rng.choice(inputs)
    words = (hidden["luma"], hidden["border"])
    hidden["psnr"] = name_of("psnr", *words, "pooled" if hidden["pooled"] else "")
    hidden["ssim"] = name_of(hidden["kind"], *words)
    if "y8" in hidden["input"] and rng.random() < 0.5:
        hidden["range"] = "16..235"
    audit = audited(workspace, hidden_table(tmp_path, workspace, "embedded", "sr", "bicubic", [2, 4], hidden))
    check(audit, hidden)


@pytest.mark.parametrize("seed", range(2))
def test_mosaic(seed: int, workspace: Workspace, tmp_path: Path) -> None:
    rng = random.Random(200 + seed)
    hidden = draw(rng, ["bayer-grbg", "bayer-rggb", "bayer-bggr", "bayer-gbrg"], ["", "y"], ["round"])
    audit = audited(workspace, hidden_table(tmp_path, workspace, "embedded", "demosaic", "mosaiced", [0], hidden))
    check(audit, hidden)


@pytest.mark.parametrize("seed", range(2))
def test_noise(seed: int, workspace: Workspace, tmp_path: Path) -> None:
    rng = random.Random(300 + seed)
    inputs = ["awgn-float-gray", "awgn-8bit-gray", "awgn-clipped-gray", "awgn-seed0-float-gray"]
    hidden = draw(rng, inputs, [""], ["round", "raw"])
    if degradation(hidden["input"]).random:
        hidden["noise"] = rng.choice([0, 1])
    table = hidden_table(tmp_path, workspace, "embedded-gray", "denoise-gray", "noisy", [10, 50], hidden)
    check(audited(workspace, table), hidden)


def test_a_row_put_together_from_two_protocols(workspace: Workspace, tmp_path: Path) -> None:
    """Level 20 was printed for another input, and under one border: the rest's protocol and this one are both found."""
    hidden = {"input": "jpeg-y8", "saving": "round", "psnr": "psnr", "ssim": "ssim-gauss"}
    levels = [10, 20, 30, 40]
    tables = []
    for name in ("jpeg-y8", "jpeg-rgb"):
        (tmp_path / name).mkdir()
        made = hidden | {"input": name}
        tables.append(hidden_table(tmp_path / name, workspace, "embedded", "jpeg", "jpeg", levels, made))
    rows = [list(table.parts[0].rows[0].values) for table in tables]
    path = tmp_path / "jpeg-y8" / "hidden-table.yaml"
    mixed = rows[0][:2] + rows[1][2:4] + rows[0][4:]
    path.write_text(path.read_text().replace(str(rows[0])[1:-1].replace("'", '"'), str(mixed)[1:-1].replace("'", '"')))
    audit = audited(workspace, read_table(path))
    assert audit.best is not None and audit.best.whole == 6
    assert audit.best.choices["input"] == "jpeg-y8"
    found = audit.mixture
    assert found is not None
    assert found.places == ("embedded/20",)
    assert found.choices["input"] == "jpeg-rgb"
    assert (found.whole, found.row_whole, found.row_digits) == (2, 8, audit.digits)
    assert found.measured.keys() == {"embedded/20/psnr", "embedded/20/ssim"}
    assert "embedded/20: another variant (input jpeg-rgb" in mixture_sentence(found, 8)


def test_a_row_of_one_protocol_is_no_mixture(workspace: Workspace, tmp_path: Path) -> None:
    hidden = {"input": "jpeg-y8", "saving": "round", "psnr": "psnr", "ssim": "ssim-gauss"}
    table = hidden_table(tmp_path, workspace, "embedded", "jpeg", "jpeg", [10, 20], hidden)
    path = tmp_path / "hidden-table.yaml"
    # One misprint: nothing else explains two cells that the rest's protocol does not.
    value = table.parts[0].rows[0].values[0]
    path.write_text(path.read_text().replace(value, f"{float(value) + 0.37:.2f}"))
    audit = audited(workspace, read_table(path))
    assert not audit.explained and audit.mixture is None


def test_numbers_of_nothing_on_the_list_are_not_explained(workspace: Workspace, tmp_path: Path) -> None:
    hidden = draw(random.Random(1), ["jpeg-y8"], [""], ["round"])
    table = hidden_table(tmp_path, workspace, "embedded", "jpeg", "jpeg", [10], hidden)
    path = tmp_path / "hidden-table.yaml"
    values = table.parts[0].rows[0].values
    path.write_text(path.read_text().replace(values[0], "31.11").replace(values[1], "0.7777"))
    audit = audited(workspace, read_table(path))
    assert not audit.explained
    assert audit.best is not None
    assert audit.best.digits < audit.digits
