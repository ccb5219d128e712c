"""Training curves: the logs that runs leave, as curves over iterations.

A log is a CSV file named ``log.csv`` with a column ``iteration``; every other numeric column is a curve. Logs are
looked for below ``work/trained``, ``work/training`` and ``weights``.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import msgspec

from harness.report.facts import Fact, plain_facts
from harness.tables.workspace import Workspace
from harness.training.logs import log_lines

LOG = "log.csv"

# More points than pixels say nothing.
_MOST_POINTS = 400


class Curve(msgspec.Struct, frozen=True):
    """A column of a log: its name and (iteration, value) of every line that has a value."""

    name: str
    points: tuple[tuple[float, float], ...]


class TrainingCurves(msgspec.Struct, frozen=True):
    """A run: its name (the folder), what was recorded of it, its curves."""

    name: str
    facts: tuple[Fact, ...]
    curves: tuple[Curve, ...]


def read_training_runs(workspace: Workspace) -> list[TrainingCurves]:
    """Read every log of a workspace, sorted by name; runs without a usable line are left out."""
    roots = [workspace.work / "trained", workspace.work / "training", workspace.root / "weights"]
    runs = []
    for file, root in ((file, folder) for folder in roots for file in sorted(folder.rglob(LOG))):
        if curves := read_curves(file):
            name = f"{root.name}/{file.parent.relative_to(root).as_posix()}"
            facts = tuple(fact for record in sorted(file.parent.glob("*.json")) for fact in plain_facts(record))
            runs.append(TrainingCurves(name, facts, tuple(curves)))
    return runs


def read_curves(file: Path) -> list[Curve]:
    """Read the numeric columns of a log; lines that a killed run left half-written are passed over."""
    points: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for line in log_lines(file):
        iteration = _number(line.get("iteration"))
        if iteration is None:
            continue
        for name, value in line.items():
            number = _number(value)
            if name and name != "iteration" and number is not None:
                points[name].append((iteration, number))
    return [Curve(name, tuple(_thinned(found))) for name, found in points.items() if len(found) > 1]


def _number(text: Any) -> float | None:
    try:
        number = float(text)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _thinned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    step = max(1, math.ceil(len(points) / _MOST_POINTS))
    return points[::step] + ([points[-1]] if (len(points) - 1) % step else [])
