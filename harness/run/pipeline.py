"""Writing the DVC pipelines that make every table.

One ``dvc.yaml`` per task and dataset holds the stages ``inputs``, ``restore`` and ``measure``, each once for all
methods by DVC's ``foreach``; every table has a file of its own that depends on measured rows. The files are generated
from the tables and the methods, and are committed: what runs can be read, and ``dvc repro`` needs nothing but DVC.
"""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from harness.assets.datasets.registry import dataset as dataset_of
from harness.degradations import degradation
from harness.errors import HarnessError
from harness.files import write_text
from harness.methods import Method
from harness.methods.definitions import registry_of
from harness.methods.fingerprints import PACKAGE, code_files, method_code
from harness.protocols import protocol
from harness.protocols.own import OWN_METRICS
from harness.records.cells import Group
from harness.records.tasks import TASKS
from harness.records.training_runs import PLANS, TrainingRun, parse_run, read_training_plans, trained_folder
from harness.run.graph import CODE_VERB, Step
from harness.run.sources import defined_by, is_checkout, is_own
from harness.tables.published import Table, table_file
from harness.tables.requests import Plan, counted, plans
from harness.tables.workspace import Workspace
from harness.training.recipe import overridden, recipe, recipe_file

# DVC reads and writes a file's lock after every stage; a file of more methods than this slows all of them down.
MOST_GROUPS = 25

# The project's own first table lies in the top-level dvc.yaml, so that a bare `dvc repro` makes it.
TOP_LEVEL = "embedded"

RESULT_SUFFIXES = (".md", ".csv", ".json", ".tex")

HEADING = "# Written by harness pipeline from the tables and methods; change those, not this file.\n"

# Lists longer than this are written several items to a line, and about so many characters.
LONG_LIST = 40
LINE = 105

_MAP = "tag:yaml.org,2002:map"
_SEQ = "tag:yaml.org,2002:seq"

# What YAML 1.1 and 1.2 could read as two different numbers: to be quoted, whatever one of them thinks.
_LIKE_A_NUMBER = re.compile(r"[-+.]?\d[^/]*")


class Family(msgspec.Struct, frozen=True):
    """Stages that differ in a few words: one text in dvc.yaml, made into a stage for each item by DVC's ``foreach``.

    `do`: The stage, with ``${item.word}`` (or ``${item}``) where items differ; its command is text.
    `items`: The words of each item, or its only one, by what follows ``@`` in the stage's name.
    `steps`: What each stage does, by the same name; `stages` fills the commands in.
    `variable`: The variable of the file that holds the items, where two families share them.
    """

    do: dict[str, Any]
    items: dict[str, Any]
    steps: dict[str, Step]
    variable: str = ""

    def stages(self, name: str) -> Iterator[tuple[str, dict[str, Any]]]:
        """Fill in every item, as DVC does; yield the stages with their names."""
        for key, item in self.items.items():
            words = {"item": item} if isinstance(item, str) else {f"item.{word}": text for word, text in item.items()}
            for word, text in words.items():
                if f"${{{word}}}" in self.do["cmd"] and shlex.quote(text) != text:
                    raise HarnessError(f"'{text}' cannot stand in a command")
            stage = _filled(self.do, words)
            yield f"{name}@{key}", stage | {"cmd": msgspec.structs.replace(self.steps[key], command=stage["cmd"])}


def _filled(value: Any, words: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        return {_filled(key, words): _filled(inner, words) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, words) for inner in value]
    if isinstance(value, str):
        for word, text in words.items():
            for number, one in enumerate(text if isinstance(text, list) else ()):
                value = value.replace(f"${{{word}[{number}]}}", one)
            if isinstance(text, str):
                value = value.replace(f"${{{word}}}", text)
    return value


Stages = dict[str, dict[str, Any]]
_Entries = dict[str, Family | dict[str, Any]]


