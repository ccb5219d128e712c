"""How far something is: a bar on a terminal, a line now and then elsewhere; bytes and durations in words."""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from harness.errors import printable

# Seconds between two lines where there is no terminal for a bar.
LINE_SECONDS = 30.0


def bytes_text(size: int) -> str:
    """Write a number of bytes for readers, such as ``3.5 GB``."""
    if 0 < size < 5e4:
        return f"{size / 1e3:.1f} kB"
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


def duration_text(seconds: float) -> str:
    """Write a duration for readers.

    >>> duration_text(59), duration_text(3700), duration_text(200_000)
    ('59 s', '1 h 01 min', '2 d 7 h')
    """
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"


class Remaining:
    """The time that is left, by what was done since it was first asked for; it never rises, unless the work grows.

    Images differ in size, and a machine has more to do at times, so that an estimate goes up and down. What was said
    once stands until less is expected; where much more is, it is called the least. What was done at first may have been
    taken from an earlier run and says nothing.

    >>> remaining = Remaining()
    >>> remaining.text(5, 10, seconds=1)
    ''
    >>> remaining.text(6, 10, seconds=21), remaining.text(7, 10, seconds=101), remaining.text(9, 10, seconds=121)
    ('about 1 min 20 s left', 'at least 1 min 20 s left', 'about 30 s left')
    """

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None
        self._total = 0.0
        self._least = math.inf

    def text(self, done: float, total: float, seconds: float) -> str:
        """Say how long it will take; empty where nothing is known yet.

        `done`, `total`: How much of how much is done.
        `seconds`: How long that took.
        """
        if total > self._total:
            self._least = math.inf
        self._total = total
        self._first = self._first or (done, seconds)
        made, took = done - self._first[0], seconds - self._first[1]
        if made <= 0 or total <= 0:
            return ""
        expected = took / made * max(total - done, 0)
        self._least = min(self._least, expected)
        return f"{'about' if expected <= 1.5 * self._least else 'at least'} {duration_text(self._least)} left"


class ProgressBar:
    """A bar while the block runs; where there is no terminal, a line twice a minute. Threads may share it.

    `total`: How much is to come; with 0 no bar is shown. None where `update` says it.
    `noted`: Whether `update` gives a note, which stands in the place of the time that is left; nothing is then said
        where there is no terminal.
    """

    def __init__(
        self,
        title: str,
        total: int | None = None,
        *,
        in_bytes: bool = False,
        noted: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._title, self._total = title, total
        self._in_bytes, self._noted = in_bytes, noted
        self._clock, self._remaining, self._lock = clock, Remaining(), threading.Lock()
        self._start = self._told = clock()
        self._done = 0
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        self._start = self._told = self._clock()
        if self.shown:
            from rich import progress
            from rich.console import Console

            amounts: list[Any] = [progress.MofNCompleteColumn()]
            if self._in_bytes:
                amounts = [progress.DownloadColumn(), progress.TransferSpeedColumn()]
            self._bar = progress.Progress(
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                *amounts,
                progress.TextColumn("{task.fields[note]}"),
                console=Console(stderr=True),
                transient=True,
            )
            self._bar.start()
            self._task = self._bar.add_task(self._title, total=self._total, note="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    @property
    def shown(self) -> bool:
        """Whether there is a terminal to show it on, and something to show."""
        return sys.stderr.isatty() and self._total != 0

    def advance(self, amount: int) -> None:
        """Say that so much more is done."""
        with self._lock:
            self._show(self._done + amount, self._total or 0)

    def update(self, done: int, total: int, note: str = "") -> None:
        """Say how much of how much is done."""
        with self._lock:
            self._show(done, total, note)

    def _show(self, done: int, total: int, note: str = "") -> None:
        self._done = done
        now = self._clock()
        if not self._noted:
            note = self._remaining.text(done, total, now - self._start)
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total or None, note=note)
        elif not self._noted and now - self._told >= LINE_SECONDS:
            self._told = now
            amounts = [bytes_text(done), bytes_text(total)] if self._in_bytes else [f"{done:,}", f"{total:,}"]
            counted = " of ".join(amounts[: 2 if total else 1])
            sys.stderr.write(printable(f"{self._title}: {counted}{', ' if note else ''}{note}") + "\n")
            sys.stderr.flush()
