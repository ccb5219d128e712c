"""Commands `harness export dnd`, `check-dnd`."""

from __future__ import annotations

from pathlib import Path

import click

from harness.cli.options import examples, method_argument
from harness.cli.printing import echo
from harness.errors import CheckFailedError, plural
from harness.tables.workspace import Workspace

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
