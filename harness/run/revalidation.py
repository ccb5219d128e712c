"""Keeping restored images whose code has changed, where a sample restored by the new code is equal to the last pixel.

Every edit of shared code makes every restored image outdated, and restoring them all again takes hours. An edit that
was meant to change no pixel can be tried on some images of each group instead; DVC is then told that the rest stands.
What was tried is recorded with the run that made the images.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Any

import msgspec

from harness.assets.inputs import read_inputs
from harness.errors import HarnessError
from harness.methods import Method
from harness.methods.fingerprints import fingerprint, method_code
from harness.records.cells import Group, InputId
from harness.records.restored import RECORD, RestoredRecord, read_restored
from harness.records.runs import Confirmation, git_state, read_run, write_run
from harness.run.graph import stage_graph, stages_of
from harness.run.pipeline import pipeline_stages
from harness.run.reproduction import run_dvc
from harness.run.restore import restore
from harness.tables.requests import Plan, plans
from harness.tables.workspace import Workspace

CODE_STAGE = "pipelines/code/dvc.yaml:code"


class RevalidatedGroup(msgspec.Struct, frozen=True):
    """What became of a group.

    `verdict`: ``kept``, ``differs`` or ``left`` (something else than code has changed, or nothing is there to compare).
    `detail`: How many images were tried, or why not.
    """

    group: Group
    verdict: str
    detail: str


def revalidate(
    workspace: Workspace,
    tables: Iterable[str],
    *,
    images: int,
    say: Callable[[RevalidatedGroup], None] = lambda outcome: None,
) -> list[RevalidatedGroup]:
    """Try the present code on a sample of every outdated group; keep the groups whose samples are equal.

    `images`: Images of each level to restore again.
    `say`: Called with every outcome as it is known.
    Returns: Of the groups that were outdated.
    Raises HarnessError: DVC failed.
    """
    if run_dvc(workspace, ["repro", CODE_STAGE]):
        raise HarnessError("the fingerprints of the code could not be made; see above")
    methods = workspace.methods()
    wanted = plans([workspace.table(name) for name in tables], methods)
    restored = stages_of(stage_graph(pipeline_stages(workspace)), "restore", [plan.group for plan in wanted])
    found = dict(zip(restored, wanted, strict=True))
    outcomes: list[RevalidatedGroup] = []
    kept: dict[str, RevalidatedGroup] = {}
    for target, changed in _outdated(workspace, list(found)).items():
        plan = found[target]
        if not (workspace.work / "restored" / plan.group.place / RECORD).is_file():
            continue  # never restored here: there is nothing to keep
        outcome = _try(workspace, plan, methods[plan.group.method], changed, images)
        if outcome.verdict == "kept":
            kept[target] = outcome
        else:
            say(outcome)
            outcomes.append(outcome)
    # DVC records the files as they are now: none may have changed since its group was tried.
    since = _outdated(workspace, list(kept)) if kept else {}
    for target, outcome in list(kept.items()):
        if _others(outcome.group, since.get(target, ())):
            del kept[target]
            outcome = _left(outcome.group, since[target])
        say(outcome)
        outcomes.append(outcome)
    if kept and run_dvc(workspace, ["commit", "--force", *kept]):
        raise HarnessError("DVC could not record that the results stand; see above")
    return outcomes


def _outdated(workspace: Workspace, targets: list[str]) -> dict[str, set[str]]:
    """List the stages that DVC would run again, each with what it says has changed."""
    command = [sys.executable, "-m", "dvc", "status", "--json", *targets]
    done = subprocess.run(command, cwd=workspace.root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise HarnessError(f"DVC could not compare the results with the code: {done.stderr.strip()}")
    outdated: dict[str, set[str]] = {}
    for target, entries in json.loads(done.stdout or "{}").items():
        changed: set[str] = set()
        for entry in entries:
            changed |= _names(entry)
        outdated[target] = changed
    return {target: outdated[target] for target in targets if target in outdated}


def _names(entry: Any) -> set[str]:
    """Name what changed: paths, or what DVC says where it gives none (a changed command)."""
    if isinstance(entry, str):
        return {entry}
    return {path for paths in entry.values() for path in paths}


def _try(workspace: Workspace, plan: Plan, method: Method, changed: Collection[str], images: int) -> RevalidatedGroup:
    group = plan.group
    if _others(group, changed):
        return _left(group, changed)
    folder = workspace.work / "restored" / group.place
    run = read_run(workspace.work, group)
    if run is None:
        return RevalidatedGroup(group, "left", "the record of its run is not here")
    before = read_restored(folder)
    code = fingerprint(method_code(method))
    sample = _sample(before, images, code)
    if not sample and before.images:
        return RevalidatedGroup(group, "left", "no image to compare")
    with tempfile.TemporaryDirectory(dir=workspace.work) as scratch:
        again, _ = restore(
            group,
            method,
            plan.levels,
            read_inputs(workspace.work / "inputs" / group.task / group.dataset / f"{group.degradation}.json"),
            data=workspace.data,
            partial=Path(scratch, "partial"),
            target=Path(scratch, "restored"),
            noise=workspace.params.noise,
            code=code,
            only=sample,
        )
    if again.levels != before.levels or again.reason != before.reason:
        return RevalidatedGroup(group, "differs", "other levels can be restored, or other weights are used")
    different = [file for file, digest in again.images.items() if before.images[file] != digest]
    if different:
        return RevalidatedGroup(
            group, "differs", f"{len(different)} of {len(again.images)} images, such as {different[0]}"
        )
    revision, dirty = git_state(workspace.root)
    confirmation = Confirmation(code, len(again.images), len(before.images), revision, dirty)
    write_run(workspace.work, group, msgspec.structs.replace(run, confirmed=(*run.confirmed, confirmation)))
    return RevalidatedGroup(
        group, "kept", f"{len(again.images)} of {len(before.images)} images restored again, all equal"
    )


def _others(group: Group, changed: Collection[str]) -> list[str]:
    """List what has changed beside the code of a group's method."""
    return sorted(set(changed) - {f"work/code/method-{group.method}.json"})


def _left(group: Group, changed: Collection[str]) -> RevalidatedGroup:
    return RevalidatedGroup(group, "left", f"not only code has changed: {', '.join(_others(group, changed))}")


def _sample(record: RestoredRecord, images: int, code: str) -> list[InputId]:
    """Choose images of every level; other code chooses others, so that no image is tried again and again."""
    by_level: dict[int, list[InputId]] = {}
    for file in record.images:
        level, draw, image = file.split("/", 2)
        input_id = InputId(int(level), int(draw.removeprefix("draw")), image.removesuffix(".png"))
        by_level.setdefault(input_id.level, []).append(input_id)
    chosen = random.Random(code)
    return [input_id for ids in by_level.values() for input_id in chosen.sample(sorted(ids), min(images, len(ids)))]
