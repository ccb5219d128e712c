from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import HarnessError
from harness.protocols import LUMAS, METRICS, Protocol, protocol, protocol_grid
from harness.records.tasks import TASKS

CROPS = st.sampled_from(["", "crop", "crop+6", "crop+1", "crop6", "crop20"])


@given(st.sampled_from(sorted(METRICS)), st.sampled_from(sorted(LUMAS)), CROPS)
def test_names_are_read_back(metric: str, luma: str, crop: str) -> None:
    name = "-".join(word for word in (metric, luma, crop) if word)
    found = protocol(name)
    assert found.name == name
    assert (found.metric, found.luma) == (metric, luma)
    assert hash(found) == hash(protocol(name))
    assert found.version.count(".") == len([word for word in (metric, luma, crop) if word])


@pytest.mark.parametrize(
    ("name", "borders"),
    [("psnr", (0, 0)), ("psnr-y-crop", (2, 4)), ("psnr-y-crop+6", (8, 10)), ("psnr-y-crop6", (6, 6))],
)
def test_borders_at_scales_2_and_4(name: str, borders) -> None:
    assert (protocol(name).border(2), protocol(name).border(4)) == borders


def test_every_task_measures_known_protocols() -> None:
    for task in TASKS.values():
        for name in task.metrics:
            assert protocol(name).name == name


def test_versions_name_each_part() -> None:
    assert protocol("psnr").version == "psnr.1"
    assert protocol("ssim-gauss-y8-crop").version == "ssim-gauss.1-y8.1-crop.1"
    assert protocol("psnr-y-crop+6-pooled").version == "psnr.1-y.1-crop+6.1-pooled.1"


def test_different_protocols_have_different_versions() -> None:
    grid = protocol_grid(crops=("", "crop", "crop+6", "crop6"), aggregations=("", "pooled"))
    assert len({item.version for item in grid}) == len({item.name for item in grid}) == len(grid)


def test_a_sentence_for_people() -> None:
    assert protocol("psnr-y-crop").describe() == (
        "PSNR in dB, peak 255, of the mean squared error over all samples; of the unrounded MATLAB luma (16..235); "
        "a border of scale pixels is cut; the mean of per-image values."
    )
    assert "8x8 uniform window" in protocol("ssim-8x8").describe()
    assert "the mean over the channels" in protocol("ssim-gauss").describe()
    assert "as one volume" in protocol("ssim-volume").describe()
    assert "scale + 6 pixels" in protocol("psnr-crop+6").describe()
    assert "6 pixels" in protocol("psnr-crop6").describe()
    assert "mean squared errors" in protocol("psnr-pooled").describe()


def test_the_longest_metric_wins() -> None:
    assert protocol("ssim-gauss-sample-y").metric == "ssim-gauss-sample"
    assert protocol("ssim-gauss-y").metric == "ssim-gauss"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("psnt", "unknown metric 'psnt'.*'psnr'"),
        ("ssim", "unknown metric 'ssim'.*'ssim-gauss'|'ssim-8x8'"),
        ("ssim-gaus", "unknown metric 'ssim-gaus'.*'ssim-gauss'"),
        ("", "unknown metric"),
        ("psnr-yfoll", "part of protocol 'psnr-yfoll' 'yfoll'.*'yfull'"),
        ("psnr-y-crp", "'crp'.*'crop'"),
        ("psnr-", "part of protocol"),
        ("psnr-y-y8", "two parts of one kind"),
        ("psnr-crop-crop6", "two parts of one kind"),
        ("psnr-crop-y", "write 'psnr-y-crop'"),
        ("psnr-crop0", "'crop0'"),
        ("ssim-gauss-pooled", "cannot be pooled"),
    ],
)
def test_unknown_names_suggest_near_ones(name: str, says: str) -> None:
    with pytest.raises(HarnessError, match=says):
        protocol(name)


def test_objects_made_by_hand_are_checked() -> None:
    assert Protocol("psnr", "y", crop_scales=1) == protocol("psnr-y-crop")
    for fields in ({"metric": "psnr", "luma": "x"}, {"metric": "x"}, {"metric": "psnr", "crop_scales": 2}):
        with pytest.raises(HarnessError):
            Protocol(**fields)
    with pytest.raises(AttributeError):
        protocol("psnr").luma = "y"  # type: ignore[misc]
    assert msgspec.convert(msgspec.to_builtins(protocol("psnr-y")), Protocol) == protocol("psnr-y")


def test_the_grid_of_an_audit() -> None:
    grid = protocol_grid()
    assert len(grid) == len(METRICS) * len(LUMAS) * 3
    assert {item.name for item in grid} >= {"psnr", "psnr-y8-crop", "ssim-8x8-yfull-crop+6", "ssim-toolbox-y"}
    both = protocol_grid(metrics=("psnr", "ssim-gauss"), lumas=("y",), crops=("",), aggregations=("", "pooled"))
    assert [item.name for item in both] == ["psnr-y", "psnr-y-pooled", "ssim-gauss-y"]


def test_aggregation() -> None:
    mean, pooled = protocol("psnr"), protocol("psnr-pooled")
    assert mean.aggregate([30.0, 20.0]) == 25
    # 30 dB is an error of 65.025, 20 dB one of 650.25.
    assert pooled.aggregate([30.0, 20.0]) == pytest.approx(10 * math.log10(65025 / ((65.025 + 650.25) / 2)))
    assert pooled.aggregate([30.0, 20.0], [3, 1]) == pytest.approx(10 * math.log10(65025 / ((3 * 65.025 + 650.25) / 4)))
    assert mean.aggregate([math.inf, 20.0]) == math.inf
    assert pooled.aggregate([math.inf, 20.0]) == pytest.approx(20 + 10 * math.log10(2))
    assert mean.unit == "dB"
    assert protocol("ssim-gauss").unit == ""


@given(st.lists(st.floats(5, 60), min_size=1, max_size=8))
def test_pooling_never_exceeds_the_mean(values) -> None:
    assert protocol("psnr-pooled").aggregate(values) <= protocol("psnr").aggregate(values) + 1e-9


def test_aggregation_mistakes_are_named() -> None:
    with pytest.raises(HarnessError, match="no value of 'psnr'"):
        protocol("psnr").aggregate([])
    with pytest.raises(HarnessError, match=r"2 values.*1 pixel counts"):
        protocol("psnr-pooled").aggregate([1.0, 2.0], [5])
