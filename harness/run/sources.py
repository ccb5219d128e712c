"""Where the code of a workspace lies: in the checkout itself, in files of the user, or in installed packages.

DVC may only name what lies in the workspace. What is installed elsewhere, at another place on every machine, is known
by fingerprints in ``work/code``; the stage that writes them then always runs.
"""

from __future__ import annotations

import json
import sysconfig
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from harness.errors import HarnessError
from harness.files import file_sha256, write_json, write_text
from harness.methods import Method
from harness.methods.definitions import registry_of
from harness.methods.fingerprints import (
    PACKAGE,
    code_files,
    code_hashes,
    cost_code,
    kind_code,
    method_code,
    metric_facts,
    read_again,
    stage_code,
)
from harness.methods.pyiqa import weights_here
from harness.methods.source_loading import expect
from harness.names import is_safe
from harness.protocols import protocol
from harness.protocols.own import OWN_METRICS
from harness.records.cells import Group
from harness.records.rows import MeasuredRecord
from harness.tables.published import own_tables, published_tables, table_file
from harness.tables.workspace import Workspace
from harness.training.recipe import recipe_file, recipe_names

# What stands in a fingerprint for a file that cannot be read; the stage that needs it says why.
_ABSENT = "absent"


def is_checkout(root: Path) -> bool:
    """Return whether a folder is the checkout that this package runs from.

    Raises HarnessError: It is a checkout, but `harness` is imported from elsewhere: DVC would track other code than
        what runs.
    """
    if PACKAGE.parent.resolve() == root.resolve():
        return True
    if (root / PACKAGE.name / "__init__.py").is_file():
        raise HarnessError(
            f"{root.resolve()}: `harness` is installed from {PACKAGE.parent}; DVC tracks the code beside the "
            "pipelines, so install this checkout: pip install -e ."
        )
    return False


def is_own(root: Path, path: Path) -> bool:
    """Return whether a file is the workspace's own: in its folder, and not installed in an environment there."""
    path = path.resolve()
    installed = {Path(sysconfig.get_path(kind)).resolve() for kind in ("purelib", "platlib")}
    return path.is_relative_to(root.resolve()) and not any(path.is_relative_to(folder) for folder in installed)


def fingerprints(workspace: Workspace) -> dict[str, list[str]]:
    """Make the fingerprints that the stages of a workspace depend on.

    Returns: Hashes by name, each to be a file ``work/code/<name>.json``: ``inputs``, ``measure``, ``render``,
        ``method-<name>``, ``cost-<name>``; ``task-<name>``, ``metric-<name>`` and the like for what plugins define;
        outside a checkout also ``table-<name>`` and ``recipe-<name>`` for what is in the package. Files that a method
        depends on and that lie outside the workspace are part of its own.
    """
    methods = workspace.methods()
    found = {name: code_hashes(files) for name, files in stage_code(methods).items()}
    for name, method in methods.items():
        found[f"method-{name}"] += _elsewhere(workspace, method)
    for kind in ("task", "degradation"):
        registry = registry_of(kind)
        for name in registry.files:
            found[f"{kind}-{name}"] = code_hashes(_defining(kind, name))
    for name in OWN_METRICS:
        found[f"metric-{name}"] = _metric(workspace, name)
    if not is_checkout(workspace.root):
        for name in (*published_tables(), *own_tables()):
            found[f"table-{name}"] = [file_sha256(table_file(name))]
        for name in recipe_names():
            found[f"recipe-{name}"] = [file_sha256(recipe_file(name))]
    return found


def _elsewhere(workspace: Workspace, method: Method) -> list[str]:
    elsewhere = [path for path in method.depends if not is_own(workspace.root, path)]
    return [f"{path.name} {file_sha256(path, _ABSENT)}" for path in elsewhere]


def _defining(kind: str, name: str) -> list[Path]:
    source = registry_of(kind).source(name)
    return code_files(source) if source else []


