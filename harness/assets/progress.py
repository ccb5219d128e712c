"""A progress bar on standard error, where that is a terminal."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress(title: str, total: int, *, in_bytes: bool = False) -> Iterator[Callable[[int], None]]:
    """Show a bar while the block runs; give a function that advances it.

    Parameters
    ----------
    title : str
        What is going on.
    total : int
        Bytes or files that are to come.
    in_bytes : bool
        Whether they are bytes.
    """
    if not sys.stderr.isatty() or not total:
        yield lambda amount: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    amounts = (DownloadColumn(), TransferSpeedColumn()) if in_bytes else (MofNCompleteColumn(),)
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *amounts,
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    task = bar.add_task(title, total=total)
    lock = threading.Lock()

    def advance(amount: int) -> None:
        with lock:
            bar.advance(task, amount)

    with bar:
        yield advance
