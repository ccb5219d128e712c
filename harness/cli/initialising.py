"""The command `harness init`: the files of a workspace, and DVC in it."""

from __future__ import annotations

import shlex
from pathlib import Path

import click
import msgspec

from harness import __version__
from harness.cli.options import examples
from harness.cli.printing import echo
from harness.errors import HarnessError
from harness.files import write_text
from harness.records.workspace import PARAMS_FILE, Folder

# Templates by the file they become. What git does not keep, an empty folder, gets a page that says what it is for.
FILES = {
    PARAMS_FILE: "params.yaml",
    "methods/README.md": "methods.md",
    "tables/README.md": "tables.md",
    "plugins/README.md": "plugins.md",
    "requirements.txt": "requirements.txt",
    ".gitignore": "gitignore",
    ".github/workflows/tables.yml": "workflow.yml",
    "README.md": "README.md",
}

# What `dvc init` writes; without git DVC must be told that there is none.
DVC_CONFIG = "[core]\n    analytics = false\n    check_update = false\n"
NO_GIT = "    no_scm = true\n"
DVC_FILES = {
    ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
    ".dvcignore": "# Files that DVC never looks at: as in .gitignore.\n.venv\n__pycache__\n",
}

# Lines without which git, or DVC, would take what is computed for sources.
IGNORED = ("/data/", "/work/", "/results/site/", "/submissions/")


class Initialised(msgspec.Struct, frozen=True):
    """What became of a folder.

    `written`, `kept`: Files that were written, and those that were there and were left as they are; relative to the
        folder.
    `notes`: What the user should know or do, a sentence each.
    """

    written: tuple[str, ...]
    kept: tuple[str, ...]
    notes: tuple[str, ...]


def initialise(folder: Path) -> Initialised:
    """Write the files of a workspace; what is there already is left as it is.

    Raises HarnessError: It lies in another workspace, or it is a checkout of the project.
    """
    import jinja2

    from harness.run.pipeline import write_stage_files
    from harness.run.sources import is_checkout
    from harness.tables.schema import SCHEMA_FILE, schema_text
    from harness.tables.workspace import Workspace

    folder = folder.resolve()
    if folder.exists() and not folder.is_dir():
        raise HarnessError(f"{folder}: is no folder; name one, or none for the current one")
    above = Folder.find(folder, needed=False).root
    if above != folder and (above / PARAMS_FILE).is_file():
        raise HarnessError(f"{folder}: lies in the workspace {above}; work there, or make one elsewhere")
    if is_checkout(folder):
        raise HarnessError(f"{folder}: is a checkout of the project, which is a workspace already")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.cli"), trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    values = {"title": folder.name or "tables", "version": __version__}
    in_git = _in_git(folder)
    texts = {file: environment.get_template(f"{name}.j2").render(**values) for file, name in FILES.items()}
    texts[f"tables/{SCHEMA_FILE}"] = schema_text()
    if not (folder / ".dvc").is_dir():
        texts |= {".dvc/config": DVC_CONFIG + ("" if in_git else NO_GIT), **DVC_FILES}
    written, kept = [], []
    for name, text in texts.items():
        if (folder / name).exists() or (folder / name).is_symlink():
            kept.append(name)
        else:
            write_text(folder / name, text)
            written.append(name)
    if (folder / ".dvc/config").is_file() and ".dvc/config" not in texts:
        kept.append(".dvc/config")
    workspace = Workspace(folder)
    stages = [] if workspace.broken_tables else write_stage_files(workspace)
    if any(str(path) == "dvc.yaml" for path in stages):
        written.append("dvc.yaml")
    elif (folder / "dvc.yaml").exists():
        kept.append("dvc.yaml")
    if any(path.parts[0] == "pipelines" for path in stages):
        written.append("pipelines/")
    return Initialised(tuple(written), tuple(kept), tuple(_notes(folder, in_git)))


def _in_git(folder: Path) -> bool:
    return any((above / ".git").exists() for above in (folder, *folder.parents))


def _notes(folder: Path, in_git: bool) -> list[str]:
    """Say what is not as a fresh workspace would have it."""
    notes = []
    config = (folder / ".dvc/config").read_text(encoding="utf-8") if (folder / ".dvc/config").is_file() else ""
    without = any(line.split("=")[0].strip() == "no_scm" and "true" in line.lower() for line in config.splitlines())
    if not in_git:
        notes.append(
            "not in git: all works, but results name no revision; better: `git init` here, then `harness init` again"
        )
    elif not (folder / ".git").exists():
        notes.append("CI reads .github/ only at the top of the repository, which lies above: move the workflow there")
    if in_git and without:
        notes.append("in git now, which DVC does not know yet: dvc config --unset core.no_scm")
    ignored = {line.strip().strip("/") for line in (folder / ".gitignore").read_text(encoding="utf-8").splitlines()}
    missing = [line for line in IGNORED if line.strip("/") not in ignored]
    if missing:
        # A file may end without a line end.
        lines = "".join(f"\\n{line}" for line in missing)
        notes.append(
            "your .gitignore is left as it is, and git would take what is fetched and computed for sources; add to it: "
            f"printf '{lines}\\n' >> {shlex.quote(str(folder / '.gitignore'))}"
        )
    params = Folder(folder).params
    unlisted = [kind for kind in ("methods", "tables") if not getattr(params, kind)]
    if unlisted:
        notes.append(f"{PARAMS_FILE} names no folder for {' and '.join(unlisted)}; `harness new` adds it")
    return notes


@click.command(epilog=examples("harness init my-lab"))
@click.argument("folder", type=click.Path(path_type=Path), default=".")
def init(folder: Path) -> None:
    """Make FOLDER (default: this one) a workspace for methods and tables of your own.

    Writes params.yaml, methods/, tables/, the DVC pipelines, a workflow for CI, README.md and .gitignore. A file that
    is there is left as it is, so the command can be given again at any time.
    """
    done = initialise(folder)
    if done.written:
        echo(f"written: {', '.join(done.written)}")
    if done.kept:
        echo(f"there already, left as it is: {', '.join(done.kept)}")
    for note in done.notes:
        echo(f"note: {note}")
    if folder.resolve() != Path.cwd():
        echo(f"next: cd {folder}")
    echo("next: harness repro embedded                              # a first table; nothing is downloaded")
    echo("      harness new method my-net --task denoise-rgb        # a method of yours; harness check my-net")
    echo("      harness new table mine --dataset embedded --level 50 --method my-net")
    echo("      harness repro mine                                  # then harness report")
