"""Writing the DVC pipelines that make every table.

One ``dvc.yaml`` per task and dataset holds the stages ``inputs``, ``restore`` and ``measure`` of every method; the
tables are stages of their own that depend on measured rows. The files are generated from the tables and the methods,
and are committed: what runs can be read, and ``dvc repro`` needs nothing but DVC.
"""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from harness.assets.datasets.registry import dataset as dataset_of
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.files import write_text
from harness.methods import Method
from harness.methods.fingerprints import PACKAGE, method_code, stage_code
from harness.records.cells import Group
from harness.records.tasks import TASKS
from harness.records.training_runs import PLANS, TrainingRun, read_training_plans, trained_folder
from harness.run.graph import Step
from harness.tables.published import Table, table_file
from harness.tables.requests import Plan, counted, plans
from harness.tables.workspace import Workspace
from harness.training.recipe import recipe, recipe_file

# DVC reads and writes a file's lock after every stage; a file with more stages than this slows all of them down.
MOST_STAGES = 50

# The project's own first table lies in the top-level dvc.yaml, so that a bare `dvc repro` makes it.
TOP_LEVEL = "embedded"

RESULT_SUFFIXES = (".md", ".csv", ".json", ".tex")

HEADING = "# Written by `harness pipeline` from the tables and methods; change those, not this file.\n"


def stage_files(workspace: Workspace) -> dict[PurePosixPath, str]:
    """Make the text of every dvc.yaml of a workspace.

    Returns
    -------
    dict
        Text by path relative to the workspace.
    """
    return {path: _to_yaml(stages) for path, stages in pipeline_stages(workspace).items()}


def pipeline_stages(workspace: Workspace) -> dict[PurePosixPath, dict[str, Any]]:
    """Make every stage of a workspace.

    Returns
    -------
    dict
        Stages by name, by the path of their dvc.yaml relative to the workspace; the commands are still `Step`.
    """
    if PACKAGE.parent.resolve() != workspace.root.resolve():
        if not (workspace.root / PACKAGE.name / "__init__.py").is_file():
            raise HarnessError(
                f"{workspace.root.resolve()}: is no checkout of the project, and DVC tracks the code beside the "
                "pipelines; put your methods, tables and datasets into a checkout and run this there"
            )
        raise HarnessError(
            f"{workspace.root.resolve()}: `harness` is installed from {PACKAGE.parent}; DVC tracks the code beside the "
            "pipelines, so install this checkout: pip install -e ."
        )
    tables = workspace.tables()
    methods = workspace.methods()
    found = plans(tables.values(), methods)
    files: dict[PurePosixPath, dict[str, Any]] = defaultdict(dict)
    writer = _Writer(workspace, methods, found)
    for plan in found:
        folder = PurePosixPath("pipelines", plan.group.task, plan.group.dataset)
        files[folder / "dvc.yaml"] |= writer.group_stages(plan)
    released = {name for plan in found for name in methods[plan.group.method].released}
    for dataset in sorted({plan.group.dataset for plan in found} | released):
        files[PurePosixPath("pipelines/datasets/dvc.yaml")][dataset] = writer.dataset_stage(dataset)
    for name in sorted({name for plan in found for name in _fetched_weights(methods[plan.group.method])}):
        files[PurePosixPath("pipelines/weights/dvc.yaml")][name] = writer.weights_stage(name)
    for task, runs in writer.training_stages().items():
        files[PurePosixPath("pipelines", task, "training", "dvc.yaml")]["train"] = runs
        for dataset in sorted({item["data"] for item in runs["foreach"].values()}):
            files[PurePosixPath("pipelines/datasets/dvc.yaml")].setdefault(dataset, writer.dataset_stage(dataset))
    for name in sorted({name for table in tables.values() for name in counted(table, methods)}):
        files[PurePosixPath("pipelines/cost/dvc.yaml")][name] = writer.cost_stage(name)
    for table in tables.values():
        if table.name == TOP_LEVEL:
            files[PurePosixPath("dvc.yaml")][table.name] = writer.table_stage(table, ".")
        else:
            files[PurePosixPath("pipelines/tables/dvc.yaml")][table.name] = writer.table_stage(table, "../..")
    files[PurePosixPath("pipelines/code/dvc.yaml")]["code"] = writer.code_stage()
    return dict(sorted(_in_parts(files).items()))


