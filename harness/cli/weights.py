"""Commands `harness weights` and `harness export network`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import click

from harness.cli.assets import add_commands, data_option, verify_fetched
from harness.cli.completion import complete_weights
from harness.cli.options import (
    argument,
    dataset_option,
    examples,
    format_option,
    level_option,
    method_argument,
    one_of,
    task_option,
)
from harness.cli.printing import echo
from harness.errors import HarnessError

Choice = TypeVar("Choice")


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


@weights.command(epilog=examples("harness weights verify dncnn"))
@argument("names", "[NAME…]", complete_weights, nargs=-1)
@data_option
@format_option("text", "json")
def verify(names: tuple[str, ...], data: Path, form: str) -> None:
    """Hash every file of the named (or of all fetched) weight sets again; exit 1 where one is damaged."""
    verify_fetched("weights", names, data, form)


@click.command(
    epilog=examples(
        "harness export network dncnn --task denoise-gray --level 50 \\",
        "    --out dncnn.onnx",
        "harness export network panet --task jpeg --level 10 --size 48x48 \\",
        "    --out panet.pt",
    )
)
@method_argument("method")
@task_option("Task, if the method has several.")
@level_option("Sigma, quality or scale, if the task has several.")
@dataset_option("For a method with a model for each set.")
@click.option(
    "--out", "path", type=click.Path(dir_okay=False, path_type=Path), required=True, help="FILE.onnx or FILE.pt."
)
@click.option("--size", default="", help="Width x height: the only size that the file will take, where others fail.")
def network(method: str, task: str, levels: tuple[int, ...], datasets: tuple[str, ...], path: Path, size: str) -> None:
    """Write METHOD's network with its weights for other programs: ONNX or TorchScript.

    The file takes and gives float32 (B, C, H, W) in [0, 1], with --size one image at a time. It is read back and
    compared with the network on several sizes; where they differ by more than 0.00001 nothing is written. FILE.json
    beside it has the SHA-256, the versions, and which weights it holds.
    """
    from harness.assets.weights.fetching import fetch
    from harness.extras.network_files import export_network
    from harness.records.in_use import loading_from
    from harness.records.tasks import task as task_of
    from harness.tables.workspace import Workspace

    sides = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", size)
    if size and not sides:
        raise HarnessError(f"--size is width x height, such as 48x48, not '{size}'")
    workspace = Workspace.find()
    found = workspace.method(method)
    chosen = task or _only(found.tasks, "--task", f"'{method}' does")
    level = one_of(levels, "--level", "network", None)
    level = _only(task_of(chosen).levels, "--level", f"{chosen} has") if level is None else level
    if found.origin == "released":
        for name in found.weights:
            fetch(name, workspace.data)
    with loading_from(workspace.root):
        about = export_network(
            found,
            chosen,
            level,
            path,
            size=(int(sides[2]), int(sides[1])) if sides else None,
            dataset=one_of(datasets, "--dataset", "network"),
        )
    sizes = f"one image of {size} at a time" if size else "images of any size"
    echo(
        f"written: {path} ({sizes}, SHA-256 {about.sha256[:12]}…), {about.difference:.1g} at most from the network on "
        f"{len(about.compared)} size{'s' * (len(about.compared) > 1)}; {path.name}.json says what it holds"
    )


def _only(known: Sequence[Choice], option: str, whose: str) -> Choice:
    if len(known) != 1:
        raise HarnessError(f"say which with {option}: {whose} {', '.join(map(str, known))}")
    return known[0]
