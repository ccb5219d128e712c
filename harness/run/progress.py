"""Telling how a run goes: a live view on a terminal, one line a stage elsewhere."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import click
from rich.console import Console
from rich.live import Live
from rich.text import Text

from harness.run.graph import Node
from harness.run.worker import StageOutcome

_MOST_LINES = 12


class RunView(ExitStack):
    """The view of a run, between entering and leaving it.

    Parameters
    ----------
    nodes : mapping
        Stages that may have to run, by address.
    cells : mapping
        Number of cells that are done when a stage is.
    verbose : bool
        Name every stage, also those that had not changed.
    on_terminal : bool
        Draw a live view on standard error.
    """

    def __init__(
        self, nodes: Mapping[str, Node], cells: Mapping[str, int], *, verbose: bool, on_terminal: bool
    ) -> None:
        super().__init__()
        self._nodes = nodes
        self._cells = cells
        self._verbose = verbose
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, Path]] = {}
        self._done: dict[str, StageOutcome] = {}
        self._start = time.monotonic()
        self._console = Console(stderr=True)
        if on_terminal:
            self.enter_context(
                Live(get_renderable=self._picture, console=self._console, refresh_per_second=4, transient=True)
            )

    def started(self, address: str, progress: Path) -> None:
        """See `harness.run.execution.Watcher`."""
        with self._lock:
            if address not in self._done:
                self._running[address] = (time.monotonic(), progress)

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

    def _picture(self) -> Text:
        with self._lock:
            cells = Counter[str]()
            for address, count in self._cells.items():
                cells[self._state(address)] += count
            done, everything, running = len(self._done), len(self._nodes), list(self._running.items())
        now = time.monotonic()
        left = timedelta(seconds=int((now - self._start) / done * (everything - done))) if done else "…"
        head = f"cells: {cells['done']} of {cells.total()} done, {cells['running']} running, {cells['failed']} failed"
        lines = [f"{head} · stages: {done} of {everything} · about {left} left"]
        for address, (start, progress) in running[:_MOST_LINES]:
            lines.append(f"  {self._nodes[address].title}{_images(progress)}  {now - start:.0f} s")
        if len(running) > _MOST_LINES:
            lines.append(f"  and {len(running) - _MOST_LINES} more")
        return Text("\n".join(lines))

    def _state(self, address: str) -> str:
        if address in self._done:
            return "failed" if self._done[address].state in ("failed", "skipped") else "done"
        # A cell runs while its images are restored, and while they are measured.
        runs = address in self._running or not self._running.keys().isdisjoint(self._nodes[address].needs)
        return "running" if runs else "waiting"


def _images(progress: Path) -> str:
    try:
        done, everything = progress.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return ""
    return f"  {done}/{everything} images"
