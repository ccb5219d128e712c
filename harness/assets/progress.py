"""A progress bar on standard error, where that is a terminal, and numbers of bytes in words."""

from __future__ import annotations

import sys
from typing import Any, Self


def bytes_text(size: int) -> str:
    """Write a number of bytes for readers, such as ``3.5 GB``."""
    return f"{size / 1e6:.1f} MB" if size < 1e9 else f"{size / 1e9:.1f} GB"


class ProgressBar:
    """A bar while the block runs; on no terminal it shows nothing. Threads may share it.

    Parameters
    ----------
    title : str
        What is going on.
    total : int, optional
        How much is to come; with 0 no bar is shown. None where `update` says it.
    in_bytes : bool
        Whether that is bytes.
    noted : bool
        Whether `update` gives a note, which stands in the place of the time that is left.
    """

    def __init__(self, title: str, total: int | None = None, *, in_bytes: bool = False, noted: bool = False) -> None:
        self._title, self._total = title, total
        self._in_bytes, self._noted = in_bytes, noted
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
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
                progress.TextColumn("{task.fields[note]}") if self._noted else progress.TimeRemainingColumn(),
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
        if self._bar is not None:
            self._bar.advance(self._task, amount)

    def update(self, done: int, total: int, note: str = "") -> None:
        """Say how much of how much is done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=total, note=note)
