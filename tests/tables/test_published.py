"""The format of table files: what is read, and what is refused in one sentence."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from harness.errors import HarnessError
from harness.tables.published import published_number, read_table

TABLE = """
name: doe-table1
paper: doe
title: A table
source: nowhere
parts:
  - task: jpeg
    columns:
      - {dataset: live1, level: 10, metric: psnr}
      - {dataset: live1, level: 10, metric: ssim}
    rows:
      - {name: JPEG, method: jpeg, values: ["27.77", "**0.7905**"]}
      - {name: Other, values: ["N/A", "-"]}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "doe-table1.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("printed", "value", "unit", "mark"),
    [
        ("37.35", "37.35", "0.01", ""),
        ("**0.9000**", "0.9000", "0.0001", "best"),
        ("_36.81_", "36.81", "0.01", "second"),
        ("4131K", "4131000", "1000", ""),
        ("1,494k", "1494000", "1000", ""),
        ("4,131 K", "4131000", "1000", ""),
        ("239.0", "239.0", "0.1", ""),
        ("40", "40", "1", ""),
        ("5.7M", "5700000", "100000", ""),
    ],
)
def test_published_number(printed: str, value: str, unit: str, mark: str) -> None:
    number = published_number(printed)
    assert number is not None
    assert (number.value, number.unit, number.mark) == (Decimal(value), Decimal(unit), mark)


@pytest.mark.parametrize("printed", ["", "N/A", "-", "–", " N/A "])
def test_no_number(printed: str) -> None:
    assert published_number(printed) is None


@pytest.mark.parametrize("printed", ["27,77", "27.77 dB", "**", "1e3", "n.a.", "-3", "27.77**"])
def test_not_a_printed_number(printed: str) -> None:
    with pytest.raises(HarnessError, match="not a printed number"):
        published_number(printed)


def test_table_counts(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, TABLE))
    assert (table.cell_count(), table.number_count()) == (4, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("task: jpeg", "task: jpg"), "unknown task 'jpg'; did you mean 'jpeg'"),
        (('"27.77", ', ""), "row 'JPEG' has 1 values for 2 columns"),
        (("27.77", "27,77"), "row 'JPEG': '27,77' is not a printed number"),
        (("method: jpeg", "metod: jpeg"), "unknown key 'metod'; did you mean 'method'"),
        (("title: A table", "title: [1]"), "line 4 (title): expected a text, found a list"),
        (("name: JPEG,", "name: JPEG, cells: {live1/20/psnr: {note: x}},"), "unknown cell 'live1/20/psnr'"),
        (("dataset: live1,", "dataset: ../../live1,"), "unknown dataset '../../live1'"),
        (("dataset: live1,", "dataset: live1; touch x,"), "unknown dataset 'live1; touch x'"),
        (("metric: psnr", "metric: psnrr"), "did you mean 'psnr'"),
        (("method: jpeg", "method: $(touch x)"), "method name '$(touch x)'"),
        (("method: jpeg", "method: jpeg, images: {live2: mine}"), "did you mean 'live1'"),
        (("method: jpeg", "method: jpeg, images: {live1: $(touch x)}"), "method name '$(touch x)'"),
        (("method: jpeg", "method: jpeg, policy: whol"), "did you mean 'whole'"),
        (("method: jpeg", "method: jpeg, saving: rnd"), "unknown saving rule 'rnd'"),
        (("method: jpeg", "method: jpeg, cells: {live1/10/psnr: {saving: rond}}"), "did you mean 'round'"),
        (("method: jpeg", "method: jpeg, degradation: jpeg-8"), "did you mean 'jpeg-y8'"),
        (("method: jpeg", "method: jpeg, protocol: {ssim: ssim-9x9}"), "ssim-9x9"),
        (("name: doe-table1", "name: ../evil"), "table name '../evil'"),
        (("parts:", "parts: ["), "not valid YAML"),
        (("title: A table", "title: !!python/object/apply:os.system [true]"), "not valid YAML"),
    ],
)
def test_mistakes_are_named(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    assert change[0] in TABLE
    path = write(tmp_path, TABLE.replace(*change, 1))
    with pytest.raises(HarnessError) as caught:
        read_table(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no such file"):
        read_table(tmp_path / "none.yaml")


def test_digits_of_the_source_leave_the_unit_alone(tmp_path: Path) -> None:
    from harness.tables.requests import requests

    for value, source_unit in (("0.7910", Decimal("0.001")), ("0.7905", None)):
        text = TABLE.replace('["27.77", "**0.7905**"]', f'["27.70", "{value}"], source_digits: {{ssim: 3}}')
        psnr, ssim, *_ = requests(read_table(write(tmp_path, text)), {})
        assert psnr.printed is not None and ssim.printed is not None
        assert (psnr.printed.unit, psnr.printed.source_unit) == (Decimal("0.01"), None)
        assert (ssim.printed.unit, ssim.printed.source_unit) == (Decimal("0.0001"), source_unit)


def test_policies_are_those_of_inference() -> None:
    from harness.inference import policies
    from harness.tables import published

    assert tuple(policies.POLICIES) == published.POLICIES


def test_a_place_to_be_filled_is_named_by_its_line(tmp_path: Path) -> None:
    path = write(tmp_path, TABLE.replace('"27.77"', '"???"'))
    with pytest.raises(HarnessError, match="line 12: something is still to be written"):
        read_table(path)


@pytest.mark.parametrize(
    ("change", "line", "message"),
    [
        (("metod: jpeg", "metod: jpeg"), 12, "did you mean 'method'"),
        (("27.77", "27,77"), 12, "'27,77' is not a printed number"),
        (('"27.77"', "27.77"), 12, "put it in quotes"),
        (("metric: ssim", "metric: sim"), 10, "did you mean 'ssim'"),
        (("source: nowhere\n", ""), 2, "the key 'source' is missing"),
    ],
)
def test_a_broken_table_is_told_by_line_and_stops_no_other(
    tmp_path: Path, change: tuple[str, str], line: int, message: str
) -> None:
    from harness.tables.workspace import Workspace

    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    folder = tmp_path / "tables"
    folder.mkdir()
    text = TABLE.replace("method: jpeg", "metod: jpeg") if "metod" in change[0] else TABLE.replace(*change, 1)
    write(folder, text)
    (folder / "good.yaml").write_text(TABLE.replace("doe-table1", "good"))
    workspace = Workspace(tmp_path)
    assert {"good", "embedded", "panet-table1"} <= set(workspace.tables())
    assert workspace.table("good").name == "good"
    with pytest.raises(HarnessError) as caught:
        workspace.table("doe-table1")
    told = str(caught.value)
    assert f"doe-table1.yaml, line {line}" in told and message in told and "\n" not in told


def test_a_new_table_overwrites_no_broken_one(tmp_path: Path) -> None:
    from harness.cli.authoring import write_table
    from harness.tables.workspace import Workspace

    (tmp_path / "params.yaml").write_text("tables: [tables]\n")
    (tmp_path / "tables").mkdir()
    path = write(tmp_path / "tables", "name: [")
    with pytest.raises(HarnessError, match="is there already"):
        write_table(Workspace(tmp_path), "doe-table1", "jpeg", ["embedded-gray"], [10], ["jpeg"], [])
    assert path.read_text() == "name: ["