def stage_files(workspace: Workspace) -> dict[PurePosixPath, str]:
    """Make the text of every dvc.yaml of a workspace.

    Returns: Text by path relative to the workspace.
    """
    return _texts(workspace, _entries(workspace))


def pipeline_stages(workspace: Workspace) -> dict[PurePosixPath, Stages]:
    """Make every stage of a workspace.

    Returns: Stages by name, by the path of their dvc.yaml relative to the workspace; the commands are still `Step`.
    """
    return {path: _flat(entries) for path, entries in _entries(workspace).items()}


def update_pipelines(workspace: Workspace) -> tuple[dict[PurePosixPath, Stages], list[PurePosixPath]]:
    """Make every stage, and write the dvc.yaml files that are not as they should be; return both."""
    files = _entries(workspace)
    written = _write(workspace, _texts(workspace, files), check=False)
    return {path: _flat(entries) for path, entries in files.items()}, written


def write_stage_files(workspace: Workspace, *, check: bool = False) -> list[PurePosixPath]:
    """Write the dvc.yaml files that are not as they should be; with `check`, only list them.

    Returns: Files that were (or are) out of date, those no table needs any more included.
    Raises HarnessError: A table's file cannot be read: what it needs is not known, and would be dropped.
    """
    if workspace.broken_tables:
        reason = next(iter(workspace.broken_tables.values()))
        raise HarnessError(f"{reason} (until it can be read, no pipeline is written)")
    return _write(workspace, stage_files(workspace), check=check)


def _texts(workspace: Workspace, files: Mapping[PurePosixPath, _Entries]) -> dict[PurePosixPath, str]:
    plots: dict[PurePosixPath, list[dict[str, Any]]] = defaultdict(list)
    training_plans = read_training_plans(workspace.root)
    for run in workspace.training_runs():
        planned = run in training_plans
        path = PurePosixPath("pipelines", run.task, "training") if planned else PurePosixPath()
        log = PurePosixPath(_up(path), trained_folder(Path(), run, planned).as_posix(), "log.csv").as_posix()
        for column in ("loss", "psnr"):
            plots[path / "dvc.yaml"].append({f"{run.name}, {column}": {"x": "iteration", "y": {log: column}}})
    return {path: _to_yaml(entries, plots[path]) for path, entries in files.items()}


def _write(workspace: Workspace, wanted: Mapping[PurePosixPath, str], *, check: bool) -> list[PurePosixPath]:
    changed = [path for path, text in wanted.items() if _text(workspace.root / path) != text]
    for path in changed:
        if not _is_ours(workspace.root / path):
            raise HarnessError(
                f"{workspace.root / path}: not written by harness, which needs this place; move your stages elsewhere"
            )
    pipelines = workspace.root / "pipelines"
    # A table that cannot be read today is mended tomorrow: the record of what was made for it stays.
    unneeded = ("dvc.yaml",) if workspace.broken_tables else ("dvc.yaml", "dvc.lock")
    stale = [
        path
        for file in sorted(pipelines.glob("**/dvc.*"))
        if (path := PurePosixPath(file.relative_to(workspace.root).as_posix())).name in unneeded
        and path.with_name("dvc.yaml") not in wanted
        and _is_ours(file.with_name("dvc.yaml"))
    ]
    if not check:
        for path in changed:
            write_text(workspace.root / path, wanted[path])
        for path in stale:
            (workspace.root / path).unlink()
    return changed + stale


def _is_ours(path: Path) -> bool:
    """Return whether the harness may write a dvc.yaml: its own, or none yet. A workspace may have others."""
    return _text(path)[: len(HEADING)] in ("", HEADING)


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _flat(entries: _Entries) -> Stages:
    found: Stages = {}
    for name, entry in entries.items():
        found |= dict(entry.stages(name)) if isinstance(entry, Family) else {name: entry}
    return found


