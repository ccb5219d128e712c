"""What `harness datasets` and `harness weights` share: listing, showing, fetching and verifying."""

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
    from harness.assets.kinds import AssetKind

_Command = Callable[..., Any]


class _Words(NamedTuple):
    one: str
    none: str
    not_whole: str
    counted: str


_WORDS: dict[Kind, _Words] = {
    "datasets": _Words("dataset", "no dataset is", "datasets cannot be obtained here", "images"),
    "weights": _Words("weight set", "no weights are", "weight sets are not whole", "files"),
}


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


def add_commands(group: click.Group, kind: Kind, *, ls: str, show: str, fetch: str) -> None:
    """Add the commands that both kinds have in the same form, with the help that is given for each."""
    one = _WORDS[kind].one
    path = click.Path(path_type=Path)
    # Weights are small, and have no archives.
    archives_option = click.option(
        "--archives", is_flag=True, help="Also download the archives of sets that are too large to be fetched unasked."
    )
    if kind == "weights":
        archives_option = lambda command: command  # noqa: E731

    @group.command("ls", help=ls)
    @data_option
    @click.option("--format", "form", type=click.Choice(["text", "json", "md"]), default="text", show_default=True)
    def list_sets(data: Path, form: str) -> None:
        described = _described(kind)
        if form == "json":
            echo(json.dumps(described.rows(data), indent=1, ensure_ascii=False))
        else:
            echo(described.markdown() if form == "md" else described.text(data), nl=False)

    @group.command("show", help=show)
    @click.argument("name")
    @data_option
    def show_set(name: str, data: Path) -> None:
        described = _described(kind)
        echo(described.show(described.find(name), data), nl=False)

    @group.command("fetch", help=fetch)
    @click.argument("names", nargs=-1)
    @click.option("--all", "everything", is_flag=True, help=f"Fetch every {one} that can be obtained.")
    @click.option("--from", "folder", type=path, help="Folder with your own copy; remembered for later runs.")
    @data_option
    @click.option("--plan", is_flag=True, help="Show sizes, sources and licences, and fetch nothing.")
    @click.option("--strict", is_flag=True, help=f"Fail (exit 2) where a {one} cannot be obtained.")
    @click.option("--retry", is_flag=True, help="Ask hosts again that could not be reached a short while ago.")
    @click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Downloads at a time.")
    @archives_option
    def fetch_sets(names: tuple[str, ...], everything: bool, **options: Any) -> None:
        if everything:
            from harness.assets.registry import asset_names

            names = (*names, *(name for name in asset_names(kind) if name not in names))
        _fetch(kind, names, **options)


def _described(kind: Kind) -> AssetKind:
    from harness.assets.kinds import KINDS  # imports numpy and more

    return KINDS[kind]


def _fetch(
    kind: Kind,
    names: tuple[str, ...],
    folder: Path | None,
    data: Path,
    plan: bool,
    strict: bool,
    retry: bool,
    jobs: int,
    archives: bool = False,
) -> None:
    words = _WORDS[kind]
    if not names:
        raise HarnessError(f"{words.none} named; name some, or give --all (`harness {kind} ls` lists them)")
    if folder is not None and len(names) > 1:
        raise HarnessError(f"--from names the folder of one {words.one}; fetch the others without it")
    if folder is not None and archives:
        raise HarnessError("--from names a folder that holds the set unpacked; leave out either it or --archives")
    if plan:
        if folder is not None:
            raise HarnessError("--plan looks at what is registered, not into a folder; leave --from out")
        from harness.assets import planning

        echo(planning.plan_text(planning.plan(kind, names, data)), nl=False)
        return
    missing: list[str] = []
    hosts: Hosts | None = None
    for name in names:
        # Before every table: this path imports neither msgspec nor an HTTP library.
        plain = still_complete(AssetPaths(data, kind, name)) if folder is None else None
        if plain is None:
            import msgspec

            from harness.assets.hosts import Hosts

            hosts = hosts or Hosts(data, retry)
            manifest = _described(kind).fetch(name, data, folder=folder, jobs=jobs, hosts=hosts, archives=archives)
            plain = msgspec.to_builtins(manifest)
        canonical = plain.get("dataset", name)  # a dataset may be called by an alias
        if plain["status"] == "complete":
            echo(f"{canonical}: complete, {plain.get('images', len(plain['files']))} {words.counted}")
        else:
            missing.append(canonical)
            echo(f"{canonical}: {plain['status']}: {plain['reason']}")
    if missing and strict:
        raise NotAvailableError(f"{len(missing)} of {len(names)} {words.not_whole}: {', '.join(missing)}")


def verify_fetched(kind: Kind, names: tuple[str, ...], data: Path) -> None:
    """Hash every file of the named (or of all fetched) sets again; CheckFailedError where one is damaged."""
    from harness.assets.registry import asset_names

    described = _described(kind)
    damaged: list[str] = []
    looked_at = 0
    whole = kind == "datasets"  # of weights some files may be here and others not
    for name in names or asset_names(kind):
        paths = AssetPaths(data, kind, described.find(name).name)
        manifest = described.manifest.read(paths.manifest) if paths.manifest.is_file() else None
        if manifest is None or (whole and not manifest.complete):
            if names:
                why = manifest.reason if manifest else f"not fetched; run `harness {kind} fetch {paths.name}`"
                echo(f"{paths.name}: {'missing: ' if whole else ''}{why}")
                if not whole:
                    _list_missing(paths.name, ())
            continue
        looked_at += 1
        # The files of a derived dataset lie in the folder of its base.
        problems = manifest.problems(paths._replace(name=getattr(manifest, "base", "") or paths.name))
        counted = "" if problems and whole else f", {len(manifest.files) - len(problems)} files"
        echo(f"{paths.name}: {'damaged' if problems else manifest.status}{counted}")
        for problem in problems:
            echo(f"  {problem}")
        if names and not whole:
            _list_missing(paths.name, tuple(file.name for file in manifest.files))
        if problems:
            damaged.append(paths.name)
    if not looked_at and not names:
        echo(f"{_WORDS[kind].none} fetched into {data}")
    if damaged:
        raise CheckFailedError(
            f"{', '.join(damaged)}: damaged; run `harness {kind} fetch {' '.join(damaged)}` to repair"
        )


def _list_missing(name: str, here: tuple[str, ...]) -> None:
    """Say of each file of a weight set that is not here what it is, so that a user's own copy can be told."""
    from harness.assets.weights.importers import TITLES
    from harness.assets.weights.registry import weight_set

    for file in weight_set(name).files:
        if file.name not in here:
            echo(f"  {file.name}: not here; {TITLES[file.format]}, for {file.makes}")
