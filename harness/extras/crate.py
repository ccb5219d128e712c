"""A table's run as a Research Object Crate: rows, results, records and locks in one folder or zip.

https://w3id.org/ro/crate. Whoever gets it can check every file against the crate's own list, make the results anew from
the rows, and with images in it compare their pixels with the crate's record. All of that shows damage, and no intent:
rows are not measured again from pixels, so who changes rows, results and checksums together is not found out.
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from harness.errors import HarnessError, NotAvailableError
from harness.files import file_sha256
from harness.images import pixels_sha256
from harness.names import is_name, is_safe
from harness.records.restored import RECORD, read_pixels, read_restored
from harness.records.runs import Clock, run_file
from harness.records.training_runs import PLANS, WEIGHTS, TrainingRun, read_training_plans, trained_folder
from harness.report.render import json_text
from harness.run.graph import needed, stage_graph, stage_of
from harness.run.pipeline import pipeline_stages
from harness.tables.diff import diff_table
from harness.tables.measurements import Measurements
from harness.tables.published import table_file
from harness.tables.requests import plans
from harness.tables.workspace import Workspace

METADATA = "ro-crate-metadata.json"

# No crate of tables is larger when unpacked; a zip that says otherwise is refused before anything is written.
MOST_BYTES = 64 * 2**30
MOST_FILES = 2_000_000
# Nor is one packed more tightly: images hardly shrink, and rows to a tenth.
MOST_PACKED = 100


class CrateCheck(msgspec.Struct, frozen=True):
    """What checking a crate found.

    `table`, `revision`: The table, and the git revision of the code that made the crate.
    `files`, `measured`: Files that are as they were, and restored images whose pixels are the recorded ones.
    `problems`: What is wrong, one sentence each.
    `remade`: Whether the results were made anew from the rows, and are equal.
    """

    table: str
    files: int
    problems: tuple[str, ...]
    remade: bool
    measured: int
    revision: str


def files_of_table(workspace: Workspace, table: str, *, images: bool) -> list[str]:
    """List the files behind a table, relative to the workspace, sorted; with `images` also the restored images."""
    graph = stage_graph(pipeline_stages(workspace))
    nodes = needed(graph, [stage_of(graph, "render", table)])
    found = {"params.yaml", "constraints.txt", "pyproject.toml"}
    for node in nodes.values():
        found |= {node.file, str(PurePosixPath(node.file).with_name("dvc.lock"))}
        if node.step.group is not None:
            found.add(run_file(Path("work"), node.step.group, node.step.verb).as_posix())
        for out in node.outs:
            if out.startswith("work/restored/") and not images:
                found.add(f"{out}/restored.json")
            elif (workspace.root / out).is_dir():
                found |= _files_below(workspace, out, "**/*")
            else:
                found.add(out)
    found |= _training_of(workspace, table, weights=images)
    source = Path(workspace.table_files.get(table) or table_file(table)).resolve()
    if source.is_relative_to(workspace.root.resolve()):
        found.add(source.relative_to(workspace.root.resolve()).as_posix())
    return sorted(name for name in found if (workspace.root / name).is_file())


def _files_below(workspace: Workspace, folder: str | Path, pattern: str) -> set[str]:
    """List the files of a folder, relative to the workspace."""
    files = (path for path in (workspace.root / folder).glob(pattern) if path.is_file())
    return {path.relative_to(workspace.root).as_posix() for path in files}


def _training_of(workspace: Workspace, table: str, *, weights: bool) -> set[str]:
    """List what tells of the training of a table's own networks: without it a verdict `trained` cannot be checked."""
    methods, planned = workspace.methods(), read_training_plans(workspace.root)
    found = {PLANS} if planned else set()
    for plan in plans([workspace.table(table)], methods):
        if methods[plan.group.method].origin == "trained":
            for level in plan.levels:
                run = TrainingRun(plan.group.task, plan.group.method, level)
                found |= _files_below(workspace, trained_folder(workspace.root, run, run in planned), "*")
    return {name for name in found if weights or PurePosixPath(name).name != WEIGHTS}


