"""Telling how a run goes: a live view on a terminal; elsewhere a line for each stage, and one now and then in it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.assets.progress import LINE_SECONDS, Remaining, duration_text
from harness.run.graph import Node
from harness.run.worker import StageOutcome

_MOST_LINES = 12


class RunView(ExitStack):
    """The view of a run, between entering and leaving it.

    `nodes`: Stages that may have to run, by address.
    `cells`: Number of cells that are done when a stage is.
    `verbose`: Name every stage, also those that had not changed.
    `on_terminal`: Draw a live view on standard error; otherwise tell twice a minute how far the running stages are.
    """

    def __init__(
        self,
        nodes: Mapping[str, Node],
        cells: Mapping[str, int],
        *,
        verbose: bool,
        on_terminal: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._nodes = nodes
        self._cells = cells
        self._verbose = verbose
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, Path]] = {}
        self._done: dict[str, StageOutcome] = {}
        self._clock = clock
        self._start = clock()
        self._left = Remaining()
        self._left_of: dict[str, Remaining] = {}
        self._ended = threading.Event()
        self._console = Console(stderr=True)
        if on_terminal:
            self.enter_context(
                Live(get_renderable=self._picture, console=self._console, refresh_per_second=4, transient=True)
            )
        else:
            teller = threading.Thread(target=self._tell_now_and_then, daemon=True)
            teller.start()
            self.callback(teller.join)
            self.callback(self._ended.set)

    def started(self, address: str, progress: Path) -> None:
        """See `harness.run.execution.Watcher`."""
        with self._lock:
            if address not in self._done:
                # A stage whose worker was killed begins again.
                self._left_of[address] = Remaining()
                self._running[address] = (self._clock(), progress)

    def finished(self, address: str, outcome: StageOutcome) -> None:
        """See `harness.run.execution.Watcher`."""
        with self._lock:
            self._running.pop(address, None)
            self._done[address] = outcome
        title, count = self._nodes[address].title, f"[{len(self._done)}/{len(self._nodes)}]"
        told = {
            "failed": f"failed: {title}: {outcome.message}",
            "computed": f"{count} {outcome.said or title} ({outcome.seconds:.1f} s)",
            "restored": f"{count} {title}: taken from an earlier run",
        }
        if self._verbose:
            told["skipped"] = f"skipped: {title} ({outcome.message})"
            named = {
                "computed": f"Running stage '{address}'",
                "restored": f"Stage '{address}' cached",
                "unchanged": f"Stage '{address}' didn't change, skipping",
            }
            if outcome.state in named:
                click.echo(named[outcome.state])
        if outcome.state in told:
            self._console.print(Text(told[outcome.state]), soft_wrap=True)

    def tell(self) -> None:
        """Print how far each running stage is that has run for a while, and when the run may end."""
        with self._lock:
            running = list(self._running.items())
        now = self._clock()
        lines = [
            self._line(address, now, start, progress)
            for address, (start, progress) in running
            if now - start >= LINE_SECONDS
        ]
        for line in lines[:_MOST_LINES]:
            self._console.print(Text(line), soft_wrap=True)
        if len(lines) > _MOST_LINES:
            self._console.print(Text(f"and {len(lines) - _MOST_LINES} more"))

    def _tell_now_and_then(self) -> None:
        while not self._ended.wait(LINE_SECONDS):
            self.tell()

    def _line(self, address: str, now: float, start: float, progress: Path) -> str:
        """Say how far a stage is: its images where it counts them, and how long it runs."""
        line, counts = self._nodes[address].title, _images(progress)
        ran = f"running for {duration_text(now - start)}"
        if counts is None:
            return f"{line}: {ran}"
        left = self._left_of[address].text(*counts, now - start)
        return f"{line}: {counts[0]} of {counts[1]} images, {ran}{', ' if left else ''}{left}"

    def _picture(self) -> Text:
        with self._lock:
            cells = Counter[str]()
            for address, count in self._cells.items():
                cells[self._state(address)] += count
            done, everything, running = len(self._done), len(self._nodes), list(self._running.items())
        now = self._clock()
        left = self._left.text(done, everything, now - self._start)
        head = f"cells: {cells['done']} of {cells.total()} done, {cells['running']} running, {cells['failed']} failed"
        lines = [f"{head} · stages: {done} of {everything}{' · ' if left else ''}{left}"]
        for address, (start, progress) in running[:_MOST_LINES]:
            lines.append(f"  {self._line(address, now, start, progress)}")
        if len(running) > _MOST_LINES:
            lines.append(f"  and {len(running) - _MOST_LINES} more")
        return Text("\n".join(lines))

    def _state(self, address: str) -> str:
        if address in self._done:
            return "failed" if self._done[address].state in ("failed", "skipped") else "done"
        # A cell runs while its images are restored, and while they are measured.
        runs = address in self._running or not self._running.keys().isdisjoint(self._nodes[address].needs)
        return "running" if runs else "waiting"


def _images(progress: Path) -> tuple[int, int] | None:
    """Read how many images of how many a stage has done; None where it has not said."""
    try:
        done, everything = progress.read_text(encoding="ascii").split()
        return int(done), int(everything)
    except (OSError, ValueError):
        return None
