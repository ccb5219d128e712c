"""Registering methods that are a network filled with its authors' file, and nothing besides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.methods import method


def released_method(
    name: str,
    network: Callable[[str, int], Any],
    *,
    tasks: Sequence[str],
    weights: str,
    file: str | Callable[[str, int], str],
    translate: Callable[[dict[str, Any], str], Any] | None = None,
    **about: Any,
) -> None:
    """Register a method that applies `network` with a released file, which must fit it strictly.

    Parameters
    ----------
    name : str
        Name.
    network : callable
        ``network(task, level)`` makes the empty network; its module is the method's.
    tasks : sequence of str
        Tasks it does.
    weights : str
        Name in the weights registry.
    file : str or callable
        The file of that set, or ``file(task, level)`` which names it.
    translate : callable, optional
        Makes the network's state of what the file holds: see `harness.assets.weights.loading.released_network`.
    **about
        Everything else that `harness.methods.method` takes.
    """

    def chosen(task: str, level: int) -> str:
        return file if isinstance(file, str) else file(task, level)

    def build(task: str, level: int) -> Any:
        from harness.assets.weights.loading import released_network

        return released_network(weights, chosen(task, level), lambda: network(task, level), translate=translate)

    build.__module__ = network.__module__
    register = method(
        name,
        tasks=tasks,
        origin="released",
        weights=[weights],
        file=lambda task, level: f"{weights}/{chosen(task, level)}",
        network=network,
        **about,
    )
    register(build)