def export_crate(workspace: Workspace, table: str, target: Path, *, images: bool = False) -> int:
    """Write a table's run as a crate.

    `workspace`, `table`: Where the results lie, and of which table.
    `target`: A folder that does not exist yet, or a file that ends in ``.zip``.
    `images`: Whether to put the restored images in.
    Returns: Number of files.
    Raises HarnessError: The table was not made here yet, or the target exists or cannot be written.
    Raises NotAvailableError: The package rocrate is not installed.
    """
    try:
        from rocrate.model.contextentity import ContextEntity
        from rocrate.rocrate import ROCrate
    except ImportError:
        raise NotAvailableError("rocrate is not installed; pip install 'restoration-harness[crate]'") from None
    workspace.table(table)
    names = files_of_table(workspace, table, images=images)
    if f"results/{table}.json" not in names:
        raise HarnessError(f"{table} was not made yet; run harness repro {table}")
    if target.exists():
        raise HarnessError(f"{target}: exists; name another folder or file")
    problem = _remake(workspace.root, workspace, table)
    if problem:
        # Results come with git, rows do not: a crate of them alone would prove nothing.
        raise HarnessError(f"{problem}; run harness repro {table} first")
    about = Clock().finish()
    crate: Any = ROCrate()

    def add(identifier: str, kind: str, **properties: object) -> Any:
        return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **properties}))

    crate.name = f"{table}: published and measured numbers"
    crate.description = (
        f"The run behind table {table}: measured rows, results beside the published numbers, provenance records, "
        "DVC pipelines and locks. Images and weights belong to their owners and are named by checksum."
    )
    crate.license = "https://spdx.org/licenses/MIT"
    crate.root_dataset["harnessTable"] = table
    software = add(
        "#harness",
        "SoftwareApplication",
        name="restoration-harness",
        softwareVersion=f"{about.libraries.get('restoration-harness', '')} {about.revision}".strip(),
        softwareRequirements=[f"{name}=={version}" for name, version in about.libraries.items()],
    )
    entities = {}
    for name in names:
        content = (workspace.root / name).read_bytes()
        properties = {
            "contentSize": str(len(content)),
            "sha256": hashlib.sha256(content).hexdigest(),
            "encodingFormat": mimetypes.guess_type(name)[0] or "application/octet-stream",
        }
        if name.endswith((".yaml", ".lock")):
            properties["encodingFormat"] = "application/yaml"
        entities[name] = crate.add_file(str(workspace.root / name), dest_path=name, properties=properties)
    action = add(
        "#run",
        "CreateAction",
        name=f"harness repro {table}",
        endTime=about.finished,
        description=f"{about.processor}, {about.machine}, Python {about.python}",
    )
    action["instrument"] = software
    for role, starts in (("object", ("data/", "pipelines/", "params")), ("result", ("results/", "work/rows/"))):
        action[role] = [entity for name, entity in entities.items() if name.startswith(starts)]
    crate.root_dataset["mentions"] = action
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Beside the target first: a crate that is there is whole.
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
            part = Path(folder) / target.name
            (crate.write_zip if target.suffix == ".zip" else crate.write)(part)
            os.replace(part, target)
    except OSError as error:
        raise HarnessError(f"{target}: cannot be written ({error.strerror or error})") from None
    return len(names)


def check_crate(source: Path, workspace: Workspace) -> CrateCheck:
    """Check a crate (folder or zip): every file, the results against the rows, and the images against their records.

    The workspace gives the methods and tables that results are made from; nothing is written to it.

    Raises HarnessError: It is no crate, or names files outside itself.
    """
    with _opened(source) as folder:
        entities = _read_metadata(folder / METADATA)
        named = entities.get("./", {}).get("harnessTable")
        table = named if isinstance(named, str) and is_name(named) else ""
        software = str(entities.get("#harness", {}).get("softwareVersion", ""))
        files = {name: entity for name, entity in entities.items() if entity.get("@type") == "File"}
        problems = [problem for name, entity in files.items() if (problem := _check_file(folder, name, entity))]
        good = len(files) - len(problems)
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink():
                problems.append(f"{name}: is a link, a crate holds none")
            elif not (path.is_file() or path.is_dir()):
                problems.append(f"{name}: is neither file nor folder")
            elif path.is_file() and name not in {*files, METADATA, "ro-crate-preview.html"}:
                problems.append(f"{name}: is not listed in {METADATA}")
        remade, measured = False, 0
        if not table:
            problems.append(f"{METADATA}: names no table of this harness")
        elif f"results/{table}.json" not in files:
            problems.append(f"results/{table}.json: is not in the crate")
        elif not problems:
            problem = _remake(folder, workspace, table)
            remade = not problem
            problems += [f"{problem}; compare the versions (git revision of the crate)"] if problem else []
            measured, damaged = _check_images(folder)
            problems += damaged
        return CrateCheck(table, good, tuple(problems), remade, measured, software.rpartition(" ")[2])


@contextmanager
def _opened(source: Path) -> Iterator[Path]:
    """Give a crate's folder; a zip is unpacked, after its names and sizes were looked at."""
    if source.is_dir():
        yield source
        return
    if not source.is_file():
        raise HarnessError(f"{source}: no such crate; name its folder or zip")
    with tempfile.TemporaryDirectory(prefix="crate-") as folder:
        unpack_zip(source, Path(folder))
        yield Path(folder)


