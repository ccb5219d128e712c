"""Telling how a run goes: a live view on a terminal, one line a stage elsewhere."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from harness.run.graph import Node
from harness.run.worker import StageOutcome

_MOST_LINES = 12


class RunView:
    """The view of a run.

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
        self._nodes = nodes
        self._cells = cells
        self._verbose = verbose
        self._lock = threading.Lock()
        self._running: dict[str, tuple[float, Path]] = {}
        self._done: dict[str, StageOutcome] = {}
        self._start = time.monotonic()
        self._live: Any = _Live(self._picture) if on_terminal else None

    def __enter__(self) -> RunView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    @property
    def outcomes(self) -> dict[str, StageOutcome]:
        """Outcome by address so far."""
        with self._lock:
            return dict(self._done)

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
            count = len(self._done)
        title = self._nodes[address].title
        if self._verbose:
            if outcome.state in ("computed", "restored"):
                click.echo(f"Running stage '{address}'" if outcome.state == "computed" else f"Stage '{address}' cached")
            elif outcome.state == "unchanged":
                click.echo(f"Stage '{address}' didn't change, skipping")
        if outcome.state == "failed":
            self._say(f"failed: {title}: {outcome.message}")
        elif outcome.state == "skipped":
            if self._verbose:
                self._say(f"skipped: {title} ({outcome.message})")
        elif outcome.state == "computed":
            self._say(f"[{count}/{len(self._nodes)}] {outcome.said or title} ({outcome.seconds:.1f} s)")
        elif outcome.state == "restored":
            self._say(f"[{count}/{len(self._nodes)}] {title}: taken from an earlier run")

    def _say(self, text: str) -> None:
        if self._live is not None:
            self._live.say(text)
        else:
            click.echo(text, err=True)

    def counts(self) -> tuple[int, int, int, int]:
        """Cells: done, running, failed (or skipped), all."""
        with self._lock:
            done = [a for a, outcome in self._done.items() if outcome.state not in ("failed", "skipped")]
            lost = [a for a, outcome in self._done.items() if outcome.state in ("failed", "skipped")]
            running = set(self._running)
        cells_of = self._cells.get
        # A cell runs while its images are restored, and while they are measured.
        ahead = sum(
            count
            for address, count in self._cells.items()
            if address not in self._done and (address in running or not running.isdisjoint(self._nodes[address].needs))
        )
        return sum(cells_of(a, 0) for a in done), ahead, sum(cells_of(a, 0) for a in lost), sum(self._cells.values())

    def _eta(self) -> str:
        done, everything = len(self._done), len(self._nodes)
        if not done or done == everything:
            return "…"
        left = (time.monotonic() - self._start) / done * (everything - done)
        minutes, seconds = divmod(int(left), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours}:{minutes:02}:{seconds:02}"

    def _picture(self) -> str:
        """Write the live view as plain lines."""
        done, running, failed, everything = self.counts()
        now = time.monotonic()
        head = f"cells: {done} of {everything} done, {running} running, {failed} failed"
        lines = [f"{head} · stages: {len(self._done)} of {len(self._nodes)} · about {self._eta()} left"]
        with self._lock:
            shown = list(self._running.items())
        for address, (start, progress) in shown[:_MOST_LINES]:
            lines.append(f"  {self._nodes[address].title}{_images(progress)}  {now - start:.0f} s")
        if len(shown) > _MOST_LINES:
            lines.append(f"  and {len(shown) - _MOST_LINES} more")
        return "\n".join(lines)


def _images(progress: Path) -> str:
    try:
        done, everything = progress.read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return ""
    return f"  {done}/{everything} images"


class _Live:
    def __init__(self, picture: Callable[[], str]) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        self._console = Console(stderr=True)
        self._text = Text
        self._live = Live(
            get_renderable=lambda: Text(picture()), console=self._console, refresh_per_second=4, transient=True
        )

    def start(self) -> None:
        self._live.start()

    def stop(self) -> None:
        self._live.stop()

    def say(self, text: str) -> None:
        self._console.print(self._text(text))
