"""Scenes for looking: what several methods made of the same degraded images, those first on which they disagree most.

A *scene* is a task, dataset and level.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

import msgspec

from harness.methods import Method
from harness.records.cells import FIRST_DRAW, Group
from harness.records.restored import RECORD
from harness.tables.measurements import Measurements
from harness.tables.workspace import Workspace

SceneId = tuple[str, str, int]
"""A scene: task, dataset and level."""

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
    def id(self) -> SceneId:
        """What names a scene."""
        return self.task, self.dataset, self.level

    @property
    def restoring(self) -> int:
        """Number of methods that do more than hand the input back."""
        return sum(member.group.method not in UNCHANGED for member in self.members)

    @property
    def order(self) -> str:
        """Say in which order the images stand."""
        if self.restoring > 1:
            same = len({member.protocol for member in self.members}) == 1
            under = "" if same else ", each under its own protocol,"
            return f"Images on which the methods lie farthest apart in PSNR{under} stand first."
        return f"Images on which {self._told.title} has the lowest PSNR stand first."

    def about(self, image: str) -> str:
        """Say by what an image has its place in the order."""
        value = _disagreement(image, self.values)
        return f"{value:.2f} dB apart" if self.restoring > 1 else f"{-value:.2f} dB"

    @property
    def _told(self) -> SceneMethod:
        """Of a scene that compares nothing, the method whose PSNR orders the images."""
        return next((member for member in self.members if member.group.method not in UNCHANGED), self.members[0])


def find_scenes(
    workspace: Workspace,
    restored: Iterable[tuple[Group, int, str]],
    methods: Mapping[str, Method],
    measurements: Measurements,
) -> list[Scene]:
    """Group what was restored here into scenes, those with most methods first.

    Parameters
    ----------
    workspace : Workspace
        Where the images lie.
    restored : iterable of (Group, int, str)
        What tables ask for: groups, levels and PSNR protocols, of which the first counts; what has no images here is
        left out.
    methods : mapping
        For their titles.
    measurements : Measurements
        The rows.
    """
    asked: dict[SceneId, dict[Group, str]] = defaultdict(dict)
    for group, level, protocol in restored:
        asked[group.task, group.dataset, level].setdefault(group, protocol)
    scenes = []
    for (task, dataset, level), protocols in asked.items():
        values: dict[Group, dict[str, float]] = {}
        for group, protocol in protocols.items():
            there = restored_images(workspace, group, level)
            measured = measurements.images(group, level, protocol)
            if shown := {image: value for image, value in measured.items() if image in there}:
                values[group] = shown
        if not values:
            continue
        members = _members({group: protocols[group] for group in values}, methods)
        images = set.intersection(*map(set, values.values()))
        ranked = sorted(images, key=lambda image: (-_disagreement(image, values), image))
        if ranked:
            scenes.append(Scene(task, dataset, level, members, tuple(ranked), values))
    return sorted(scenes, key=lambda s: (-min(s.restoring, 2), s.task, s.dataset, s.level))


def restored_images(workspace: Workspace, group: Group, level: int) -> frozenset[str]:
    """Names of the images of noise draw 0 whose restored files are here; none without the record of what made them."""
    folder = workspace.work / "restored" / group.place
    if not (folder / RECORD).is_file():
        return frozenset()
    return frozenset(file.stem for file in (folder / str(level) / f"draw{FIRST_DRAW}").glob("*.png"))


def _members(protocols: Mapping[Group, str], methods: Mapping[str, Method]) -> tuple[SceneMethod, ...]:
    """Name the methods of a scene; what tells two runs of one method apart becomes part of its name."""
    titles = {group: methods[group.method].title if group.method in methods else group.method for group in protocols}
    members = []
    for group, protocol in protocols.items():
        same = [other for other in protocols if titles[other] == titles[group]]
        fields = ("policy", "saving", "degradation")
        differing = [getattr(group, field) for field in fields if len({getattr(other, field) for other in same}) > 1]
        title = titles[group] + (f" ({', '.join(differing)})" if differing else "")
        members.append(SceneMethod(group, title, protocol))
    return tuple(members)


def _disagreement(image: str, values: Mapping[Group, Mapping[str, float]]) -> float:
    """How far apart the methods are on an image, in dB; for a single method, how bad it is."""
    own = [measured[image] for group, measured in values.items() if group.method not in UNCHANGED]
    if len(own) > 1:
        return max(own) - min(own)
    return -(own or [measured[image] for measured in values.values()])[0]
