"""The command `harness datasets`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from harness.datasets.verified import still_complete
from harness.errors import CheckFailedError, HarnessError, NotAvailableError

if TYPE_CHECKING:
    from harness.datasets.hosts import Hosts

_DATA = click.option(
    "--data",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data"),
    show_default=True,
    help="Folder of fetched files.",
)


@click.group()
def datasets() -> None:
    """List, fetch and verify image datasets."""


@datasets.command()
@_DATA
@click.option("--format", "form", type=click.Choice(["text", "json", "md"]), default="text", show_default=True)
def ls(data: Path, form: str) -> None:
    """List every dataset: images, size, licence, and where it is or would come from."""
    from harness.datasets import listing

    if form == "json":
        click.echo(json.dumps(listing.rows(data), indent=1, ensure_ascii=False))
    else:
        click.echo(listing.markdown() if form == "md" else listing.text(data), nl=False)


@datasets.command()
@click.argument("name")
@_DATA
def show(name: str, data: Path) -> None:
    """Describe a dataset: licence, home page, the folder layout of your own copy."""
    from harness.datasets import listing
    from harness.datasets.registry import dataset

    click.echo(listing.show(dataset(name), data), nl=False)


@datasets.command()
@click.argument("names", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="Fetch every dataset that can be had.")
@click.option(
    "--from",
    "folder",
    type=click.Path(path_type=Path),
    help="Folder with your own copy; remembered for later runs.",
)
@_DATA
@click.option("--strict", is_flag=True, help="Fail (exit 2) where a dataset cannot be had.")
@click.option("--retry", is_flag=True, help="Ask hosts again that could not be reached a short while ago.")
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Downloads at a time.")
def fetch(
    names: tuple[str, ...], everything: bool, folder: Path | None, data: Path, strict: bool, retry: bool, jobs: int
) -> None:
    """Get datasets: from a mirror (HARNESS_MIRROR), from public sources, or from your own folder.

    A dataset that cannot be had is no error: its manifest says why, and tables say `not run`.
    """
    if everything:
        from harness.datasets.registry import dataset_names

        names = (*names, *(name for name in dataset_names() if name not in names))
    if not names:
        raise HarnessError("no dataset is named; name some, or give --all (`harness datasets ls` lists them)")
    if folder is not None and len(names) > 1:
        raise HarnessError("--from names the folder of one dataset; fetch the others without it")
    missing: list[str] = []
    hosts: Hosts | None = None
    for name in names:
        # Before every table: this path imports neither msgspec nor an HTTP library.
        plain = still_complete(name, data) if folder is None else None
        if plain is not None:
            click.echo(f"{plain['dataset']}: complete, {plain['images']} images")
            continue
        from harness.datasets.fetching import fetch as fetch_dataset
        from harness.datasets.hosts import Hosts

        hosts = hosts or Hosts(data, retry)
        manifest = fetch_dataset(name, data, folder=folder, jobs=jobs, hosts=hosts)
        if manifest.complete:
            click.echo(f"{manifest.dataset}: complete, {manifest.images} images")
        else:
            missing.append(manifest.dataset)
            click.echo(f"{manifest.dataset}: missing: {manifest.reason}")
    if missing and strict:
        raise NotAvailableError(f"{len(missing)} of {len(names)} datasets cannot be had here: {', '.join(missing)}")


@datasets.command()
@click.argument("names", nargs=-1)
@_DATA
def verify(names: tuple[str, ...], data: Path) -> None:
    """Hash every file of the named (or of all fetched) datasets again; exit 1 where one is damaged."""
    from harness.datasets.registry import dataset_names
    from harness.datasets.verification import verify as verify_dataset

    named = bool(names)
    looked_at = 0
    damaged: list[str] = []
    for name in names or dataset_names():
        found = verify_dataset(name, data)
        if found.status == "missing" and not named:
            continue
        looked_at += 1
        what = f"complete, {found.files} files" if found.status == "complete" else found.status
        if found.status == "missing":
            what += f": {found.problems[0]}"
        click.echo(f"{found.dataset}: {what}")
        if found.status == "damaged":
            damaged.append(found.dataset)
            for problem in found.problems:
                click.echo(f"  {problem}")
    if not looked_at:
        click.echo(f"no dataset is fetched into {data}")
    if damaged:
        raise CheckFailedError(
            f"{', '.join(damaged)}: damaged; run `harness datasets fetch {' '.join(damaged)}` to repair"
        )
