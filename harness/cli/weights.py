"""The command `harness weights`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.assets.weights import places
from harness.assets.weights.verified import still_complete
from harness.cli.dataset_options import data_option, fetch_options, format_option
from harness.cli.printing import echo
from harness.errors import CheckFailedError, HarnessError, NotAvailableError

if TYPE_CHECKING:
    from harness.assets.datasets.hosts import Hosts


@click.group()
def weights() -> None:
    """List, fetch and verify released weights."""


@weights.command()
@data_option
@format_option
def ls(data: Path, form: str) -> None:
    """List every weight set: files, licence, where it comes from, and what of it is here."""
    from harness.assets.weights import listing

    if form == "json":
        echo(json.dumps(listing.rows(data), indent=1, ensure_ascii=False))
    else:
        echo(listing.markdown() if form == "md" else listing.text(data), nl=False)


@weights.command()
@click.argument("name")
@data_option
def show(name: str, data: Path) -> None:
    """Describe a weight set: licence, home page, files, checksums."""
    from harness.assets.weights import listing
    from harness.assets.weights.registry import weight_set

    echo(listing.show(weight_set(name), data), nl=False)


@weights.command()
@fetch_options("weight set")
def fetch(
    names: tuple[str, ...], everything: bool, folder: Path | None, data: Path, strict: bool, retry: bool, jobs: int
) -> None:
    """Get weights: from a mirror (HARNESS_MIRROR), from public sources, or from your own folder.

    Weights that cannot be had are no error: the manifest says why, and tables say `not run`.
    """
    if everything:
        from harness.assets.weights.registry import weight_names

        names = (*names, *(name for name in weight_names() if name not in names))
    if not names:
        raise HarnessError("no weights are named; name some, or give --all (`harness weights ls` lists them)")
    if folder is not None and len(names) > 1:
        raise HarnessError("--from names the folder of one weight set; fetch the others without it")
    incomplete: list[str] = []
    hosts: Hosts | None = None
    for name in names:
        # Before every table: this path imports neither msgspec nor an HTTP library.
        plain = still_complete(name, data) if folder is None else None
        if plain is not None:
            echo(f"{plain['weights']}: complete, {len(plain['files'])} files")
            continue
        from harness.assets.datasets.hosts import Hosts
        from harness.assets.weights.fetching import fetch as fetch_weights

        hosts = hosts or Hosts(data, retry)
        manifest = fetch_weights(name, data, folder=folder, jobs=jobs, hosts=hosts)
        if manifest.complete:
            echo(f"{name}: complete, {len(manifest.files)} files")
        else:
            incomplete.append(name)
            echo(f"{name}: {manifest.status}: {manifest.reason}")
    if incomplete and strict:
        raise NotAvailableError(f"{len(incomplete)} of {len(names)} weight sets are not whole: {', '.join(incomplete)}")


@weights.command()
@click.argument("names", nargs=-1)
@data_option
def verify(names: tuple[str, ...], data: Path) -> None:
    """Hash every file of the named (or of all fetched) weight sets again; exit 1 where one is damaged."""
    from harness.assets.datasets.verified import file_sha256
    from harness.assets.weights.manifest import read_manifest
    from harness.assets.weights.registry import weight_names, weight_set

    damaged: list[str] = []
    looked_at = 0
    for name in names or weight_names():
        weight_set(name)
        path = places.manifest_path(data, name)
        if not path.is_file():
            if names:
                echo(f"{name}: not fetched; run `harness weights fetch {name}`")
            continue
        looked_at += 1
        manifest = read_manifest(path)
        problems = []
        for file in manifest.files:
            weights_file = places.weights_folder(data, name) / file.name
            try:
                if file_sha256(weights_file) != file.sha256:
                    problems.append(f"{weights_file}: has a wrong checksum")
            except OSError as error:
                problems.append(f"{weights_file}: cannot be read ({error.strerror or error})")
        echo(f"{name}: {'damaged' if problems else manifest.status}, {len(manifest.files) - len(problems)} files")
        for problem in problems:
            echo(f"  {problem}")
        if problems:
            damaged.append(name)
            places.state_path(data, name).unlink(missing_ok=True)  # the next fetch looks properly
    if not looked_at and not names:
        echo(f"no weights are fetched into {data}")
    if damaged:
        raise CheckFailedError(
            f"{', '.join(damaged)}: damaged; run `harness weights fetch {' '.join(damaged)}` to repair"
        )
