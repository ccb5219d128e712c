"""Overlap between sets, and the page of findings: the rendering of its data and nothing else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.data import camera, coffee

pytest.importorskip("imagehash")

from harness.audit.findings import DATA, PAGE, Findings, check_page, refresh, render_page, write_findings
from harness.audit.overlap import SetImages, find_overlap, read_set
from harness.audit.rows import Settings, audit_row
from harness.datasets import fetch
from harness.errors import CheckFailedError, HarnessError
from harness.metrics.luminance import luma
from harness.tables.published import read_table
from harness.workspace import Workspace

ROOT = Path(__file__).parents[2]


def gray(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return luma(image, "none", "full")


def found(one: dict[str, NDArray[np.float64]], other: dict[str, NDArray[np.float64]]) -> list[tuple[str, str, str]]:
    return [(m.image, m.other, m.kind) for m in find_overlap(SetImages("one", one), SetImages("other", other))]


def test_whole_images_in_any_size_and_orientation() -> None:
    photograph, another = gray(camera()), gray(coffee())
    half = photograph.reshape(256, 2, 256, 2).mean(axis=(1, 3))
    assert found({"a": photograph}, {"small": half, "no": another}) == [("a", "small", "same")]
    assert found({"a": photograph}, {"turned": np.rot90(half)}) == [("a", "turned", "flipped")]
    assert found({"a": photograph}, {"no": another}) == []


def test_crops_at_any_place() -> None:
    photograph, another = gray(camera()), gray(coffee())
    piece = photograph[101:291, 57:237]
    assert found({"a": photograph}, {"piece": piece}) == [("a", "piece", "crop")]
    assert found({"piece": piece}, {"a": photograph, "no": another}) == [("piece", "a", "crop")]
    assert found({"no": another}, {"piece": piece}) == []


def test_noise_is_no_photograph() -> None:
    rng = np.random.default_rng(0)
    assert found({"a": rng.uniform(0, 255, (90, 120))}, {"b": rng.uniform(0, 255, (64, 64))}) == []


def test_sets_that_share_photographs(mirror: Path, tmp_path: Path) -> None:
    """Set14's face is Set5's head, and its monarch is Set5's butterfly around the crop."""
    for name in ("set5", "set14"):
        assert fetch(name, tmp_path).complete
    pairs = find_overlap(read_set("set5", tmp_path), read_set("set14", tmp_path))
    assert {(m.image, m.other, m.kind) for m in pairs} == {
        ("head_GT", "face", "same"),
        ("butterfly_GT", "monarch", "crop"),
    }


TABLE = """
name: panet-table3
paper: panet
title: One row
source: a test
parts:
  - task: jpeg
    protocol: {psnr: psnr, ssim: ssim-gauss}
    columns:
      - {metric: psnr, dataset: embedded-gray, level: 10}
      - {metric: ssim, dataset: embedded-gray, level: 10}
    rows:
      - {name: JPEG, method: jpeg, values: ["28.43", "0.7814"]}
      - {name: Wrong, method: jpeg, values: ["28.13", "0.7814"]}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    """Findings of one right and one wrong row."""
    from harness.audit.images import Bench

    root = tmp_path_factory.mktemp("workspace")
    (root / "params.yaml").write_text("tables: []\n")
    fetch("embedded-gray", root / "data")
    path = root / "panet-table3.yaml"
    path.write_text(TABLE)
    table = read_table(path)
    workspace = Workspace(root)
    audits = tuple(audit_row(Bench(workspace), table, 0, name, Settings()) for name in ("JPEG", "Wrong"))
    return Findings(
        audits=audits,
        same={"panet-table3/JPEG": ["rnan-table5/JPEG"]},
        not_audited={"no weights": ["panet-table3/PANet"]},
        tables=(),
        parameters=(),
        tiling=(),
        overlaps=(),
        sets={"set5": 5, "urban100": 0},
    )


def test_page_says_what_is_explained_and_what_is_not(data: Findings) -> None:
    page = render_page(data)
    assert "| panet-table3, JPEG | 8 of 8 digits, 2 of 2 cells |" in page
    assert "rnan-table5/JPEG" in page
    assert "| panet-table3, Wrong | embedded-gray/10/psnr | 28.13 |" in page
    assert "panet-table3/PANet: no weights" in page
    assert "Not here: Urban100" in page
    assert "{{" not in page
    assert "\n\n\n" not in page


def test_page_is_checked_against_its_data(data: Findings, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("tables: []\n")
    workspace = Workspace(tmp_path)
    with pytest.raises(HarnessError):
        check_page(workspace)
    write_findings(workspace, data)
    check_page(workspace)
    page = tmp_path / PAGE
    page.write_text(page.read_text() + "More.\n")
    with pytest.raises(CheckFailedError, match="harness findings --render"):
        check_page(workspace)


def test_one_row_is_audited_again_and_the_rest_kept(data: Findings, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "mine.yaml").write_text(TABLE.replace("panet-table3", "mine"))
    fetch("embedded-gray", tmp_path / "data")
    audits = tuple(msgspec.structs.replace(a, table="mine", digits=99) for a in data.audits)
    known = msgspec.structs.replace(data, audits=audits)
    found = refresh(Workspace(tmp_path), known, "mine", "JPEG", Settings())
    assert [audit.digits for audit in found.audits] == [8, 99]
    assert found.not_audited == data.not_audited
    with pytest.raises(HarnessError, match="no audit of row 'Nobody' of mine"):
        refresh(Workspace(tmp_path), known, "mine", "Nobody", Settings())


def test_the_projects_page_is_up_to_date() -> None:
    if not (ROOT / DATA).is_file():
        pytest.skip(f"{DATA} was not made yet; run harness findings")
    check_page(Workspace(ROOT))
