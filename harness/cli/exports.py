"""Commands `harness export network`, `crate`, `check-crate`, `dnd`, `check-dnd`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import click

from harness.cli.options import (
    Option,
    dataset_option,
    examples,
    level_option,
    method_argument,
    one_of,
    table_argument,
    task_option,
)
from harness.cli.printing import echo
from harness.errors import CheckFailedError, HarnessError, plural
from harness.tables.workspace import Workspace

Choice = TypeVar("Choice")

_FROM = click.option("--from", "folder", type=click.Path(path_type=Path), help="Folder with images_srgb/ and info.mat.")


@click.command(epilog=examples("harness export dnd mprnet --from ~/DND"))
@method_argument("method")
@_FROM
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write; default: submissions/dnd/METHOD.")
@click.option("--policy", default="", help="Inference policy: whole, x8, whole+onnx1 …; default: the method's own.")
@click.option("--zip/--no-zip", "zipped", default=True, help="Also pack the files into one zip file.")
def dnd(method: str, folder: Path | None, out: Path | None, policy: str, zipped: bool) -> None:
    """Restore DND's 1,000 boxes with METHOD, write the files its server takes, and read them back.

    No number is computed here: upload the zip at https://noise.visinf.tu-darmstadt.de/. Interrupt it at any time; the
    next run goes on.
    """
    from harness.assets.progress import ProgressBar
    from harness.assets.weights.fetching import fetch
    from harness.extras.dnd import check_submission, find_release, make_submission, open_release, pack
    from harness.methods.fingerprints import fingerprint, method_code, method_packages
    from harness.records.in_use import loading_from

    workspace = Workspace.find()
    found = workspace.method(method)
    release = open_release(folder) if folder is not None else find_release(workspace.data)
    for name in found.weights:
        fetch(name, workspace.data)
    target = out or workspace.root / "submissions" / "dnd" / method
    with loading_from(workspace.root), ProgressBar(f"dnd {method}") as bar:
        make_submission(
            found,
            release,
            target,
            policy=policy,
            code=fingerprint(method_code(found)),
            packages=method_packages(found),
            progress=bar.update,
        )
    _tell(check_submission(target, release), target)
    echo(f"written and read back: {len(release.images)} files in {target}")
    if zipped:
        archive = pack(target, len(release.images))
        echo(f"upload: {archive} ({archive.stat().st_size / 1e6:,.0f} MB)")


@click.command("check-dnd", epilog=examples("harness export check-dnd mprnet.zip --from ~/DND"))
@click.argument("path", type=click.Path(path_type=Path))
@_FROM
def check_dnd(path: Path, folder: Path | None) -> None:
    """Check a folder or zip file from any program against DND's format; exit status 1 if it does not conform."""
    from harness.extras.dnd import check_submission, find_release, open_release

    release = open_release(folder) if folder is not None else find_release(Workspace.find().data)
    _tell(check_submission(path, release), path)
    echo(f"{path}: {len(release.images)} files, {sum(map(len, release.boxes)):,} boxes; the format is kept")


def _tell(problems: list[str], path: Path) -> None:
    for problem in problems[:20]:
        echo(f"  {problem}")
    if problems:
        raise CheckFailedError(f"{path}: {plural(len(problems), 'problem')}; the server would refuse it")


@click.command(epilog=examples("harness export crate panet-table3 panet-table3.zip"))
@table_argument("table")
@click.argument("target", type=click.Path(path_type=Path))
@click.option(
    "--with-images",
    "images",
    cls=Option,
    formerly="--images",
    is_flag=True,
    help="With the restored images; mind whose images they are made from.",
)
def crate(table: str, target: Path, images: bool) -> None:
    """Write the run of TABLE to TARGET, a new folder or a .zip.

    With --with-images also the weights of networks that were trained here, not those of others.
    """
    from harness.extras.crate import export_crate

    count = export_crate(Workspace.find(), table, target, images=images)
    echo(f"{target}: {plural(count, 'file')}; check it anywhere with harness export check-crate {target}")


@click.command("check-crate", epilog=examples("harness export check-crate panet-table3.zip"))
@click.argument("source", type=click.Path(path_type=Path))
def check_crate(source: Path) -> None:
    """Check the crate SOURCE: its files, and its results against its rows. Exit status 1 if anything is wrong.

    This finds damage, not forgery: nothing is restored or measured again, so rows that were changed together with the
    results and checksums pass.
    """
    from harness.extras.crate import check_crate as check

    checked = check(source, Workspace.find())
    for problem in checked.problems:
        echo(problem, err=True)
    images = f", {checked.measured} restored images have the recorded pixels" if checked.measured else ""
    remade = ", the results follow from the rows" if checked.remade else ""
    made = f" (made by revision {checked.revision[:12]})" if checked.revision else ""
    echo(f"{checked.table}{made}: {checked.files} files are as they were{remade}{images}")
    echo("not checked: rows against pixels, pixels against the ground truth, and what weights and code made them")
    if checked.problems:
        raise CheckFailedError(f"{source}: {plural(len(checked.problems), 'problem')}; it is not what was exported")


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
