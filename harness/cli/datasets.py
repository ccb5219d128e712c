"""The command `harness datasets`."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from harness.cli.assets import add_commands, data_option, verify_fetched
from harness.cli.completion import complete_datasets
from harness.cli.options import argument, examples, format_option
from harness.cli.printing import echo, echo_json
from harness.errors import CheckFailedError, HarnessError, NotAvailableError, plural


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


@datasets.command(epilog=examples("harness datasets verify urban100 --from ~/Urban100"))
@argument("names", "[NAME…]", complete_datasets, nargs=-1)
@click.option(
    "--from", "folder", type=click.Path(path_type=Path), help="Look at this copy of yours; nothing is written."
)
@data_option
@format_option("text", "json")
def verify(names: tuple[str, ...], folder: Path | None, data: Path, form: str) -> None:
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