def _entries(workspace: Workspace) -> dict[PurePosixPath, _Entries]:
    """Make what stands below ``stages`` in every dvc.yaml."""
    checkout = is_checkout(workspace.root)
    tables = workspace.tables()
    methods = workspace.methods()
    found = plans(tables.values(), methods)
    writer = _Writer(workspace, methods, checkout)
    files: dict[PurePosixPath, _Entries] = {}
    by_folder: dict[PurePosixPath, list[Plan]] = defaultdict(list)
    for plan in found:
        by_folder[PurePosixPath("pipelines", plan.group.task, plan.group.dataset)].append(plan)
    for folder, of_folder in by_folder.items():
        for number, start in enumerate(range(0, len(of_folder), MOST_GROUPS), 1):
            part = folder if number == 1 else folder / f"part{number}"
            entries = writer.group_stages(of_folder[start : start + MOST_GROUPS], part)
            first = writer.input_stages(of_folder, part) if number == 1 else {}
            files[part / "dvc.yaml"] = {**first, **entries}
    images = {plan.group.dataset for plan in found}
    images |= {name for plan in found for name in methods[plan.group.method].released}
    for task, families in writer.training_stages().items():
        # A dataset may be called like that, too.
        files.setdefault(PurePosixPath("pipelines", task, "training", "dvc.yaml"), {}).update(families)
        images |= {item["data"] for family in families.values() for item in family.items.values()}
    weights = {name for plan in found for name in _fetched_weights(methods[plan.group.method])}
    costs = {name for table in tables.values() for name in counted(table, methods)}
    for kind, names in (("datasets", images), ("weights", weights)):
        if names:
            files[PurePosixPath("pipelines", kind, "dvc.yaml")] = {"fetch": writer.fetch_stages(kind, names)}
    if costs:
        files[PurePosixPath("pipelines/cost/dvc.yaml")] = {"cost": writer.cost_stages(costs)}
    # A bare `dvc repro` makes what is at the top: outside a checkout the user's own tables, too.
    top = {TOP_LEVEL} if checkout else {TOP_LEVEL, *workspace.table_files}
    if not _is_ours(workspace.root / "dvc.yaml"):
        top = set()
    for table in tables.values():
        folder = PurePosixPath() if table.name in top else PurePosixPath("pipelines/tables", table.name)
        files.setdefault(folder / "dvc.yaml", {})[table.name] = writer.table_stage(table, folder)
    files[PurePosixPath("pipelines/code/dvc.yaml")] = {"code": writer.code_stage()}
    return dict(sorted(files.items()))