def _in_parts(files: Mapping[PurePosixPath, dict[str, Any]]) -> dict[PurePosixPath, dict[str, Any]]:
    """Spread a file with more than `MOST_STAGES` over folders ``part2``, ``part3`` … beside it."""
    parts: dict[PurePosixPath, dict[str, Any]] = {}
    for path, stages in files.items():
        names = list(stages)
        for number, start in enumerate(range(0, len(names), MOST_STAGES), 1):
            chosen = {name: stages[name] for name in names[start : start + MOST_STAGES]}
            if number == 1:
                parts[path] = chosen
                continue
            deeper = {name: stage | {"wdir": f"../{stage.get('wdir', '.')}"} for name, stage in chosen.items()}
            parts[path.parent / f"part{number}" / path.name] = deeper
    return parts


def write_stage_files(workspace: Workspace, *, check: bool = False) -> list[PurePosixPath]:
    """Write the dvc.yaml files that are not as they should be; with `check`, only list them.

    Returns
    -------
    list of path
        Files that were (or are) out of date, those no table needs any more included.
    """
    return _write(workspace, stage_files(workspace), check=check)


def update_pipelines(workspace: Workspace) -> tuple[dict[PurePosixPath, dict[str, Any]], list[PurePosixPath]]:
    """Make every stage, and write the dvc.yaml files that are not as they should be; return both."""
    stages = pipeline_stages(workspace)
    return stages, _write(workspace, {path: _to_yaml(of_file) for path, of_file in stages.items()}, check=False)


def _write(workspace: Workspace, wanted: Mapping[PurePosixPath, str], *, check: bool) -> list[PurePosixPath]:
    changed = [path for path, text in wanted.items() if _text(workspace.root / path) != text]
    pipelines = workspace.root / "pipelines"
    stale = [
        PurePosixPath(file.relative_to(workspace.root).as_posix())
        for file in sorted(pipelines.glob("**/dvc.yaml"))
        if PurePosixPath(file.relative_to(workspace.root).as_posix()) not in wanted
    ]
    if not check:
        for path in changed:
            write_text(workspace.root / path, wanted[path])
        for path in stale:
            (workspace.root / path).unlink()
            (workspace.root / path).with_name("dvc.lock").unlink(missing_ok=True)
    return changed + stale


def table_target(name: str) -> str:
    """DVC target of a table's stage."""
    return name if name == TOP_LEVEL else f"pipelines/tables/dvc.yaml:{name}"


def measure_target(group: Group) -> str:
    """DVC target of a group's measure stage."""
    return f"pipelines/{group.task}/{group.dataset}/dvc.yaml:measure-{_stage_name(group)}"


def restore_target(group: Group) -> str:
    """DVC target of a group's restore stage."""
    return f"pipelines/{group.task}/{group.dataset}/dvc.yaml:restore-{_stage_name(group)}"


def cost_target(method: str) -> str:
    """DVC target of the stage that counts a method's network."""
    return f"pipelines/cost/dvc.yaml:{method}"


def written_address(root: Path, target: str) -> str:
    """Find a stage in the written pipelines: a long file goes on in further parts; `target` where it is in none."""
    file, _, name = target.rpartition(":")
    path = PurePosixPath(file)
    number = 1
    while text := _text(root / path):
        if f"\n  {name}:\n" in text:
            return f"{path}:{name}"
        number += 1
        path = PurePosixPath(file).parent / f"part{number}" / "dvc.yaml"
    return target


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _stage_name(group: Group) -> str:
    name = group.name
    return name if group.degradation == TASKS[group.task].degradation else f"{name}--{group.degradation}"


