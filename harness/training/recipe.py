"""Recipes: how a paper trained a network for a task, as data (``recipes/*.yaml``)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from harness.errors import HarnessError, unknown_name
from harness.names import check_name
from harness.records.loading import load_yaml
from harness.records.training_runs import BUDGETS

"""What the full length of a recipe is, in the words that a share of it is told in."""

LOSSES = ("l1", "mse", "charbonnier", "edge")


class Optimizer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Adam or AdamW and their constants.

    `weight_decay`: Decoupled in AdamW, added to the gradient in Adam.
    """

    name: Literal["adam", "adamw"]
    rate: float
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0


class Schedule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Learning rate over the iterations of the whole recipe; a shorter budget is its beginning.

    `kind` ({"constant", "halve", "cosine", "polynomial"}): ``halve``: by one half every `every` iterations; ``cosine``:
        from the full rate to `last` at the recipe's end; ``polynomial``: likewise, with the share of the iterations
        that is left to the power of `power`.
    `times`: How often it is halved at most; 0 is no limit.
    `warmup`: Iterations over which the rate rises linearly from 0.
    `last`: Rate that the cosine and the polynomial end at.
    """

    kind: Literal["constant", "halve", "cosine", "polynomial"]
    every: int = 0
    times: int = 0
    warmup: int = 0
    last: float = 0.0
    power: float = 1.0


class Validation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fixed split that is watched and never selected on: the first of `datasets` that is here.

    `datasets`: In order of preference.
    `images`: How many of its images, evenly spread.
    `side`: Side of the centre crop of each, in pixels of the ground truth.
    `every`: Iterations between two validations (a shorter budget has at least ten).
    """

    datasets: tuple[str, ...]
    images: int = 8
    side: int = 128
    every: int = 1000


class Phase(NamedTuple):
    """Steps `begin` to `end` (exclusive), all with batches of `batch` patches of side `patch`."""

    begin: int
    end: int
    patch: int
    batch: int


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How networks are trained for one task.

    `paper`: Such as ``panet``; empty for a recipe of this project.
    `source`: Where the values are from.
    `task`: Restoration task; a run adds its level.
    `mix`: Further training datasets: how many patches come from each for one that comes from `data`.
    `degradation`: How inputs are made: the evaluation's own code.
    `patch`: Side of an input patch in pixels (super-resolution: of the small image).
    `batch`: Patches in a step, over all processes.
    `sizes`: Progressive training: the iteration from which on patch and batch are others, and both.
    `loss`: Weight by term: ``l1``, ``mse``, ``charbonnier``, ``edge``; computed in the network's own range.
    `iterations`: Steps of the full recipe.
    `length_of` ({"paper", "released", "epochs", "project"}): Where that number is from: printed, a default of the
        released program, printed epochs of a size that is assumed, or chosen for this recipe.
    `budgets`: Iterations of ``smoke`` and ``short``.
    `precision`: ``float32``.
    `augmentation` ({"dihedral", "none"}): ``dihedral``: one of the eight flips and transposes, each equally likely.
    `seed`: Of the initial weights and of every sample.
    `assumptions`: What the paper leaves open or this recipe does differently.
    """

    name: str
    title: str
    paper: str
    source: str
    task: str
    data: str
    degradation: str
    patch: int
    batch: int
    loss: dict[str, float]
    optimizer: Optimizer
    schedule: Schedule
    iterations: int
    budgets: dict[str, int]
    validation: Validation
    length_of: Literal["paper", "released", "epochs", "project"] = "project"
    precision: Literal["float32"] = "float32"
    augmentation: Literal["dihedral", "none"] = "dihedral"
    seed: int = 1
    assumptions: tuple[str, ...] = ()
    mix: dict[str, float] = {}
    sizes: tuple[tuple[int, int, int], ...] = ()

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of all training datasets."""
        return (self.data, *self.mix)

    def phases(self, length: int) -> list[Phase]:
        """Cut the first steps into those with the same patch and batch."""
        begins = [(0, self.patch, self.batch), *self.sizes]
        ends = [*(begin for begin, _, _ in self.sizes), length]
        return [
            Phase(begin, min(end, length), patch, batch)
            for (begin, patch, batch), end in zip(begins, ends, strict=True)
            if begin < length
        ]

    def patches(self, length: int) -> int:
        """Count the patches that the first steps see."""
        return sum((phase.end - phase.begin) * phase.batch for phase in self.phases(length))

    def length(self, budget: str) -> int:
        """Iterations of a named budget.

        Raises HarnessError: The budget has another name.
        """
        if budget not in BUDGETS:
            raise unknown_name("budget", budget, BUDGETS)
        return self.iterations if budget == "paper" else self.budgets[budget]


