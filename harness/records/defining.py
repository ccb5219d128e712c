"""A task of one's own: what is degraded how, at which levels, and what is measured."""

from __future__ import annotations

from collections.abc import Sequence

from harness.errors import InvalidArgumentError, several
from harness.records.tasks import TASKS, Task


def task(
    name: str,
    *,
    degradation: str,
    title: str = "",
    level_name: str = "",
    levels: Sequence[int] = (0,),
    metrics: Sequence[str] = ("psnr", "ssim-gauss"),
    channels: int = 3,
) -> Task:
    """Define a task of one's own.

    Parameters
    ----------
    name : str
        Its name: lower-case letters, digits, ``-``.
    degradation : str
        How its inputs are made, where a table says nothing else: one of the package or of one's own
        (`harness.degradation`).
    title : str
        Name for readers.
    level_name : str
        What a level is: ``sigma``, ``scale``, …; empty where there is one only, 0.
    levels : sequence of int
        The levels that a table has if none are named.
    metrics : sequence of str
        Protocols that are measured of every restored image.
    channels : {3, 1}
        RGB, or gray.

    Returns
    -------
    Task
        What was defined.

    Raises
    ------
    HarnessError
        The name is no plain one or taken, or a value has no meaning.

    Examples
    --------
    >>> import harness
    >>> harness.task("sr-x16", degradation="bicubic-replicate", level_name="scale", levels=[16]).level_label(16)
    'x16'
    """
    levels = several(levels, f"task '{name}': levels")
    if not levels or not all(type(level) is int and level >= 0 for level in levels):
        raise InvalidArgumentError(f"task '{name}': levels are whole numbers of 0 or more, not {list(levels)}")
    if channels not in (1, 3):
        raise InvalidArgumentError(f"task '{name}': an image has 3 channels or 1, not {channels}")
    metrics = several(metrics, f"task '{name}': metrics")
    if not metrics or not all(isinstance(text, str) for text in (*metrics, degradation, title, level_name)):
        raise InvalidArgumentError(
            f"task '{name}': metrics is a list of protocols, such as ['psnr']; title and degradation are text"
        )
    return TASKS.define(Task(name, title or name, level_name, levels, degradation, tuple(metrics), channels))