def _inputs_of(group: Group) -> tuple[str, str, str]:
    return group.task, group.dataset, group.degradation


class _Writer:
    def __init__(self, workspace: Workspace, methods: Mapping[str, Method], everything: list[Plan]) -> None:
        self._workspace = workspace
        self._methods = methods
        self._training_plans = read_training_plans(workspace.root)
        self._levels: dict[tuple[str, str, str], set[int]] = defaultdict(set)
        for plan in everything:
            self._levels[_inputs_of(plan.group)].update(plan.levels)

    def group_stages(self, plan: Plan) -> dict[str, Any]:
        group = plan.group
        method = self._methods[group.method]
        name = _stage_name(group)
        random = degradation(group.degradation).random
        manifest = f"data/manifests/datasets/{group.dataset}.json"
        inputs = f"work/inputs/{group.task}/{group.dataset}/{group.degradation}.json"
        levels = _numbers(self._levels[_inputs_of(group)])
        where = ["--task", group.task, "--dataset", group.dataset, "--degradation", group.degradation]
        what = [*where, "--method", group.method, "--policy", group.policy, "--saving", group.saving]
        noise: dict[str, Any] = {"params": ["noise"]} if random else {}
        depends = [self._relative(path) for path in method.depends]
        fetched = [f"data/manifests/weights/{name}.json" for name in _fetched_weights(method)]
        fetched += [f"data/manifests/datasets/{name}.json" for name in method.released]
        return {
            f"inputs-{group.degradation}": {
                "wdir": "../../..",
                "cmd": _step("inputs", *where, "--levels", levels, title=f"inputs {group.dataset}"),
                "deps": [manifest, "work/code/inputs.json"],
                **noise,
                "outs": [inputs],
            },
            f"restore-{name}": {
                "wdir": "../../..",
                "cmd": _step(
                    "restore",
                    *what,
                    *("--levels", _numbers(plan.levels)),
                    title=f"restore {group.method} {group.dataset}",
                    group=group,
                    gpu=method.on == "tensor",
                ),
                "deps": [inputs, *fetched, f"work/code/method-{method.name}.json", *depends, *self._trained(plan)],
                **noise,
                "outs": [f"work/restored/{group.place}", f"work/timing/{group.place}.json"],
            },
            f"measure-{name}": {
                "wdir": "../../..",
                "cmd": _step(
                    "measure",
                    *what,
                    *("--protocols", ",".join(plan.protocols)),
                    title=f"measure {group.method} {group.dataset}",
                    group=group,
                ),
                "deps": [manifest, f"work/restored/{group.place}", "work/code/measure.json"],
                "outs": [
                    f"work/rows/{group.place}.csv",
                    f"work/rows/{group.place}.json",
                    f"work/timing/{group.place}.rows.json",
                ],
            },
        }

    def _trained(self, plan: Plan) -> list[str]:
        """Folders of the trained weights that a group is restored with."""
        method = self._methods[plan.group.method]
        if method.origin != "trained":
            return []
        runs = [TrainingRun(plan.group.task, method.name, level) for level in plan.levels]
        found = [run for run in runs if (run.task, run.level) in method.trained]
        return [trained_folder(Path(), run, run in self._training_plans).as_posix() for run in found]

    def training_stages(self) -> dict[str, dict[str, Any]]:
        """Make one stage ``train`` per task, with an instance ``train@<method>-<level>`` per planned run."""
        stages: dict[str, dict[str, Any]] = {}
        for run, training_plan in self._training_plans.items():
            method = self._methods.get(run.method)
            if method is None or run.task not in method.recipes:
                raise HarnessError(f"{PLANS}: no method trains '{run.name}'; `harness train --list` shows what can be")
            name = method.recipes[run.task]
            stage = stages.setdefault(
                run.task,
                {
                    "foreach": {},
                    "do": {
                        "wdir": "../../..",
                        "cmd": Step("harness train-run ${item.run}", "train-run", "train-run ${item.run}", gpu=True),
                        "deps": [
                            "${item.recipe}",
                            "data/manifests/datasets/${item.data}.json",
                        ],
                        "params": [{PLANS: ["runs.${item.run}"]}],
                        "outs": ["work/trained/${item.place}"],
                    },
                },
            )
            stage["foreach"][f"{run.method}-{run.level}"] = {
                "run": run.name,
                "recipe": self._relative(recipe_file(name)),
                "data": dataset_of(training_plan.data or recipe(name).data).name,
                "place": str(run.place),
            }
        return stages

    def code_stage(self) -> dict[str, Any]:
        # One stage looks at the sources; every other depends on a small file, so DVC has little to parse and to check.
        files = {file for method in self._methods.values() for file in method_code(method)}
        plugins = {self._relative(file) for file in files}
        return {
            "wdir": "../..",
            "cmd": _step("code"),
            "deps": ["harness", *sorted(name for name in plugins if not name.startswith("harness/"))],
            "outs": [f"work/code/{name}.json" for name in stage_code(self._methods)],
        }

    def _relative(self, path: Path) -> str:
        """Write a path relative to the workspace, or absolute where it lies outside (an installed plugin)."""
        root, path = self._workspace.root.resolve(), path.resolve()
        text = path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
        return text.replace("${", r"\${")  # DVC would put a parameter there

    def dataset_stage(self, name: str) -> dict[str, Any]:
        # Always run: whether a mirror or a network is there now cannot be seen in a file. It takes a tenth of a second.
        return {
            "wdir": "../..",
            "cmd": _step("datasets", "fetch", name, fetches=name),
            "always_changed": True,
            "outs": [f"data/manifests/datasets/{name}.json"],
        }

    def weights_stage(self, name: str) -> dict[str, Any]:
        return {
            "wdir": "../..",
            "cmd": _step("weights", "fetch", name, fetches=name),
            "always_changed": True,
            "outs": [f"data/manifests/weights/{name}.json"],
        }

    def cost_stage(self, name: str) -> dict[str, Any]:
        return {
            "wdir": "../..",
            "cmd": _step("cost", name),
            "deps": [f"work/code/cost-{name}.json"],
            "outs": [f"work/cost/{name}.json"],
        }

    def table_stage(self, table: Table, root: str) -> dict[str, Any]:
        groups = [plan.group for plan in plans([table], self._methods)]
        rows = [f"work/rows/{group.place}{suffix}" for group in groups for suffix in (".csv", ".json")]
        rows += [f"work/cost/{name}.json" for name in counted(table, self._methods)]
        rows += [folder for plan in plans([table], self._methods) for folder in self._trained(plan)]
        own = self._workspace.table_files.get(table.name)
        if own is not None:
            source = self._relative(own)
        else:
            source = f"harness/{table_file(table.name).relative_to(PACKAGE).as_posix()}"
        stage: dict[str, Any] = {} if root == "." else {"wdir": root}
        return stage | {
            "cmd": _step("render", table.name),
            "deps": [source, *rows, "work/code/render.json"],
            "outs": [
                {f"results/{table.name}{suffix}": {"cache": False, "persist": True}} for suffix in RESULT_SUFFIXES
            ],
        }


def _fetched_weights(method: Method) -> tuple[str, ...]:
    """Names in the weights registry that a method loads."""
    return () if method.origin == "trained" else method.weights


def _step(*words: str, title: str = "", **facts: Any) -> Step:
    """Make the step that a subcommand of the harness does; a shell reads it, so every word is quoted that needs it."""
    return Step(shlex.join(["harness", *words]), words[0], title or " ".join(words), **facts)


def _numbers(levels: set[int] | tuple[int, ...]) -> str:
    return ",".join(str(level) for level in sorted(levels))


def _to_yaml(stages: dict[str, Any]) -> str:
    import yaml

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        pass

    Dumper.add_representer(Step, lambda dumper, step: dumper.represent_str(step.command))
    return HEADING + yaml.dump({"stages": stages}, Dumper=Dumper, sort_keys=False, width=1000, allow_unicode=True)