class _Writer:
    def __init__(self, workspace: Workspace, methods: Mapping[str, Method], checkout: bool) -> None:
        self._workspace = workspace
        self._checkout = checkout
        self._methods = methods
        self._training_plans = read_training_plans(workspace.root)

    def input_stages(self, found: Iterable[Plan], folder: PurePosixPath) -> dict[str, Family]:
        """Make the inputs of a dataset; only those of a random degradation depend on the number of noise draws."""
        levels: dict[Group, set[int]] = defaultdict(set)
        for plan in found:
            levels[msgspec.structs.replace(plan.group, method="any", policy="any", saving="round")].update(plan.levels)
        families = {}
        kinds: dict[tuple[str, bool, tuple[str, ...]], dict[str, Group]] = defaultdict(dict)
        for group in levels:
            random, own = degradation(group.degradation).random, tuple(defined_by(group))
            name = f"{'own-' if own else ''}{'noisy-' if random else ''}inputs" + (
                f"-{group.degradation}" if own else ""
            )
            kinds[name, random, own][group.degradation] = group
        for (name, random, own), groups in sorted(kinds.items()):
            task, dataset = folder.parts[1:3]
            inputs = _command("stage", "inputs", "--task", task, "--dataset", dataset)
            families[name] = Family(
                {
                    **_wdir(folder),
                    "cmd": f"{inputs} --degradation ${{item.degradation}} --levels ${{item.levels}}",
                    "deps": [f"data/manifests/datasets/{dataset}.json", "work/code/inputs.json", *own],
                    **({"params": ["noise"]} if random else {}),
                    "outs": [f"work/inputs/{task}/{dataset}/${{item.degradation}}.json"],
                },
                {name: {"degradation": name, "levels": _numbers(levels[group])} for name, group in groups.items()},
                {name: Step("", "inputs", f"inputs {dataset}") for name in groups},
            )
        return families

    def group_stages(self, found: Iterable[Plan], folder: PurePosixPath) -> _Entries:
        """Restore and measure groups of one task and dataset; those that need as many files share a text."""
        by_count: dict[tuple[int, tuple[str, ...]], dict[str, Plan]] = defaultdict(dict)
        families: dict[str, Family | dict[str, Any]] = {}
        for plan in found:
            key, needs = _key(plan.group), self._needs(plan)
            own = defined_by(plan.group)
            if not own and not any("${" in path for path in needs):
                by_count[len(needs), _own_metrics(plan)][key] = plan
                continue
            # DVC has no way to write that in a variable; where it stands in the stage itself it can be escaped.
            for verb, family in zip(
                ("restore", "measure"), self._families({key: plan}, folder, len(needs), ""), strict=True
            ):
                ((_, stage),) = family.stages(verb)
                deps = [path.replace("${", r"\${") for path in stage["deps"]]
                families[f"{verb}-{key}"] = stage | {"deps": deps + own}
        for (count, metrics), of_count in sorted(by_count.items()):
            # Two hyphens stand in no name, so no two lists of metrics make one suffix.
            suffix = ("" if count == 1 else f"-from-{count}") + (f"-with-{'--'.join(metrics)}" if metrics else "")
            restore, measure = self._families(of_count, folder, count, f"groups{suffix.replace('-', '_')}")
            families |= {f"restore{suffix}": restore, f"measure{suffix}": measure}
        return families

    def _families(
        self, found: Mapping[str, Plan], folder: PurePosixPath, needs: int, variable: str
    ) -> tuple[Family, Family]:
        task, dataset = folder.parts[1:3]
        items: dict[str, dict[str, Any]] = {
            key: {
                "method": plan.group.method,
                "policy": plan.group.policy,
                "degradation": plan.group.degradation,
                "saving": plan.group.saving,
                "levels": _numbers(plan.levels),
                "protocols": ",".join(plan.protocols),
                "place": plan.group.place.relative_to(f"{task}/{dataset}").as_posix(),
                "needs": self._needs(plan),
            }
            for key, plan in found.items()
        }
        # What all of several items share stands in the text itself.
        shared = {
            word: text
            for word, text in next(iter(items.values())).items()
            if len(items) > 1 and isinstance(text, str) and all(item[word] == text for item in items.values())
        }
        items = {key: {w: text for w, text in item.items() if w not in shared} for key, item in items.items()}

        def word(name: str) -> str:
            return shared.get(name, f"${{item.{name}}}")

        where = ["--task", task, "--dataset", dataset]
        what = "".join(f" --{name} {word(name)}" for name in ("degradation", "method", "policy", "saving"))
        place = f"{task}/{dataset}/{word('place')}"
        manifest = f"data/manifests/datasets/{dataset}.json"
        restore = Family(
            {
                **_wdir(folder),
                "cmd": f"{_command('stage', 'restore', *where)}{what} --levels {word('levels')}",
                "deps": [
                    f"work/inputs/{task}/{dataset}/{word('degradation')}.json",
                    f"work/code/method-{word('method')}.json",
                    *(f"${{item.needs[{number}]}}" for number in range(needs)),
                ],
                "outs": [f"work/restored/{place}"],
            },
            items,
            {
                key: Step(
                    "",
                    "restore",
                    f"restore {plan.group.method} {dataset}",
                    group=plan.group,
                    gpu=self._methods[plan.group.method].on == "tensor",
                )
                for key, plan in found.items()
            },
            variable,
        )
        own = _own_metrics(next(iter(found.values())))
        metrics = [f"work/code/metric-{name}.json" for name in own]
        measure = Family(
            {
                **_wdir(folder),
                "cmd": f"{_command('stage', 'measure', *where)}{what} --protocols {word('protocols')}",
                "deps": [manifest, f"work/restored/{place}", "work/code/measure.json", *metrics],
                "outs": [f"work/rows/{place}.csv", f"work/rows/{place}.json"],
            },
            items,
            {
                key: Step("", "measure", f"measure {plan.group.method} {dataset}", group=plan.group)
                for key, plan in found.items()
            },
            variable,
        )
        return restore, measure

    def _needs(self, plan: Plan) -> list[str]:
        """List the files beside inputs and code that a group is restored with: weights, released images, its own."""
        method = self._methods[plan.group.method]
        found = [f"data/manifests/weights/{name}.json" for name in _fetched_weights(method)]
        found += [f"data/manifests/datasets/{name}.json" for name in method.released]
        # Those elsewhere are part of the method's fingerprint.
        found += [self._relative(path) for path in method.depends if is_own(self._workspace.root, path)]
        found += self._trained(plan)
        # One that needs nothing reads the images as its inputs do, and so shares the text of most others.
        return found or [f"data/manifests/datasets/{plan.group.dataset}.json"]

    def _trained(self, plan: Plan) -> list[str]:
        """Folders of the trained weights that a group is restored with."""
        method = self._methods[plan.group.method]
        if method.origin != "trained":
            return []
        runs = [TrainingRun(plan.group.task, method.name, level) for level in plan.levels]
        found = [run for run in runs if (run.task, run.level) in method.trained]
        return [trained_folder(Path(), run, run in self._training_plans).as_posix() for run in found]

    def training_stages(self) -> dict[str, dict[str, Family]]:
        """Make a stage ``train`` per task, with an instance ``train@<method>-<level>`` per planned run.

        Runs that start from the weights of another are instances of ``train-from``, those on two sets of ``train-on2``.
        """
        items: dict[tuple[str, str], dict[str, dict[str, str]]] = defaultdict(dict)
        for run, training_plan in self._training_plans.items():
            method = self._methods.get(run.method)
            if method is None or run.task not in method.recipes:
                raise HarnessError(f"{PLANS}: no method trains '{run.name}'; `harness train --list` shows what can be")
            name = method.recipes[run.task]
            start = parse_run(training_plan.start) if training_plan.start else None
            mix = overridden(recipe(name), training_plan.recipe).mix
            family = ("train" if start is None else "train-from") + (f"-on{1 + len(mix)}" if mix else "")
            item = items[run.task, family][f"{run.method}-{run.level}"] = {
                "run": run.name,
                "recipe": self._recipe(name),
                "data": dataset_of(training_plan.data or recipe(name).data).name,
                "place": str(run.place),
            }
            if start is not None:
                item["start"] = trained_folder(Path(), start, start in self._training_plans).as_posix()
            for number, further in enumerate(mix, 2):
                item[f"data{number}"] = f"data/manifests/datasets/{dataset_of(further).name}.json"
        do: dict[str, Any] = {
            "wdir": "../../..",
            "cmd": "harness stage train ${item.run}",
            "deps": ["${item.recipe}", "data/manifests/datasets/${item.data}.json"],
            "params": [{PLANS: ["runs.${item.run}"]}],
            "outs": ["work/trained/${item.place}"],
        }
        found: dict[str, dict[str, Family]] = defaultdict(dict)
        for (task, family), of_task in items.items():
            steps = {key: Step("", "train", f"train {item['run']}", gpu=True) for key, item in of_task.items()}
            some = next(iter(of_task.values()))
            more = [f"${{item.{key}}}" for key in some if key not in ("run", "recipe", "data", "place")]
            found[task][family] = Family({**do, "deps": [*do["deps"], *more]}, of_task, steps)
        return found

    def _recipe(self, name: str) -> str:
        file = recipe_file(name)
        if self._checkout or not file.is_relative_to(PACKAGE):
            return self._relative(file)
        return f"work/code/recipe-{name}.json"

    def code_stage(self) -> dict[str, Any]:
        """Make the stage that looks at the sources; every other depends on a small file, so DVC has little to check.

        Where some code is installed outside the workspace it always runs, which takes a second.
        """
        files = {file for method in self._methods.values() for file in method_code(method)}
        registries = [registry_of(kind) for kind in ("task", "degradation", "metric")]
        sources = [registry.source(name) for registry in registries for name in registry.files]
        files |= {file for source in sources if source is not None for file in code_files(source)}
        plugins = {file for file in files if not file.is_relative_to(PACKAGE)}
        own = {file for file in plugins if is_own(self._workspace.root, file)}
        read = [path for method in self._methods.values() for path in method.depends]
        elsewhere = plugins != own or not all(is_own(self._workspace.root, path) for path in read)
        deps = [*(["harness"] if self._checkout else []), *sorted(self._in_text(file) for file in own)]
        return {
            "wdir": "../..",
            "cmd": Step("harness stage code", CODE_VERB, "code"),
            **({"deps": deps} if deps else {}),
            # Plugins' metrics depend on files and packages that no list here names.
            **({} if self._checkout and not elsewhere and not OWN_METRICS else {"always_changed": True}),
            "outs": ["work/code"],
        }

    def _relative(self, path: Path) -> str:
        """Write the path of a file in the workspace relative to it."""
        root, path = self._workspace.root.resolve(), path.resolve()
        if not path.is_relative_to(root):
            raise HarnessError(f"{path}: lies outside the workspace {root}; move it there, so that DVC can track it")
        return path.relative_to(root).as_posix()

    def _in_text(self, path: Path) -> str:
        return self._relative(path).replace("${", r"\${")  # DVC would put a parameter there

    def fetch_stages(self, kind: str, names: Iterable[str]) -> Family:
        # Always run: whether a mirror or a network is there now cannot be seen in a file. It takes a tenth of a second.
        return Family(
            {
                "wdir": "../..",
                "cmd": f"harness {kind} fetch ${{item}}",
                "always_changed": True,
                "outs": [f"data/manifests/{kind}/${{item}}.json"],
            },
            {name: name for name in sorted(names)},
            {name: Step("", kind, f"{kind} fetch {name}", name=name) for name in names},
        )

    def cost_stages(self, names: Iterable[str]) -> Family:
        return Family(
            {
                "wdir": "../..",
                "cmd": "harness stage cost ${item}",
                "deps": ["work/code/cost-${item}.json"],
                "outs": ["work/cost/${item}.json"],
            },
            {name: name for name in sorted(names)},
            {name: Step("", "cost", f"cost {name}", name=name) for name in names},
        )

    def table_stage(self, table: Table, folder: PurePosixPath) -> dict[str, Any]:
        found = plans([table], self._methods)
        kept = _OnOneLine({"cache": False, "persist": True})
        # The record of rows holds their checksum.
        rows = [f"work/rows/{plan.group.place}.json" for plan in found]
        rows += [f"work/cost/{name}.json" for name in counted(table, self._methods)]
        rows += [trained for plan in found for trained in self._trained(plan)]
        own = self._workspace.table_files.get(table.name)
        if own is not None:
            source = self._in_text(own)
        elif self._checkout:
            source = f"harness/{table_file(table.name).relative_to(PACKAGE).as_posix()}"
        else:
            source = f"work/code/table-{table.name}.json"
        return {
            **_wdir(folder),
            "cmd": Step(_command("stage", "render", table.name), "render", f"render {table.name}", name=table.name),
            "deps": [source, *rows, "work/code/render.json"],
            "outs": [{f"results/{table.name}{suffix}": kept} for suffix in RESULT_SUFFIXES],
            "metrics": [{f"results/metrics/{table.name}.json": kept}],
        }


