"""Which methods can run here now: whose weights, packages and restored images are there."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

import msgspec

from harness.assets.datasets.registry import dataset
from harness.assets.places import AssetPaths
from harness.assets.verified import still_complete
from harness.assets.weights.loading import find_weights
from harness.assets.weights.registry import released_file, weight_set
from harness.errors import Missing, NotAvailableError
from harness.methods import Method
from harness.records.tasks import task as task_of
from harness.records.training_runs import TrainingRun, require_trained
from harness.tables.workspace import Workspace

LACKS = {
    "weights": "lack weights",
    "training": "must be trained",
    "dataset": "lack restored images",
    "package": "lack a package",
    "": "lack a file of yours",
}


class Here(msgspec.Struct, frozen=True):
    """What of a method can run here.

    `levels`: By task the levels for which everything is here; a task without any is left out.
    `lacks`: What the first other level lacks; empty where all can run.
    `kind`: That in a word: a key of `LACKS`.
    """

    levels: dict[str, tuple[int, ...]]
    lacks: str = ""
    kind: str = ""


def what_runs(workspace: Workspace, method: Method) -> Here:
    """Say what of a method can run here, without building it: nothing is imported or hashed.

    `method`: As `Workspace.methods` gives it.
    """
    levels: dict[str, tuple[int, ...]] = {}
    first: NotAvailableError | None = None
    for task in method.tasks:
        for level in task_of(task).levels:
            try:
                _require(workspace, method, task, level)
                levels[task] = (*levels.get(task, ()), level)
            except NotAvailableError as missing:
                first = first or missing
    if first is None:
        return Here(levels)
    return Here(levels, str(first), first.missing.kind if first.missing else "")


def summarised(found: Iterable[Here]) -> str:
    """Say in a line what those methods lack of which nothing can run, such as ``3 must be trained``."""
    counts = Counter(here.kind for here in found if not here.levels)
    return ", ".join(f"{counts[kind]} {words}" for kind, words in LACKS.items() if counts[kind])


def _require(workspace: Workspace, method: Method, task: str, level: int) -> None:
    """Raise NotAvailableError where something is missing; of models for single sets, where all are."""
    _require_package(method)
    for path in method.depends:
        if not path.exists():
            raise NotAvailableError(f"{path} is not here")
    for name in method.released:
        if still_complete(AssetPaths(workspace.data, "datasets", dataset(name).name)) is None:
            raise NotAvailableError(
                f"the released images '{name}' are not here; see `harness datasets show {name}`",
                Missing("dataset", name),
            )
    if method.origin == "trained" and method.recipes:
        require_trained(workspace.root, TrainingRun(task, method.name, level))
    elif not method.released:
        lacking = []
        for name in method.weights_for or ("",):
            try:
                _require_weights(workspace.data, method, task, level, name)
                return
            except NotAvailableError as missing:
                lacking.append(missing)
        raise lacking[0]


def _require_package(method: Method) -> None:
    """Look for what the package's extra names, which is read off its metadata."""
    if not method.extra:
        return
    try:
        wanted = metadata.requires("restoration-harness") or []
    except metadata.PackageNotFoundError:
        return
    of_extra = re.compile(rf"""extra\s*==\s*['"]{re.escape(method.extra)}['"]""")
    for text in wanted:
        named = re.match(r"[A-Za-z0-9._-]+", text)
        if named is not None and of_extra.search(text):
            try:
                metadata.version(named[0])
            except metadata.PackageNotFoundError:
                raise NotAvailableError(
                    f"the package '{named[0]}' is not installed; pip install 'restoration-harness[{method.extra}]'",
                    Missing("package", named[0]),
                ) from None


def _require_weights(data: Path, method: Method, task: str, level: int, name: str) -> None:
    loaded = method.loads(task, level, name)
    if loaded is None:
        return
    entry = released_file(loaded)
    if entry is None:
        raise NotAvailableError(
            f"nothing was released for {task} {task_of(task).level_label(level)}".rstrip(),
            Missing("weights", method.name),
        )
    find_weights(weight_set(loaded.partition("/")[0]), entry, data)