OVERRIDES = {
    **dict.fromkeys(("patch", "batch", "augmentation", "mix", "sizes"), ""),
    **dict.fromkeys(("rate", "epsilon", "weight_decay"), "optimizer"),
    **dict.fromkeys(("every", "times", "warmup", "last", "power"), "schedule"),
}
"""Values of a recipe that one training may have otherwise, with the part of the recipe that holds them."""


def overridden(found: Recipe, values: Mapping[str, str | int | float]) -> Recipe:
    """Make the recipe with other values.

    `values`: By the names of `OVERRIDES`; ``mix`` may be text such as ``bsd400:2,sr291:0.5``, and ``sizes`` such as
        ``92000:160:40,156000:192:32`` (iteration, patch, batch).
    Raises HarnessError: A name is unknown, or a value cannot be.
    """
    plain = msgspec.to_builtins(found)
    for name, value in values.items():
        if name not in OVERRIDES:
            raise unknown_name("value of a recipe", name, OVERRIDES)
        part = plain[OVERRIDES[name]] if OVERRIDES[name] else plain
        part[name] = _LISTS[name][0](value) if name in _LISTS and isinstance(value, str) else value
    try:
        changed = msgspec.convert(plain, Recipe, strict=False)
    except msgspec.ValidationError as error:
        for name, (_, form) in _LISTS.items():
            if f"$.{name}" in str(error):
                raise HarnessError(f"{name}={values.get(name)} cannot be read; write {name}={form}") from None
        raise HarnessError(f"recipe '{found.name}': {error}") from None
    return checked(changed, f"recipe '{found.name}'")


def _mix(text: str) -> dict[str, str | int]:
    """Read ``bsd400:2,sr291``; a set that is named twice is refused, for one weight would be lost."""
    items = [item.partition(":") for item in text.split(",")]
    names = [name for name, _, _ in items]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise HarnessError(f"mix={text} names '{twice}' twice; give each set one weight")
    return {name: weight or 1 for name, _, weight in items}


_LISTS: dict[str, tuple[Callable[[str], Any], str]] = {
    "mix": (_mix, "SET:WEIGHT,…"),
    "sizes": (lambda text: [item.split(":") for item in text.split(",")], "ITERATION:PATCH:BATCH,…"),
}
"""How the values that are lists are read from text, and how they are written."""


def recipe_file(name: str) -> Path:
    """Path of a recipe's file."""
    if name.endswith(".yaml"):
        return Path(name)
    return Path(str(resources.files("harness.training"))) / "recipes" / f"{name}.yaml"


def recipe_names() -> list[str]:
    """Names of all recipes, sorted."""
    return sorted(file.stem for file in recipe_file("x").parent.glob("*.yaml"))


@functools.cache
def recipe(name: str) -> Recipe:
    """Look a recipe up: by name, or by the path of a file of yours (``recipes/mine.yaml``).

    Raises HarnessError: The name is unknown (the nearest known ones are named), or the file is no recipe.
    """
    if name.endswith(".yaml"):
        return read_recipe(Path(name))
    if name not in recipe_names():
        raise unknown_name("recipe", name, recipe_names())
    return read_recipe(recipe_file(name))