def _metric(workspace: Workspace, name: str) -> list[str]:
    return [f"{what} {text}" for what, text in metric_facts(OWN_METRICS[name]).items()] + [
        f"file {file.name} {file_sha256(here)}"
        for file in sorted(awaited_folder(workspace, name).glob("*"))
        if (here := weights_here(file.name)) is not None
    ]


def refuse_edited(
    workspace: Workspace,
    stage: str,
    *,
    task: str = "",
    degradation: str = "",
    method: Method | None = None,
    metrics: Iterable[str] = (),
) -> None:
    """Refuse code that was edited since the run looked at it, once a stage has imported what it runs.

    DVC would record what the new code makes as the old code's, and give it back when the edit is undone. What the stage
    imports only later must be what it is now (`expect`).

    `workspace`: Where ``work/code`` says which code DVC knows the stage by; what is not there is not compared.
    `stage`: A stage of `ROOTS`, ``restore`` or ``cost``.
    `metrics`: Metrics of plugins that it measures with.
    Raises HarnessError: Some code is not that which is recorded.
    """
    read_again()
    made: dict[str, Callable[[], list[str]]] = {}
    for kind, name in (("task", task), ("degradation", degradation)):
        if name in registry_of(kind).files:
            expect(_defining(kind, name))
            made[f"{kind}-{name}"] = partial(lambda kind, name: code_hashes(_defining(kind, name)), kind, name)
    if method is not None:
        expect(file for file in method_code(method) if not file.is_relative_to(PACKAGE))
        if stage == "cost":
            made[f"cost-{method.name}"] = lambda: code_hashes(cost_code(method))
        else:
            made[f"method-{method.name}"] = lambda: code_hashes(method_code(method)) + _elsewhere(workspace, method)
    for name in metrics:
        expect(_defining("metric", name))
        made[f"metric-{name}"] = partial(_metric, workspace, name)
    known = workspace.work / "code" / f"{stage}.json"
    # Reading all of it takes half a second, so only where something was written since.
    sources = (file for file in PACKAGE.rglob("*.*") if file.suffix in (".py", ".j2"))
    if known.is_file() and any(file.stat().st_ctime_ns > known.stat().st_mtime_ns for file in sources):
        made[stage] = lambda: code_hashes(kind_code(stage))
    for name, hashes in made.items():
        recorded = _read_hashes(workspace.work / "code" / f"{name}.json")
        if recorded is not None and recorded != hashes():
            raise HarnessError(
                f"the code of '{name.partition('-')[2] or name}' was edited after this run had looked at it; its "
                "results would be recorded as those of the code before: run it again"
            )


def _read_hashes(file: Path) -> list[str] | None:
    try:
        return list(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def awaited_folder(workspace: Workspace, metric: str) -> Path:
    """Give the folder where weights are noted that a metric lacked: once they are here, it is measured again.

    A metric of pyiqa finds its files only when it is built, so they stand in no fingerprint before. The notes stay, for
    without them the fingerprint would change once more.
    """
    return workspace.work / "partial" / "awaited" / metric


def note_awaited(workspace: Workspace, record: MeasuredRecord) -> None:
    """Note the weights that metrics lacked."""
    for of_level in record.unmeasured_missing.values():
        for name, missing in of_level.items():
            own = protocol(name).own
            if own is not None and missing.kind == "weights" and is_safe(missing.file) and "/" not in missing.file:
                write_text(awaited_folder(workspace, own.name) / missing.file, "")


def defined_by(group: Group) -> list[str]:
    """Name the fingerprints, in ``work/code``, of what plugins define and a group is made with."""
    used = (("task", group.task), ("degradation", group.degradation))
    return [f"work/code/{kind}-{name}.json" for kind, name in used if name in registry_of(kind).files]


def write_fingerprints(workspace: Workspace) -> None:
    """Bring the files of ``work/code`` up to date; those that are as they should be are not touched."""
    folder = workspace.work / "code"
    wanted = fingerprints(workspace)
    for file in folder.glob("*.json"):
        if file.stem not in wanted:
            file.unlink()
    for name, hashes in wanted.items():
        file = folder / f"{name}.json"
        if _read_hashes(file) != hashes:
            write_json(file, hashes)
