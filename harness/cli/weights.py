"""The command `harness weights`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from harness.cli.assets import (
    Words,
    data_option,
    fetch_options,
    fetch_sets,
    format_option,
    print_listing,
    verify_sets,
)
from harness.cli.printing import echo

_WORDS = Words(
    "weights",
    one="weight set",
    none_named="no weights are named",
    not_whole="weight sets are not whole",
    key="weights",
    amount=lambda manifest: f"{len(manifest['files'])} files",
)


@click.group()
def weights() -> None:
    """List, fetch and verify released weights."""


@weights.command()
@data_option
@format_option
def ls(data: Path, form: str) -> None:
    """List every weight set: files, licence, where it comes from, and what of it is here."""
    from harness.assets.listing import WeightsListing

    print_listing(WeightsListing(), data, form)


@weights.command()
@click.argument("name")
@data_option
def show(name: str, data: Path) -> None:
    """Describe a weight set: licence, home page, files, checksums."""
    from harness.assets.listing import WeightsListing
    from harness.assets.weights.registry import weight_set

    echo(WeightsListing().show(weight_set(name), data), nl=False)


@weights.command()
@fetch_options("weight set")
def fetch(**options: Any) -> None:
    """Get weights: from a mirror (HARNESS_MIRROR), from public sources, or from your own folder.

    Weights that cannot be had are no error: the manifest says why, and tables say `not run`.
    """
    fetch_sets(_WORDS, _fetch, **options)


def _fetch(*arguments: Any, **options: Any) -> Any:
    from harness.assets.weights.fetching import fetch as fetch_weights

    return fetch_weights(*arguments, **options)


@weights.command()
@click.argument("names", nargs=-1)
@data_option
def verify(names: tuple[str, ...], data: Path) -> None:
    """Hash every file of the named (or of all fetched) weight sets again; exit 1 where one is damaged."""
    from harness.assets.manifest import WeightsManifest
    from harness.assets.weights.registry import weight_set

    verify_sets(_WORDS, weight_set, WeightsManifest, names, data)
