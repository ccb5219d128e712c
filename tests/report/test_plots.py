"""Charts: what is drawn is where its value says, and nothing is left out."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import plots
from harness.tables.collected import collect
from harness.tables.workspace import Workspace

FINITE = st.floats(-1e6, 1e6, allow_nan=False)


def chart(points: list[tuple[float, float, str]], log_x: bool = False) -> plots.Chart | None:
    return plots.chart([plots.Values("a", points)], log_x=log_x, name="c", title="C", x_title="x", y_title="y")


@given(st.lists(st.tuples(FINITE, FINITE), min_size=1, max_size=20))
def test_points_stand_where_their_values_say(points: list[tuple[float, float]]) -> None:
    made = chart([(x, y, "") for x, y in points])
    assert made is not None
    drawn = made.series[0].points
    assert [(p.x, p.y) for p in drawn] == points
    for point in drawn:
        assert made.left <= point.left <= made.right and made.top <= point.top <= made.bottom
    for a in drawn:
        for b in drawn:
            if a.x < b.x:
                assert a.left <= b.left
            if a.y < b.y:
                assert a.top >= b.top


@given(st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=10))
def test_a_logarithmic_axis_has_equal_ratios(values: list[float]) -> None:
    made = chart([(x, 1.0, "") for x in values], log_x=True)
    assert made is not None
    drawn = sorted(made.series[0].points, key=lambda p: p.x)
    scale = [(math.log10(p.x), p.left) for p in drawn]
    slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in itertools.pairwise(scale) if b[0] - a[0] > 1e-3]
    assert all(math.isclose(slope, slopes[0], rel_tol=1e-6) for slope in slopes)


@given(st.floats(-1e5, 1e5), st.floats(1e-3, 1e5))
def test_ticks_are_round_and_inside(low: float, size: float) -> None:
    found = plots.ticks(low, low + size)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-6 <= value <= low + size + 1e-6 for value in found)


def test_nothing_to_draw_is_no_chart() -> None:
    assert chart([]) is None
    assert plots.distribution([1.0], "dB") is None
    assert plots.distribution([math.inf, 1.0], "dB") is None
    assert plots.distribution([2.0, 2.0], "dB") is None


@given(st.lists(st.floats(0, 50), min_size=2, max_size=200).filter(lambda v: max(v) > min(v)))
def test_a_distribution_counts_every_image(values: list[float]) -> None:
    made = plots.distribution(values, "dB")
    assert made is not None
    assert sum(bar.count for bar in made.bars) == len(values)
    assert sum(int(row[1]) for row in made.rows) == len(values)


@given(st.lists(st.lists(st.floats(0, 50), min_size=1, max_size=30), min_size=1, max_size=8))
def test_strips_have_a_point_for_each_image_and_their_mean(rows: list[list[float]]) -> None:
    made = plots.strips(
        [(f"method {i}", values) for i, values in enumerate(rows)], name="s", title="S", x_title="x", y_title=""
    )
    assert made is not None
    for number, values in enumerate(rows):
        points, mean = made.series[2 * number : 2 * number + 2]
        assert [p.x for p in points.points] == sorted(values)
        assert mean.points[0].x == pytest.approx(sum(values) / len(values), abs=1e-9)
        assert all(made.left <= p.left <= made.right for p in points.points)
        assert {p.top for p in (*points.points, *mean.points)} == {made.y_ticks[number].at}
    assert plots.strips([("a", [math.inf])], name="s", title="S", x_title="x", y_title="") is None


def test_labels_keep_apart() -> None:
    made = chart([(1.0 + i / 100, 30.0 + i / 100, f"method {i}") for i in range(6)])
    assert made is not None
    boxes = [(p.label_top, p.label_left, p.anchor) for p in made.series[0].points]
    assert len(set(boxes)) == 6


def test_differences_are_counted_in_units_of_the_last_digit(report_workspace: Workspace) -> None:
    collected = collect(report_workspace, ["report-mine"])
    made = plots.delta_histogram(collected)
    assert made is not None
    compared = [r for item in collected for r in item.results if r.request.printed and r.judgement.delta is not None]
    assert sum(bar.count for bar in made.bars) == len(compared)
    table = {row[0]: dict(zip(made.heads[1:], row[1:], strict=True)) for row in made.rows}
    # Printed: Noisy as measured, Blur 0.03 dB above (on Kodak24 0.5 dB below), Smear 1 dB and the others 0.5 dB above.
    assert table["0"]["match"] == "2" and table["−3"]["close"] == "2"
    assert (table["<−10"]["off"], table["<−10"]["incomparable"], table[">10"]["off"]) == ("2", "2", "1")


def test_curves_by_level_are_distances_to_the_lowest_row(report_workspace: Workspace) -> None:
    item = collect(report_workspace, ["report-mine"])[0]
    charts = plots.level_charts(item.table, item.results)
    assert [chart.name for chart in charts] == ["levels-0-embedded"]
    series = {s.name: s for s in charts[0].series}
    noisy = [p.y for p in series["Noisy, published"].points]
    assert noisy == [0.0, 0.0]
    smear = {r.request.level: r for r in item.results if r.request.row == "Smear" and r.request.dataset == "embedded"}
    zero = {r.request.level: r for r in item.results if r.request.row == "Noisy" and r.request.dataset == "embedded"}
    for point in series["Smear, measured"].points:
        level = int(point.x)
        assert zero[level].request.printed is not None
        expected = smear[level].measured.value - float(zero[level].request.printed.value)  # type: ignore[union-attr]
        assert point.y == pytest.approx(expected)


@pytest.mark.parametrize("name", ["panet-table4", "rnan-table7"])
def test_cost_tables_are_drawn_against_parameters(name: str) -> None:
    item = collect(Workspace("."), [name])[0]
    charts = plots.cost_charts(item.table, item.results)
    published = charts[0].series[0]
    rows = {r.request.row for r in item.results if r.request.metric == "parameters" and r.request.printed}
    assert {p.label for p in published.points} == rows
    assert len(charts) == (2 if name == "rnan-table7" else 1)
