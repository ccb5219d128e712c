"""Variants: everything that may have been different when a published number was made, by dimension.

A variant is a *making* of restored images (dataset variant, input, method, noise draw), a *finish* (how their samples
were kept) and a *reading* for each metric (luma, border, window, how a set's number is made of its images'). Nothing
here depends on a table's row: the lists follow from the task and from what is registered.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping

import msgspec

from harness.assets.datasets.registry import dataset, datasets
from harness.degradations import DEGRADATIONS, Bicubic, Degradation, Jpeg, Noise, degradation
from harness.methods import Method
from harness.protocols import LUMAS, METRICS, protocol
from harness.records.cells import FIRST_DRAW
from harness.records.tasks import TASKS

BORDERS = ("", "crop", "crop+6")
"""Borders that are tried: none, scale, scale + 6 pixels (the protocols of harness.protocols)."""

AVERAGES = ("mean", "pooled", "pooled by pixels")
"""How a set's number is made: mean of per-image values, PSNR of the mean MSE, PSNR of all pixels together."""

INDEPENDENT = "independent"
"""The noise scheme in which each image has a stream of its own, for each seed."""


class Finish(msgspec.Struct, frozen=True, order=True):
    """How a method's output was kept before it was measured.

    `saving`: ``round`` or ``truncate`` to 8 bits, ``unrounded`` (clipped to 0..255), ``raw`` (neither clipped nor
        rounded).
    `span`: ``full``: 0..255; ``studio``: clipped to 16..235 first, the range of MATLAB's luma (one-channel luma only).
    """

    saving: str = "round"
    span: str = "full"

    @property
    def label(self) -> str:
        """For readers."""
        return SAVING_LABELS[self.saving] + ("" if self.span == "full" else ", clipped to 16..235")


SAVING_LABELS = {
    "round": "8-bit, rounded",
    "truncate": "8-bit, truncated",
    "unrounded": "not rounded",
    "raw": "neither rounded nor clipped",
}
RANGES = {"full": "0..255", "studio": "16..235"}
FINISHES = tuple(Finish(saving, span) for span in RANGES for saving in SAVING_LABELS)


class NoiseDraw(msgspec.Struct, frozen=True, order=True):
    """Which noise: the scheme and its seed; an empty scheme where nothing is random.

    `scheme`: ``independent``: a stream of its own for each image. (The field of MATLAB's ``randn('seed', 0)`` is part
        of the degradations that use it, and no draw.)
    `seed`: Number of the draw.
    """

    scheme: str = ""
    seed: int = FIRST_DRAW

    @property
    def label(self) -> str:
        """For readers."""
        return f"{self.scheme}, seed {self.seed}" if self.scheme else ""


class Making(msgspec.Struct, frozen=True, order=True):
    """What made the restored images, up to how they were kept.

    `noise`: Which noise.
    `datasets`: For every dataset of the row the one that is used: itself, or a variant of it (``kodak24-crop500``).
    """

    degradation: str
    method: str
    policy: str
    noise: NoiseDraw
    datasets: tuple[tuple[str, str], ...]

    def used(self, dataset: str) -> str:
        """Name the dataset that stands in for a column's."""
        return dict(self.datasets)[dataset]


class Reading(msgspec.Struct, frozen=True, order=True):
    """How restored images became a number: the parts of a protocol's name, and how the set's number was made."""

    metric: str
    luma: str
    border: str
    average: str = "mean"

    @property
    def protocol(self) -> str:
        """The protocol's name; ``pooled by pixels`` has none of its own and is named like ``pooled``."""
        words = (self.metric, self.luma, self.border, "" if self.average == "mean" else "pooled")
        return "-".join(word for word in words if word)

    @property
    def label(self) -> str:
        """For readers: the protocol's name, and by what images are weighted where the name does not say it."""
        return self.protocol + (" (by pixels)" if self.average == "pooled by pixels" else "")


# YIQ is left out: its weights, and so its numbers, are those of the full-range luma to 1e-4.
_EVERY = tuple(Reading(*words) for words in itertools.product(METRICS, LUMAS, BORDERS) if "yiq" not in words[1])
PSNR_READINGS = tuple(reading for reading in _EVERY if reading.metric == "psnr")
SSIM_READINGS = tuple(reading for reading in _EVERY if reading.metric != "psnr")
"""The readings of one image; those of a set are `set_readings`."""


def set_readings(metric: str, same_size: bool) -> tuple[Reading, ...]:
    """List the readings of a set: PSNR also pooled, by pixels only where images differ in size."""
    if metric == "ssim":
        return SSIM_READINGS
    averages = AVERAGES[:2] if same_size else AVERAGES
    return tuple(msgspec.structs.replace(reading, average=average) for average in averages for reading in PSNR_READINGS)


def reading_of(name: str) -> Reading:
    """Turn a protocol's name into a reading; borders other than those tried are kept as they are."""
    parts = protocol(name)
    border = next((word for word in name.removeprefix(parts.metric).split("-") if word.startswith("crop")), "")
    return Reading(parts.metric, parts.luma, border, parts.aggregation)