def _key(group: Group) -> str:
    """Name a group in its task and dataset."""
    name = group.name
    return name if group.degradation == TASKS[group.task].degradation else f"{name}--{group.degradation}"


def _fetched_weights(method: Method) -> tuple[str, ...]:
    """Names in the weights registry that a method loads."""
    return () if method.origin == "trained" else method.weights


def _command(*words: str) -> str:
    """Write a command of the harness; a shell reads it, so every word is quoted that needs it."""
    return shlex.join(["harness", *words])


def _wdir(folder: PurePosixPath) -> dict[str, str]:
    """Let a stage run in the workspace's folder."""
    return {"wdir": _up(folder)} if folder.parts else {}


def _up(folder: PurePosixPath) -> str:
    return "/".join([".."] * len(folder.parts))


def _own_metrics(plan: Plan) -> tuple[str, ...]:
    """Name the plugins' metrics that a plan measures."""
    return tuple(sorted({own.name for name in plan.protocols if (own := protocol(name).own) is not None}))


def _numbers(levels: set[int] | tuple[int, ...]) -> str:
    return ",".join(str(level) for level in sorted(levels))


class _OnOneLine(dict[str, Any]):
    """A mapping that is written on one line."""


class _ListOnOneLine(list[Any]):
    """A list that is written on one line."""