def read_recipe(path: Path) -> Recipe:
    """Read and check a recipe.

    Raises HarnessError: A key or name is unknown, or a number cannot be.
    """
    from harness.degradations.registry import degradation
    from harness.records.tasks import TASKS

    found = load_yaml(path, Recipe)
    if found.name != path.stem:
        raise HarnessError(f"{path}: the recipe is named '{found.name}'; name recipe and file alike")
    if found.task not in TASKS:
        raise HarnessError(f"{path}: {unknown_name('task', found.task, TASKS)}")
    try:
        degradation(found.degradation)
    except HarnessError as error:
        raise HarnessError(f"{path}: {error}") from None
    for name in found.validation.datasets:
        check_name(name, "dataset", str(path))
    for term in found.loss:
        if term not in LOSSES:
            raise HarnessError(f"{path}: {unknown_name('loss', term, LOSSES)}")
    if not found.loss or any(weight <= 0 for weight in found.loss.values()):
        raise HarnessError(f"{path}: give each loss a weight above 0")
    if set(found.budgets) != {"smoke", "short"}:
        raise HarnessError(f"{path}: budgets are smoke and short (paper is 'iterations'), not {sorted(found.budgets)}")
    return checked(found, str(path))


def checked(found: Recipe, where: str) -> Recipe:
    """Return a recipe whose numbers can be; HarnessError says what is wrong with another."""
    lengths = [found.budgets["smoke"], found.budgets["short"], found.iterations]
    if lengths != sorted(lengths) or lengths[0] < 1:
        raise HarnessError(f"{where}: smoke, short and the full length must rise, they are {lengths}")
    for key in ("patch", "batch"):
        if getattr(found, key) < 1:
            raise HarnessError(f"{where}: {key} must be 1 or more, not {getattr(found, key)}")
    begins = [0, *(begin for begin, _, _ in found.sizes)]
    if begins != sorted(set(begins)) or any(min(size) < 1 for size in found.sizes):
        raise HarnessError(
            f"{where}: sizes are iteration, patch and batch, each 1 or more, the iterations rising; they are "
            + (", ".join(":".join(map(str, size)) for size in found.sizes))
        )
    for name in found.sets:
        check_name(name, "dataset", where)
    if len(set(found.sets)) < len(found.sets):
        raise HarnessError(f"{where}: '{found.data}' is the training set itself; mix names further ones")
    for name, weight in found.mix.items():
        if not 0 < weight < float("inf"):
            raise HarnessError(f"{where}: the weight of '{name}' in mix must be above 0, not {weight:g}")
    numbers = {
        "rate": found.optimizer.rate,
        "epsilon": found.optimizer.epsilon,
        **{name: getattr(found.schedule, name) for name in ("every", "times", "warmup", "last", "power")},
        "weight_decay": found.optimizer.weight_decay,
    }
    for name, value in numbers.items():
        if not 0 <= value < float("inf") or (name in ("rate", "epsilon") and not value):
            raise HarnessError(f"{where}: {name} cannot be {value:g}")
    if found.schedule.kind == "halve" and found.schedule.every < 1:
        raise HarnessError(f"{where}: the schedule 'halve' needs 'every', a number of iterations")
    return found


def learning_rate(recipe: Recipe, iteration: int) -> float:
    """Learning rate of a step (the first is 0), whatever the length of the run."""
    optimizer, schedule = recipe.optimizer, recipe.schedule
    if iteration < schedule.warmup:
        return optimizer.rate * (iteration + 1) / schedule.warmup
    if schedule.kind == "halve":
        halvings = iteration // schedule.every
        return optimizer.rate * 0.5 ** (min(halvings, schedule.times) if schedule.times else halvings)
    done = min(1.0, (iteration - schedule.warmup) / max(1, recipe.iterations - schedule.warmup))
    if schedule.kind == "cosine":
        import math

        return schedule.last + (optimizer.rate - schedule.last) * 0.5 * (1 + math.cos(math.pi * done))
    if schedule.kind == "polynomial":
        return schedule.last + (optimizer.rate - schedule.last) * (1 - done) ** schedule.power
    return optimizer.rate
