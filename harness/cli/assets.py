"""Commands `harness datasets` and `harness weights`: listing, showing, fetching and verifying."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from harness.assets.places import AssetPaths, Kind
from harness.assets.verified import still_complete
from harness.cli.options import argument, complete_datasets, complete_weights, examples, format_option
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


@click.group(epilog=examples("harness datasets fetch set5", "harness datasets ls"))
def datasets() -> None:
    """List, fetch and verify image datasets."""


add_commands(
    datasets,
    "datasets",
    ls="List every dataset: images, size, licence, and where it is or would come from.",
    show="Describe a dataset: licence, home page, the folder layout of your own copy.",
    fetch="""Get datasets: from a mirror (HARNESS_MIRROR), from public sources, or from your own folder.

    A dataset that cannot be obtained is no error: its manifest says why, and tables say `not run`. Training sets of
    gigabytes are downloaded with --archives only.
    """,
)


@datasets.command("verify", epilog=examples("harness datasets verify urban100 --from ~/Urban100"))
@argument("names", "[NAME…]", complete_datasets, nargs=-1)
@click.option(
    "--from", "folder", type=click.Path(path_type=Path), help="Look at this copy of yours; nothing is written."
)
@data_option
@format_option("text", "json")
def verify_datasets(names: tuple[str, ...], folder: Path | None, data: Path, form: str) -> None:
    """Hash every file of the named (or of all fetched) datasets again; exit 1 where one is damaged.

    With --from FOLDER: tell whether the folder holds the named dataset, what is missing and what was found instead.
    """
    if folder is not None:
        _verify_folder(names, folder, form)
    else:
        verify_fetched("datasets", names, data, form)


def _verify_folder(names: tuple[str, ...], folder: Path, form: str) -> None:
    from harness.assets.datasets.verification import verify_folder

    if len(names) != 1:
        raise HarnessError("--from names the folder of one dataset; name that dataset")
    check = verify_folder(names[0], folder)
    if form == "json":
        import msgspec

        echo_json({**msgspec.to_builtins(check), "status": check.status})
    else:
        echo(f"{check.dataset}: {check.status}, {plural(check.files, 'file')} in {folder}")
        for problem in check.problems[:20]:
            echo(f"  {problem}")
        if check.problems[20:]:
            echo(f"  and {len(check.problems) - 20} more")
    if check.problems:
        raise CheckFailedError(f"{folder} does not hold '{check.dataset}' whole; see above")
    if form == "text":
        echo(f"next: harness datasets fetch {check.dataset} --from {shlex.quote(str(folder))}")


@datasets.command(
    epilog=examples(
        "harness datasets add my-phone --from ~/photos \\", "    --input 'noisy/{id}_N.*' --target 'clean/{id}.*'"
    )
)
@click.argument("name")
@click.option("--from", "folder", type=click.Path(path_type=Path), required=True, help="Folder with your images.")
@click.option("--input", "input_pattern", default="", help="Where degraded inputs lie, such as 'noisy/{id}.*'.")
@click.option("--target", "target_pattern", default="", help="Where the ground truth lies, such as 'clean/{id}.*'.")
@click.option("--title", default="", help="Name for readers.")
@click.option("--licence", default="not stated", show_default=True, help="Licence in a few words.")
@data_option
def add(name: str, folder: Path, input_pattern: str, target_pattern: str, title: str, licence: str, data: Path) -> None:
    """Register a set of your own as NAME and fetch it: pairs of input and ground truth, or images to degrade.

    Patterns are relative paths: {id} is an image's name, other placeholders vary, '.*' is any image suffix. Without
    patterns the usual names are tried (input and target, blur and sharp, rain-1 and norain-1, ...).
    """
    from harness.assets.datasets.adding import add_dataset
    from harness.assets.datasets.fetching import fetch as fetch_dataset
    from harness.assets.datasets.folders import printable

    record, path, left = add_dataset(name, folder, input_pattern, target_pattern, title, licence)
    try:
        manifest = fetch_dataset(record.name, data, folder=folder)
    except HarnessError:
        path.unlink(missing_ok=True)  # a record of what cannot be read would only be in the way of the next try
        raise
    echo(f"written: {path}")
    if record.kind == "pairs" and not (input_pattern or target_pattern):
        echo(f"taken: {record.layouts[0].input} and {record.layouts[0].target}")
    if left:
        more = f" and {len(left) - 1} more" if left[1:] else ""
        echo(f"left out, without a partner: {printable(left[0])}{more}")
    echo(f"{record.name}: {manifest.status}, {manifest.images} {'pairs' if record.kind == 'pairs' else 'images'}")
    if not manifest.complete:
        raise NotAvailableError(f"dataset '{record.name}': {manifest.reason}")
    if record.kind != "inputs":  # nothing is measured without a ground truth
        tasks = "denoise-real, deblur or derain" if record.kind == "pairs" else "denoise-rgb, sr, jpeg, ..."
        echo(f"next: harness new table NAME --task TASK --dataset {record.name} --method METHOD  (TASK: {tasks})")


@click.group(epilog=examples("harness weights fetch dncnn", "harness weights ls"))
def weights() -> None:
    """List, fetch and verify released weights."""


add_commands(
    weights,
    "weights",
    ls="List every weight set: files, licence, where it comes from, and what of it is here.",
    show="Describe a weight set: licence, home page, files, checksums.",
    fetch="""Get weights: from a mirror (HARNESS_MIRROR), from public sources, or from your own folder.

    Weights that cannot be obtained are no error: the manifest says why, and tables say `not run`.
    """,
)


@weights.command("verify", epilog=examples("harness weights verify dncnn"))
@argument("names", "[NAME…]", complete_weights, nargs=-1)
@data_option
@format_option("text", "json")
def verify_weights(names: tuple[str, ...], data: Path, form: str) -> None:
    """Hash every file of the named (or of all fetched) weight sets again; exit 1 where one is damaged."""
    verify_fetched("weights", names, data, form)
