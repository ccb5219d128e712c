"""How far a run is: lines inside a long stage where there is no terminal, and a time left that never rises."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.assets.progress import LINE_SECONDS, ProgressBar, Remaining
from harness.run.progress import RunView


class Clock:
    """A clock that stands still until it is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def seconds_in(text: str) -> int:
    """Read a duration that was written for readers."""
    units = {"s": 1, "min": 60, "h": 3600, "d": 86400}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+) (s|min|h|d)\b", text))


@given(st.lists(st.tuples(st.floats(0.01, 1000), st.integers(0, 5)), min_size=1, max_size=40))
def test_the_time_left_never_rises(steps: list[tuple[float, int]]) -> None:
    """Whatever the images take; it is nothing when all is done."""
    remaining, seconds, done = Remaining(), 0.0, 0
    total = sum(count for _, count in steps) + 1
    said: list[int] = []
    assert remaining.text(0, total, 0) == ""
    for took, count in [*steps, (1.0, 1)]:
        seconds, done = seconds + took, done + count
        if text := remaining.text(done, total, seconds):
            said.append(seconds_in(text))
    assert said == sorted(said, reverse=True) and said[-1] == 0


def test_it_rises_where_the_work_grows() -> None:
    remaining = Remaining()
    remaining.text(0, 10, 0)
    before, after = remaining.text(5, 10, 50), remaining.text(6, 100, 60)
    assert (seconds_in(before), seconds_in(after)) == (50, 940)


def test_what_an_earlier_run_left_says_nothing_of_the_pace() -> None:
    remaining = Remaining()
    assert remaining.text(90, 100, 0.5) == ""
    assert seconds_in(remaining.text(91, 100, 10.5)) == 90


class Stage:
    def __init__(self, title: str) -> None:
        self.title, self.needs = title, ()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def view(clock: Clock, *, stages: int = 1) -> tuple[RunView, io.StringIO]:
    from rich.console import Console

    nodes: Any = {f"a{number}": Stage(f"restore net set{number}") for number in range(stages)}
    made = RunView(nodes, {}, verbose=False, on_terminal=False, clock=clock)
    told = io.StringIO()
    made._console = Console(file=told)
    return made, told


def test_a_run_without_a_terminal_tells_how_far_a_long_stage_is(clock: Clock, tmp_path: Path) -> None:
    shown, told = view(clock)
    progress = tmp_path / "progress"
    with shown:
        shown.started("a0", progress)
        clock.now = LINE_SECONDS - 1
        shown.tell()
        assert told.getvalue() == ""  # it has only begun
        lines = []
        # The second half of the images takes longer.
        for clock.now, done in ((30, 0), (60, 3), (90, 6), (150, 7), (300, 8), (330, 29)):
            progress.write_text(f"{done} 29")
            shown.tell()
            lines.append(told.getvalue().splitlines()[-1])
        assert lines[0] == "restore net set0: 0 of 29 images, running for 30 s"
        assert lines[1] == "restore net set0: 3 of 29 images, running for 1 min 00 s, about 4 min 20 s left"
        left = [seconds_in(line.partition("running")[2].partition(", ")[2]) for line in lines[1:]]
        assert left == sorted(left, reverse=True) and left[-1] == 0 and "at least" in lines[4]


def test_a_stage_that_counts_no_images_says_how_long_it_runs(clock: Clock, tmp_path: Path) -> None:
    shown, told = view(clock, stages=15)
    with shown:
        for number in range(15):
            shown.started(f"a{number}", tmp_path / "nothing")
        clock.now = 3700
        shown.tell()
    lines = told.getvalue().splitlines()
    assert lines[0] == "restore net set0: running for 1 h 01 min" and lines[-1] == "and 3 more" and len(lines) == 13


def test_the_thread_ends_with_the_run(clock: Clock) -> None:
    import threading

    before = threading.active_count()
    with view(clock)[0]:
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_bar_without_a_terminal_is_a_line_now_and_then(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar("set5", 3_000_000, in_bytes=True, clock=clock) as bar:
        for clock.now in range(0, 100, 10):
            bar.advance(300_000)
    assert capsys.readouterr().err.splitlines() == [
        "set5: 1.2 MB of 3.0 MB, about 1 min 00 s left",
        "set5: 2.1 MB of 3.0 MB, about 30 s left",
        "set5: 3.0 MB of 3.0 MB, about 0 s left",
    ]
    with ProgressBar("restore\x1b[31m", clock=clock) as bar:
        clock.now += 31
        bar.update(1, 7)
        bar.update(2, 7)
    assert capsys.readouterr().err == "restore\\x1b[31m: 1 of 7\n"
