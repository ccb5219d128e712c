"""What `harness datasets` and `harness weights` share: their options, and listing, fetching and verifying."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from harness.assets.places import AssetPaths, Kind
from harness.assets.verified import still_complete
from harness.cli.printing import echo
from harness.errors import CheckFailedError, HarnessError, NotAvailableError

if TYPE_CHECKING:
    from harness.assets.hosts import Hosts
    from harness.assets.listing import Listing
    from harness.assets.manifest import Manifest

_Command = Callable[..., Any]


class Words(NamedTuple):
    """How one kind of set is spoken of.

    Attributes
    ----------
    kind : str
        ``datasets`` or ``weights``.
    one : str
        One set.
    none_named : str
        Begins the error where no set is named.
    not_whole : str
        Ends the error where some sets cannot be had.
    key : str
        Key of a set's name in its manifest.
    amount : callable
        Says how much a manifest (as plain values) names.
    """

    kind: Kind
    one: str
    none_named: str
    not_whole: str
    key: str
    amount: Callable[[dict[str, Any]], str]


def data_option(command: _Command) -> _Command:
    """Add ``--data``."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("data"),
        envvar="HARNESS_DATA",
        show_default=True,
        help="Folder of fetched files.",
    )(command)


def format_option(command: _Command) -> _Command:
    """Add ``--format``, passed on as ``form``."""
    choice = click.Choice(["text", "json", "md"])
    return click.option("--format", "form", type=choice, default="text", show_default=True)(command)


def fetch_options(what: str) -> Callable[[_Command], _Command]:
    """Add what fetching takes: names, ``--all``, ``--from``, ``--data``, ``--strict``, ``--retry``, ``--jobs``."""
    folder = click.Path(path_type=Path)
    options = (
        click.argument("names", nargs=-1),
        click.option("--all", "everything", is_flag=True, help=f"Fetch every {what} that can be had."),
        click.option("--from", "folder", type=folder, help="Folder with your own copy; remembered for later runs."),
        data_option,
        click.option("--strict", is_flag=True, help=f"Fail (exit 2) where a {what} cannot be had."),
        click.option("--retry", is_flag=True, help="Ask hosts again that could not be reached a short while ago."),
        click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Downloads at a time."),
    )

    def add(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def print_listing(listing: Listing[Any], data: Path, form: str) -> None:
    """Print a registry in the asked form."""
    if form == "json":
        echo(json.dumps(listing.rows(data), indent=1, ensure_ascii=False))
    else:
        echo(listing.markdown() if form == "md" else listing.text(data), nl=False)


def fetch_sets(
    words: Words,
    fetch: Callable[..., Manifest],
    names: tuple[str, ...],
    everything: bool,
    folder: Path | None,
    data: Path,
    strict: bool,
    retry: bool,
    jobs: int,
) -> None:
    """Fetch the named sets, or all, with `fetch` where they are not complete already."""
    if everything:
        from harness.assets.registry import asset_names

        names = (*names, *(name for name in asset_names(words.kind) if name not in names))
    if not names:
        listed = f"`harness {words.kind} ls` lists them"
        raise HarnessError(f"{words.none_named}; name some, or give --all ({listed})")
    if folder is not None and len(names) > 1:
        raise HarnessError(f"--from names the folder of one {words.one}; fetch the others without it")
    missing: list[str] = []
    hosts: Hosts | None = None
    for name in names:
        # Before every table: this path imports neither msgspec nor an HTTP library.
        plain = still_complete(AssetPaths(data, words.kind, name)) if folder is None else None
        if plain is None:
            import msgspec

            from harness.assets.hosts import Hosts

            hosts = hosts or Hosts(data, retry)
            plain = msgspec.to_builtins(fetch(name, data, folder=folder, jobs=jobs, hosts=hosts))
        if plain["status"] == "complete":
            echo(f"{plain[words.key]}: complete, {words.amount(plain)}")
        else:
            missing.append(plain[words.key])
            echo(f"{plain[words.key]}: {plain['status']}: {plain['reason']}")
    if missing and strict:
        raise NotAvailableError(f"{len(missing)} of {len(names)} {words.not_whole}: {', '.join(missing)}")


def verify_sets(
    words: Words, find: Callable[[str], Any], manifest_type: type[Manifest], names: tuple[str, ...], data: Path
) -> None:
    """Hash every file of the named (or of all fetched) sets again; `find` looks a record up by its name."""
    from harness.assets.registry import asset_names

    damaged: list[str] = []
    looked_at = 0
    for name in names or asset_names(words.kind):
        paths = AssetPaths(data, words.kind, find(name).name)
        manifest = manifest_type.read(paths.manifest) if paths.manifest.is_file() else None
        if manifest is None or (words.kind == "datasets" and not manifest.complete):
            if names:
                why = manifest.reason if manifest else f"not fetched; run `harness {words.kind} fetch {paths.name}`"
                echo(f"{paths.name}: {'missing: ' if words.kind == 'datasets' else ''}{why}")
            continue
        looked_at += 1
        # The files of a derived dataset lie in the folder of its base.
        problems = manifest.problems(paths._replace(name=getattr(manifest, "base", "") or paths.name))
        status = "damaged" if problems else manifest.status
        counted = "" if problems and words.kind == "datasets" else f", {len(manifest.files) - len(problems)} files"
        echo(f"{paths.name}: {status}{counted}")
        for problem in problems:
            echo(f"  {problem}")
        if problems:
            damaged.append(paths.name)
    if not looked_at and not names:
        nothing = "no dataset is" if words.kind == "datasets" else "no weights are"
        echo(f"{nothing} fetched into {data}")
    if damaged:
        raise CheckFailedError(
            f"{', '.join(damaged)}: damaged; run `harness {words.kind} fetch {' '.join(damaged)}` to repair"
        )