class _ManyToALine(list[Any]):
    """A list of which as many items are written on a line as it takes."""


def _to_yaml(entries: _Entries, plots: list[dict[str, Any]]) -> str:
    import yaml

    lists: list[str] = []

    class Dumper(getattr(yaml, "CSafeDumper", yaml.SafeDumper)):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: Any, value: str) -> Any:
        style = '"' if _LIKE_A_NUMBER.fullmatch(value) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    def wrapped(dumper: Any, value: list[str]) -> Any:
        items = [yaml.dump([item], Dumper=Dumper, default_flow_style=True, width=10**6)[1:-2] for item in value]
        lines = [""]
        for item in items:
            if len(lines[-1]) + len(item) > LINE:
                lines.append("")
            lines[-1] += f"{item}, "
        lists.append("\n".join(f"      {line.rstrip()}" for line in lines))
        return dumper.represent_str(f"LIST-{len(lists)}")

    Dumper.add_representer(str, text)
    Dumper.add_representer(Step, lambda dumper, step: dumper.represent_str(step.command))
    Dumper.add_representer(_OnOneLine, lambda dumper, value: dumper.represent_mapping(_MAP, value, flow_style=True))
    Dumper.add_representer(_ManyToALine, wrapped)
    Dumper.add_representer(
        _ListOnOneLine, lambda dumper, items: dumper.represent_sequence(_SEQ, items, flow_style=True)
    )
    variables: dict[str, Any] = {}
    stages: dict[str, Any] = {}
    for name, entry in entries.items():
        if not isinstance(entry, Family):
            long = len(entry.get("deps", ())) > LONG_LIST
            stages[name] = entry | ({"deps": _ManyToALine(entry["deps"])} if long else {})
            continue
        items: Any = {key: item if isinstance(item, str) else _OnOneLine(item) for key, item in entry.items.items()}
        if all(key == item for key, item in items.items()):
            items = _ManyToALine(items)
        if entry.variable:
            variables[entry.variable] = items
            items = f"${{{entry.variable}}}"
        do = {key: _ListOnOneLine(value) if isinstance(value, list) else value for key, value in entry.do.items()}
        stages[name] = {"foreach": items, "do": do}
    whole: dict[str, Any] = {"vars": [{name: items} for name, items in variables.items()]} if variables else {}
    whole["stages"] = stages
    if plots:
        whole["plots"] = plots
    written = yaml.dump(whole, Dumper=Dumper, sort_keys=False, width=10**6, allow_unicode=True)
    for number, lines in enumerate(lists, 1):
        written = written.replace(f" LIST-{number}\n", f" [\n{lines}\n    ]\n")
    return HEADING + written
