"""The stages of the generated pipelines as a graph: what a target needs, in which order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any

import msgspec

from harness.errors import HarnessError, unknown_name
from harness.records.cells import Group

# What the stage that writes fingerprints of code does.
CODE_VERB = "code"


class Step(msgspec.Struct, frozen=True):
    """What a stage does, and the command that does it.

    `command`: The command line, as a shell reads it.
    `verb`: The harness's subcommand: ``restore``, ``measure``, ``datasets`` …; empty for another program.
    `title`: The step for readers: verb, method, dataset or table.
    `gpu`: Whether it takes a GPU where there is one.
    `name`: The dataset or set of weights that is fetched, the method that is counted, the table that is rendered.
    """

    command: str
    verb: str = ""
    title: str = ""
    group: Group | None = None
    gpu: bool = False
    name: str = ""


class Node(msgspec.Struct, frozen=True):
    """A stage of a dvc.yaml.

    `address`: As DVC writes it: ``pipelines/sr/set5/dvc.yaml:measure@bicubic--whole``, or the bare name at the top
        level.
    `file`, `name`: The dvc.yaml, relative to the workspace, and the stage's name in it.
    `needs`: Addresses of the stages that make its dependencies.
    `outs`: What it makes, relative to the workspace.
    `always`: Whether it runs every time (fetching, and looking at code that is installed outside the workspace).
    """

    address: str
    file: str
    name: str
    step: Step
    needs: tuple[str, ...]
    outs: tuple[str, ...]
    always: bool

    @property
    def title(self) -> str:
        """The stage for readers."""
        return self.step.title or self.name


def address_of(file: PurePosixPath | str, name: str) -> str:
    """Write a stage's address as DVC does."""
    return name if str(file) == "dvc.yaml" else f"{file}:{name}"


def stage_graph(files: Mapping[PurePosixPath, Mapping[str, Mapping[str, Any]]]) -> dict[str, Node]:
    """Join the stages of every file: a stage needs those that make its dependencies, or something above or below them.

    `files`: Stages as they stand in each dvc.yaml, but for a `Step` in place of a command of the harness; dependencies
        and outputs are relative to the workspace.
    Returns: Nodes by address, in the files' order.
    """
    makes: dict[str, str] = {}
    for file, stages in files.items():
        for name, stage in stages.items():
            for out in stage.get("outs", ()):
                makes[_path(out)] = address_of(file, name)
    nodes = {}
    for file, stages in files.items():
        for name, stage in stages.items():
            address = address_of(file, name)
            needs = dict.fromkeys(
                maker for dep in stage.get("deps", ()) if (maker := _maker(dep, makes)) is not None and maker != address
            )
            nodes[address] = Node(
                address=address,
                file=str(file),
                name=name,
                step=stage["cmd"] if isinstance(stage["cmd"], Step) else Step(str(stage["cmd"])),
                needs=tuple(needs),
                outs=tuple(_path(out) for out in (*stage.get("outs", ()), *stage.get("metrics", ()))),
                always=bool(stage.get("always_changed")),
            )
    return nodes


def _path(out: Any) -> str:
    return next(iter(out)) if isinstance(out, Mapping) else str(out)


def _maker(path: str, makes: Mapping[str, str]) -> str | None:
    """Find the stage that makes a path, or the folder it lies in."""
    if path in makes:
        return makes[path]
    for folder in PurePosixPath(path).parents:
        if str(folder) in makes:
            return makes[str(folder)]
    return None


def stages_of(nodes: Mapping[str, Node], verb: str, subjects: Iterable[Group | str]) -> list[str]:
    """Find the stages that do something with groups, or with what is named; give their addresses in order.

    Raises HarnessError: There is none for one of them.
    """
    found = {node.step.group or node.step.name: address for address, node in nodes.items() if node.step.verb == verb}
    addresses = []
    for subject in subjects:
        if subject not in found:
            raise HarnessError(f"no stage does '{verb}' for {subject if isinstance(subject, str) else subject.place}")
        addresses.append(found[subject])
    return addresses


def stage_of(nodes: Mapping[str, Node], verb: str, subject: Group | str) -> str:
    """Find one stage as `stages_of` does."""
    return stages_of(nodes, verb, [subject])[0]


def needed(nodes: Mapping[str, Node], targets: Iterable[str]) -> dict[str, Node]:
    """List targets and everything they need, each stage after those it needs.

    Raises HarnessError: A target is no stage.
    """
    found: dict[str, Node] = {}
    todo = [(target, False) for target in reversed(list(targets))]
    while todo:
        address, ready = todo.pop()
        if address in found:
            continue
        if address not in nodes:
            raise unknown_name("stage", address, nodes)
        if ready:
            found[address] = nodes[address]
        else:
            todo.append((address, True))
            todo += [(need, False) for need in reversed(nodes[address].needs) if need not in found]
    return found