def degradations_like(stated: str, task: str) -> list[str]:
    """List the degradations that a row may have been made with, the stated one first.

    They are of the same kind (noise, mosaic, JPEG, reduction), and gray where gray images are restored.
    """
    colour_only = task == "denoise-rgb"
    any_channels = TASKS[task].channels == 3 or task == "jpeg"

    def fits(other: Degradation) -> bool:
        colour = not (isinstance(other, Noise) and other.gray)
        return type(other) is type(degradation(stated)) and (colour or not colour_only) and (any_channels or not colour)

    return [stated, *(other.name for other in DEGRADATIONS.values() if other.name != stated and fits(other))]


def is_luma(used: Degradation) -> bool:
    """Whether a degradation's reference is MATLAB's luma, whose range is 16..235."""
    if isinstance(used, Noise):
        return used.gray == "luma"
    return isinstance(used, Jpeg | Bicubic) and used.source in ("y8", "y-truncated")


def dataset_variants(name: str) -> list[str]:
    """List a dataset and those made from it or from its base (the 500x500 crop of Kodak24), itself first."""
    base = dataset(name).base or name
    family = [base, *(record.name for record in datasets() if record.base == base)]
    return [name, *(other for other in family if other != name)]


def method_variants(name: str, task: str, methods: Mapping[str, Method]) -> list[str]:
    """List a method and its variants for a task: those whose title differs only in what stands in parentheses."""

    def stem(method: Method) -> str:
        return re.sub(r"\s*\([^)]*\)$", "", method.title)

    own = stem(methods[name])
    return [name, *(m.name for m in methods.values() if m.name != name and task in m.tasks and stem(m) == own)]


def makings(stated: Making, task: str, methods: Mapping[str, Method], seeds: int) -> list[Making]:
    """List every making of a row, those that differ least from the stated one first and other seeds last.

    `seeds` is the number of independent noise draws; the stated making has seed 0.
    """
    inputs, kinds = [stated.degradation], [stated.method]
    choices: Iterable[tuple[tuple[str, str], ...]] = [stated.datasets]
    # Released images and pairs were made once; there is no other input to restore.
    if methods[stated.method].on != "images":
        if stated.degradation != "pairs":
            inputs = degradations_like(stated.degradation, task)
        kinds = method_variants(stated.method, task, methods)
        choices = itertools.product(
            *([(column, used) for used in dataset_variants(column)] for column, _ in stated.datasets)
        )
    every = [
        Making(name, kind, stated.policy, draw, sets)
        for sets in choices
        for kind in kinds
        for name in inputs
        for draw in ([NoiseDraw(INDEPENDENT, n) for n in range(seeds)] if degradation(name).random else [NoiseDraw()])
    ]

    def order(making: Making) -> tuple[bool, int, int]:
        changed = (making.degradation != stated.degradation) + (making.method != stated.method)
        changed += sum(used != column for column, used in making.datasets)
        return making.noise.seed != stated.noise.seed, changed, making.noise.seed

    return sorted(every, key=order)


def making_dimensions(making: Making) -> dict[str, str]:
    """Name the value of a making in each of its dimensions."""
    return {
        "input": making.degradation,
        "method": making.method,
        "dataset": ", ".join(used for _, used in making.datasets),
        "noise draw": making.noise.label,
    }


def making_choices(making: Making, finish: Finish) -> dict[str, str]:
    """Name the value of restored images in each dimension: of their making, and of how they were kept."""
    return making_dimensions(making) | {
        "saved": SAVING_LABELS[finish.saving],
        "range": RANGES[finish.span],
    }


def reading_choices(metric: str, reading: Reading) -> dict[str, str]:
    """Name the value of a reading of ``psnr`` or ``ssim`` in each of its dimensions."""
    name = metric.upper()
    last = {"average of PSNR": reading.average} if metric == "psnr" else {"kind of SSIM": reading.metric}
    return {f"luma of {name}": reading.luma or "none", f"border of {name}": reading.border or "none"} | last


def variant_choices(making: Making, finish: Finish, read: Mapping[str, Reading]) -> dict[str, str]:
    """Name the value of a whole variant in each dimension that applies to it; `read` holds a reading a metric."""
    choices = making_choices(making, finish)
    for metric, reading in read.items():
        choices |= reading_choices(metric, reading)
    return {name: value for name, value in choices.items() if value}


def differences(making: Making, stated: Making) -> dict[str, str]:
    """Name the values in which a making differs from the stated one."""
    one, other = making_dimensions(making), making_dimensions(stated)
    return {name: value for name, value in one.items() if value != other[name]}


def difference(making: Making, stated: Making) -> str:
    """Say in words how a making differs from the stated one."""
    return ", ".join(differences(making, stated).values()) or "as stated"


def parts_changed(reading: Reading, column: Reading) -> int:
    """Count the parts in which a reading differs from the one that a column states."""
    one, other = reading_choices("psnr", reading), reading_choices("psnr", column)
    return sum(one[name] != other[name] for name in one) + (reading.metric != column.metric)
