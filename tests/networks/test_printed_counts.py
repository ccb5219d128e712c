"""Printed numbers of parameters that are not those of the released networks, and what would fit them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from harness.networks.dncnn import DnCNN
from harness.networks.measure import parameter_count
from harness.networks.panet import panet_s
from harness.networks.pyramid_attention import PyramidAttention
from harness.tables.published import published_number, published_tables

ROOT = Path(__file__).parents[2]
NORMALISED = 18
"""Middle layers of the colour DnCNN: those between the first and the last convolution, with batch normalisation."""


def dncnn_counts() -> tuple[int, int, int]:
    """Parameters of the colour DnCNN: merged, as it was trained, and with the running mean and variance."""
    with torch.device("meta"):
        merged = DnCNN(channels=3, depth=20)
    middle = list(merged.convs)[1:-1]
    assert len(middle) == NORMALISED
    without_bias = parameter_count(merged) - sum(layer.out_channels for layer in middle)
    channels = sum(layer.out_channels for layer in middle)
    return parameter_count(merged), without_bias + 2 * channels, without_bias + 4 * channels


def panet_s_counts() -> tuple[int, int]:
    """Parameters of PANet-S with its one attention, and with four."""
    with torch.device("meta"):
        released = panet_s()
        attention = parameter_count(PyramidAttention())
    assert sum(isinstance(module, PyramidAttention) for module in released.modules()) == 1
    return parameter_count(released), parameter_count(released) + 3 * attention


def printed(table: str, row: str) -> tuple[str, str]:
    """What is printed as a row's number of parameters, and the note beside it."""
    (part,) = published_tables()[table].parts
    (found,) = [r for r in part.rows if r.name == row]
    return found.values[0], found.cells["parameters"].note


@pytest.mark.parametrize("table", ["panet-table4", "rnan-table7"])
def test_dncnn_is_consistent_with_its_print_before_the_merge(table: str) -> None:
    assert dncnn_counts() == (668_227, 669_379, 671_683)
    text, note = printed(table, "DnCNN")
    number = published_number(text)
    assert number is not None
    fits = [abs(count - number.value) <= number.unit / 2 for count in dncnn_counts()]
    assert fits == [False, False, True]
    assert "consistent with" in note
    assert re.findall(r"\d{3},\d{3}", note) == ["668,227", "671,683", "669,379"]


def test_panet_s_would_fit_with_four_attentions() -> None:
    assert panet_s_counts() == (639_647, 664_616)
    text, note = printed("panet-table4", "PANet-S")
    number = published_number(text)
    assert number is not None
    assert [abs(count - number.value) <= number.unit / 2 for count in panet_s_counts()] == [False, True]
    assert "would fit" in note
    assert re.findall(r"\d{3},\d{3}", note) == ["639,647", "664,616"]


def test_no_text_calls_a_number_of_parameters_explained() -> None:
    for path in (*(ROOT / "docs").glob("*.md"), *(ROOT / "harness/tables/published").glob("*.yaml")):
        for line in path.read_text(encoding="utf-8").splitlines():
            assert not ("explained" in line and re.search(r"parameters|\d{3}K|\d{3},\d{3}", line)), (path.name, line)
