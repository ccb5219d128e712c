"""What `harness datasets` and `harness weights` share: listing, showing, fetching and verifying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from harness.assets.places import AssetPaths, Kind
from harness.assets.verified import still_complete
from harness.cli.completion import complete_datasets, complete_weights
from harness.cli.options import argument, examples, format_option
from harness.cli.printing import echo, echo_json, echo_table, echo_text
from harness.errors import CheckFailedError, HarnessError, NotAvailableError, plural

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
    complete, example = (complete_datasets, "set5") if kind == "datasets" else (complete_weights, "dncnn")
    path = click.Path(path_type=Path)
    # Weights are small, and have no archives.
    archives_option = click.option(
        "--archives", is_flag=True, help="Also download the archives of sets that are too large to be fetched unasked."
    )
    if kind == "weights":
        archives_option = lambda command: command  # noqa: E731

    @group.command("ls", help=ls, epilog=examples(f"harness {kind} ls --format json"))
    @data_option
    @format_option("text", "json", "md")
    def list_sets(data: Path, form: str) -> None:
        described = _described(kind)
        if form == "json":
            echo_json(described.rows(data))
        elif form == "md":
            echo(described.markdown(), nl=False)
        else:
            echo_table([described.cells(row) for row in described.rows(data)], described.head)

    @group.command("show", help=show, epilog=examples(f"harness {kind} show {example}"))
    @argument("name", "NAME", complete)
    @data_option
    @format_option("text", "json")
    def show_set(name: str, data: Path, form: str) -> None:
        described = _described(kind)
        record = described.find(name)
        if form == "json":
            import msgspec

            manifest = described.manifest.find(AssetPaths(data, kind, record.name))
            fetched = {"status": manifest.status, "reason": manifest.reason} if manifest else None
            echo_json({**msgspec.to_builtins(record), **described.row(record, data), "fetched": fetched})
        else:
            echo_text(described.show(record, data))

    @group.command(
        "fetch", help=fetch, epilog=examples(f"harness {kind} fetch {example}", f"harness {kind} fetch --all --plan")
    )
    @argument("names", "[NAME…]", complete, nargs=-1)
    @click.option("--all", "everything", is_flag=True, help=f"Fetch every {one} that can be obtained.")
    @click.option("--from", "folder", type=path, help="Folder with your own copy; remembered for later runs.")
    @data_option
    @click.option("--plan", is_flag=True, help="Show sizes, sources and licences, and fetch nothing.")
    @click.option("--strict", is_flag=True, help=f"Fail (exit 2) where a {one} cannot be obtained.")
    @click.option("--retry", is_flag=True, help="Ask hosts again that could not be reached a short while ago.")
    @click.option("--jobs", "-j", type=click.IntRange(1, 64), default=8, show_default=True, help="Downloads at a time.")
    @archives_option
    @format_option("text", "json", help="Form of what --plan prints.")
    def fetch_sets(names: tuple[str, ...], everything: bool, **options: Any) -> None:
        if everything:
            from harness.assets.registry import asset_names

            _described(kind)
            names = (*names, *(name for name in asset_names(kind) if name not in names))
        _fetch(kind, names, **options)


def _described(kind: Kind) -> AssetKind:
    from harness.assets.kinds import KINDS  # imports numpy and more

    if kind == "datasets":
        from harness.tables.workspace import Workspace

        # Plugins may define some.
        Workspace.find(needed=False).define()
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
    form: str,
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

        planned = planning.plan(kind, names, data)
        if form == "json":
            echo_json(planned)
        else:
            echo_text(planning.plan_text(planned, archives=archives))
        return
    if form != "text":
        raise HarnessError("--format goes with --plan; what a fetch does it says line by line")
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
            echo_text(f"{canonical}: {plain['status']}: {plain['reason']}")
    if missing and strict:
        raise NotAvailableError(f"{len(missing)} of {len(names)} {words.not_whole}: {', '.join(missing)}")


def verify_fetched(kind: Kind, names: tuple[str, ...], data: Path, form: str) -> None:
    """Hash every file of the named (or of all fetched) sets again; CheckFailedError where one is damaged."""
    from harness.assets.registry import asset_names

    described = _described(kind)
    damaged: list[str] = []
    records: list[dict[str, Any]] = []
    whole = kind == "datasets"  # of weights some files may be here and others not
    for name in names or asset_names(kind):
        paths = AssetPaths(data, kind, described.find(name).name)
        manifest = described.manifest.find(paths)
        lacking = manifest is None or (whole and not manifest.complete)
        if lacking and not names:
            continue
        here: tuple[str, ...] = ()
        if manifest is None or lacking:
            why = manifest.reason if manifest else f"not fetched; run `harness {kind} fetch {paths.name}`"
            record: dict[str, Any] = {
                "name": paths.name,
                "status": "missing",
                "reason": why,
                "files": 0,
                "problems": [],
            }
            line = f"{paths.name}: {'missing: ' if whole else ''}{why}"
        else:
            # The files of a derived dataset lie in the folder of its base.
            problems = manifest.problems(paths._replace(name=getattr(manifest, "base", "") or paths.name))
            status, count = "damaged" if problems else manifest.status, len(manifest.files) - len(problems)
            record = {"name": paths.name, "status": status, "reason": "", "files": count, "problems": list(problems)}
            line = f"{paths.name}: {status}" + ("" if problems and whole else f", {plural(count, 'file')}")
            here = tuple(file.name for file in manifest.files)
            if problems:
                damaged.append(paths.name)
        lines = [line, *(f"  {problem}" for problem in record["problems"])]
        if names and not whole:
            record["missing"] = _missing_files(paths.name, here)
            lines += [f"  {file}: not here; {what}" for file, what in record["missing"].items()]
        records.append(record)
        if form == "text":
            echo_text("\n".join(lines))
    if form == "json":
        echo_json(records)
    elif not records:
        echo(f"{_WORDS[kind].none} fetched into {data}")
    if damaged:
        raise CheckFailedError(
            f"{', '.join(damaged)}: damaged; run `harness {kind} fetch {' '.join(damaged)}` to repair"
        )


def _missing_files(name: str, here: tuple[str, ...]) -> dict[str, str]:
    """Say of each file of a weight set that is not here what it is, so that a user's own copy can be told."""
    from harness.assets.weights.importers import TITLES
    from harness.assets.weights.registry import weight_set

    files = weight_set(name).files
    return {file.name: f"{TITLES[file.format]}, for {file.makes}" for file in files if file.name not in here}
