"""What is computed, by name: groups of cells, single inputs, noise draws.

These identities are shared by every step, from making inputs to tables; they hold no results.
"""

from __future__ import annotations

from pathlib import PurePosixPath

import msgspec

from harness.errors import unknown_name
from harness.names import check_name

FIRST_DRAW = 0


SAVINGS = ("round", "truncate", "unrounded")


class Group(msgspec.Struct, frozen=True, order=True):
    """Cells that one process restores: a method on a dataset under one degradation and policy, at every level.

    `saving`: How restored pixels are kept: ``round`` or ``truncate`` to 8 bits, or ``unrounded`` (in steps of 1/256 of
        a gray level), for rows that were printed without the detour over an 8-bit image.
    """

    task: str
    dataset: str
    degradation: str
    method: str
    policy: str
    saving: str = "round"

    def __post_init__(self) -> None:
        """Refuse what could not stand in a path and a command line as it is, wherever it was read."""
        for kind in ("task", "dataset", "degradation", "method"):
            check_name(getattr(self, kind), kind)
        for word in self.policy.split("+"):
            check_name(word, "policy")
        if self.saving not in SAVINGS:
            raise unknown_name("saving rule", self.saving, SAVINGS)

    @property
    def name(self) -> str:
        """Method, policy, and an unusual saving rule: ``dncnn--whole``, ``prenet--whole--truncate``."""
        return f"{self.method}--{self.policy}" + ("" if self.saving == "round" else f"--{self.saving}")

    @property
    def place(self) -> PurePosixPath:
        """Path of the group's files below the folders of each stage."""
        return PurePosixPath(self.task, self.dataset, self.degradation, self.name)


class InputId(msgspec.Struct, frozen=True, order=True):
    """Which input: level (sigma, quality, scale or 0), noise draw, image."""

    level: int
    draw: int
    image: str

    @property
    def file(self) -> str:
        """Relative path of the image restored from this input, such as ``50/draw0/kodim01.png``."""
        return f"{self.level}/draw{self.draw}/{self.image}.png"


class NoiseDraws(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many noise draws are made.

    `further_draws`: Draws beside draw 0, for estimating the spread between draws; 0 makes none.
    `images`: On how many images of a set the further draws are made.
    """

    further_draws: int = 2
    images: int = 6


def input_ids(images: list[str], levels: tuple[int, ...], random: bool, noise: NoiseDraws) -> list[InputId]:
    """List the inputs of a dataset, level by level.

    Further noise draws are made on `noise.images` images spread evenly over the set.
    """
    ids = [InputId(level, FIRST_DRAW, image) for level in levels for image in images]
    if random and noise.further_draws and noise.images:
        count = min(noise.images, len(images))
        spread = [images[index] for index in _evenly(len(images), count)]
        draws = range(FIRST_DRAW + 1, FIRST_DRAW + 1 + noise.further_draws)
        ids += [InputId(level, draw, image) for level in levels for draw in draws for image in spread]
    return sorted(ids, key=lambda i: (i.level, i.draw, images.index(i.image)))


def _evenly(length: int, count: int) -> list[int]:
    """Choose `count` of `length` indices, evenly spread, first and last included."""
    if count < 2:
        return list(range(count))
    return [round(step * (length - 1) / (count - 1)) for step in range(count)]
