"""Registering methods whose weights are trained here: the same network as a paper's, under its own name.

A trained method is a row beside the released one and the published number, and says how long it was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from harness.methods import Method, method
from harness.records.training_runs import seeded_name

# What `Method.weights` holds for a trained method: the restore stage then notes the SHA-256 of what was loaded.
RUNS = ("training runs",)


def trained_method(
    name: str,
    network: Callable[[str, int], Any],
    recipes: Mapping[str, str],
    *,
    title: str,
    paper: str,
    url: str = "",
    policy: str = "whole",
    chop: Mapping[str, str] | None = None,
) -> None:
    """Register a method that applies `network` with the weights of its training run.

    Parameters
    ----------
    name : str
        Name; ``<released>-trained`` where the released weights have a method too.
    network : callable
        ``network(task, level)`` makes the empty network; its module is the method's.
    recipes : mapping
        Recipe by task; these are the method's tasks.
    title, paper, url, policy, chop
        As of `harness.methods.method`.
    """

    def build(task: str, level: int) -> Any:
        from harness.assets.weights.trained import trained_network

        return trained_network(name, task, level, lambda: network(task, level))

    build.__module__ = network.__module__
    register = method(
        name,
        tasks=list(recipes),
        title=title,
        paper=paper,
        url=url,
        origin="trained",
        weights=RUNS,
        network=network,
        policy=policy,
        chop=chop,
        recipes=recipes,
    )
    register(build)


def of_seed(found: Method, seed: int) -> Method:
    """Make the method that applies the same network with the weights of another seed.

    Parameters
    ----------
    found : Method
        One whose weights are trained here.
    seed : int
        Of the initial weights and of every sample.
    """
    name, network = seeded_name(found.name, seed), found.network
    assert network is not None

    def build(task: str, level: int) -> Any:
        from harness.assets.weights.trained import trained_network

        return trained_network(name, task, level, lambda: network(task, level))

    build.__module__ = found.build.__module__
    return replace(found, name=name, build=build, title=f"{found.title}, seed {seed}", trained=frozenset())
