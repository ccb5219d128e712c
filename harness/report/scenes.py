"""Scenes for looking: what several methods made of the same degraded images, those first on which they disagree most.

A *scene* is a task, dataset and level.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from harness.methods import Method
from harness.records.cells import FIRST_DRAW, Group
from harness.records.restored import RECORD
from harness.tables.measurements import Measurements
from harness.tables.workspace import Workspace

# Methods that restore nothing: their output is the input.
UNCHANGED = frozenset({"noisy", "jpeg", "mosaiced", "blurry", "rainy"})


class SceneMethod(msgspec.Struct, frozen=True):
    """A method of a scene: what restored the images, and the protocol (PSNR) of its row."""

    group: Group
    title: str
    protocol: str


class Scene(msgspec.Struct, frozen=True):
    """Methods that restored the same images at the same level.

    Attributes
    ----------
    task, dataset, level : str, str, int
        What was restored.
    members : tuple of SceneMethod
        Methods, in the order of the tables.
    images : tuple of str
        Every image that all of them restored, those first on which they disagree most.
    values : dict
        PSNR of the whole image (every digit of the measured row), by group and image.
    """

    task: str
    dataset: str
    level: int
    members: tuple[SceneMethod, ...]
    images: tuple[str, ...]
    values: dict[Group, dict[str, float]]

    @property
    def restoring(self) -> int:
        """Number of methods that do more than hand the input back."""
        return sum(member.group.method not in UNCHANGED for member in self.members)


class Restored(msgspec.Struct, frozen=True):
    """A group's restored level that is asked for by a table, with the PSNR protocol of its row."""

    group: Group
    level: int
    protocol: str


def find_scenes(workspace: Workspace, restored: Iterable[Restored], methods: dict[str, Method]) -> list[Scene]:
    """Group what was restored here into scenes, those with most methods first.

    Parameters
    ----------
    workspace : Workspace
        Where the images and rows lie.
    restored : iterable of Restored
        What tables ask for; what has no images here is left out.
    methods : dict
        For their titles.
    """
    measurements = Measurements(workspace.work)
    found: dict[tuple[str, str, int], list[Restored]] = defaultdict(list)
    files: dict[tuple[Group, int], frozenset[str]] = {}
    for item in dict.fromkeys(restored):
        there = files.setdefault((item.group, item.level), restored_images(workspace, item.group, item.level))
        if there:
            found[item.group.task, item.group.dataset, item.level].append(item)
    scenes = []
    for (task, dataset, level), items in found.items():
        values = {}
        for item in items:
            measured = measurements.images(item.group, level, item.protocol)
            there = files[item.group, level]
            values[item.group] = {image: value for image, value in measured.items() if image in there}
        items = [item for item in items if values[item.group]]
        if not items:
            continue
        members = _members(items, methods)
        images = set.intersection(*(set(values[member.group]) for member in members))
        ranked = sorted(images, key=lambda image: (-_disagreement(image, members, values), image))
        if ranked:
            scenes.append(Scene(task, dataset, level, members, tuple(ranked), values))
    return sorted(scenes, key=lambda s: (-min(s.restoring, 2), s.task, s.dataset, s.level))


def restored_images(workspace: Workspace, group: Group, level: int) -> frozenset[str]:
    """Names of the images of noise draw 0 whose restored files are here; none without the record of what made them."""
    folder = workspace.work / "restored" / group.place
    if not (folder / RECORD).is_file():
        return frozenset()
    return frozenset(file.stem for file in (folder / str(level) / f"draw{FIRST_DRAW}").glob("*.png"))


def _members(items: Sequence[Restored], methods: dict[str, Method]) -> tuple[SceneMethod, ...]:
    """Name the methods of a scene; what tells two runs of one method apart becomes part of its name."""
    first: dict[Group, Restored] = {}
    for item in items:
        first.setdefault(item.group, item)
    titles: dict[Group, str] = {}
    for group in first:
        method = methods.get(group.method)
        titles[group] = method.title if method else group.method
    members = []
    for group, item in first.items():
        others = [other for other in first if other != group and titles[other] == titles[group]]
        told = [
            getattr(group, field)
            for field in ("policy", "saving", "degradation")
            if any(getattr(other, field) != getattr(group, field) for other in others)
        ]
        members.append(SceneMethod(group, titles[group] + (f" ({', '.join(told)})" if told else ""), item.protocol))
    return tuple(members)


def _disagreement(image: str, members: Sequence[SceneMethod], values: dict[Group, dict[str, float]]) -> float:
    """How far apart the methods are on an image, in dB; for a single method, how bad it is."""
    own = [values[m.group][image] for m in members if m.group.method not in UNCHANGED]
    if len(own) > 1:
        return max(own) - min(own)
    return -(own or [values[m.group][image] for m in members])[0]