def unpack_zip(source: Path, target: Path) -> None:
    """Unpack a zip from strangers into an existing folder.

    Raises HarnessError: It is no zip, or damaged, or holds links, names that leave the folder or that no system can
        hold, more files or bytes than any crate, or a member that is larger than it says.
    """
    try:
        with zipfile.ZipFile(source) as archive:
            members = archive.infolist()
            most = min(MOST_BYTES, max(2**24, MOST_PACKED * source.stat().st_size))
            if len(members) > MOST_FILES or sum(member.file_size for member in members) > most:
                raise HarnessError(f"{source}: would unpack to more than any crate holds; it is refused")
            for member in members:
                name = member.filename.rstrip("/")
                if not is_safe(name):
                    raise HarnessError(f"{source}: the name '{name}' leaves the folder; the archive is refused")
                if (member.external_attr >> 16) & 0o170000 == 0o120000:
                    raise HarnessError(f"{source}: '{name}' is a link; the archive is refused")
            for member in members:
                path = target / member.filename
                if member.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                left = member.file_size
                with archive.open(member) as packed, open(path, "xb") as file:
                    while block := packed.read(min(1 << 20, left + 1)):
                        left -= len(block)
                        if left < 0:
                            raise HarnessError(f"{source}: '{member.filename}' is larger than it says; refused")
                        file.write(block)
    except HarnessError:
        raise
    # A damaged archive fails anywhere in zipfile and zlib, with whatever is at hand there.
    except Exception as error:
        raise HarnessError(f"{source}: not a readable zip ({error})") from None


def _read_metadata(path: Path) -> dict[str, dict[str, Any]]:
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for without end
            raise HarnessError(f"{path}: is no file")
        plain = json.loads(path.read_bytes())
        graph = plain["@graph"]
        return {str(entity["@id"]): entity for entity in graph if isinstance(entity, dict)}
    except FileNotFoundError:
        raise HarnessError(f"{path.parent}: no {METADATA}; it is no crate") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise HarnessError(f"{path}: not the metadata of a crate ({type(error).__name__}: {error})") from None


def _check_file(folder: Path, name: str, entity: dict[str, Any]) -> str:
    if not is_safe(name):
        return f"'{name}': leaves the crate; it was not looked at"
    path = folder / name
    try:
        if path.is_symlink() or not path.resolve().is_relative_to(folder.resolve()):
            return f"{name}: is a link, a crate holds none"
        if path.exists() and not path.is_file():
            return f"{name}: is no file"
        digest = file_sha256(path)
    except OSError as error:
        return f"{name}: {'is missing' if isinstance(error, FileNotFoundError) else 'cannot be read'}"
    return "" if digest == entity.get("sha256") else f"{name}: has another checksum than when the crate was made"


def _remake(folder: Path, workspace: Workspace, table: str) -> str:
    """Make the results from the crate's rows; say what differs, empty where nothing does."""
    stored = (folder / "results" / f"{table}.json").read_bytes()
    made = json_text(diff_table(workspace.table(table), workspace.methods(), Measurements(folder / "work"))).encode()
    if made == stored:
        return ""
    try:
        then, now = _by_cell(stored), _by_cell(made)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return f"results/{table}.json: holds no results"
    differing = [name for name in then if then[name] != now.get(name)]
    if not differing and len(then) == len(now):
        return f"results/{table}.json: has another form in this version, with the same numbers"
    return (
        f"results/{table}.json: {len(differing) or 'other'} of {len(then)} cells do not follow from the rows here"
        + (f", such as {differing[0]}" if differing else "")
    )


def _by_cell(text: bytes) -> dict[str, Any]:
    plain = json.loads(text)
    cells = plain if isinstance(plain, list) else plain.get("cells", [])
    return {
        " ".join(str(cell.get(key)) for key in ("row", "dataset", "level", "metric")): cell.get("measured")
        for cell in cells
    }


def _check_images(folder: Path) -> tuple[int, list[str]]:
    """Compare the pixels of restored images with their records."""
    good, problems = 0, []
    for record_file in sorted((folder / "work" / "restored").rglob(RECORD)):
        try:
            record = read_restored(record_file.parent)
        except HarnessError as error:
            problems.append(str(error))
            continue
        for name, digest in record.images.items():
            path = record_file.parent / name
            if not path.is_file():
                continue
            try:
                problem = pixels_sha256(read_pixels(path, record.group.saving)) != digest
            except HarnessError:
                problem = True
            good += not problem
            problems += [f"{path.relative_to(folder)}: the pixels are not the recorded ones"] if problem else []
    return good, problems
