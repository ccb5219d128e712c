"""Training runs by name: what is planned (``training.yaml``), and what was trained.

A run trains one method for one task at one level. The file ``training.yaml`` of a workspace says which runs are made
and how long; `harness train` writes it. Trained weights lie in ``work/trained/<task>/<method>/<level>``; those that
come with the project lie in ``weights/<task>/<method>/<level>`` and are used where no run is planned.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

import msgspec

from harness.errors import HarnessError, Missing, NotAvailableError, unknown_name
from harness.files import write_text
from harness.names import check_name, is_name
from harness.records.loading import convert, load_json, read_yaml

PLANS = "training.yaml"
RECORD = "training.json"
WEIGHTS = "weights.safetensors"
HEADING = "# Which networks are trained here and for how long; written by `harness train`, and may be edited.\n"

# A further seed of a method is a method of its own: its weights, images and rows lie beside those of the first.
_SEEDED = re.compile(r"(?P<method>[a-z0-9-]+)-seed(?P<seed>[1-9][0-9]{0,8})")

_NAME = re.compile(r"(?P<method>[a-z0-9-]+?)--(?P<task>[a-z-]+)-(?P<level>[0-9]{1,6})")

BUDGETS = ("smoke", "short", "paper")
"""Named lengths: minutes to see that everything works, hours, and the recipe's own iterations."""

TRACKERS = ("dvclive", "wandb")
"""What a training can write its log to beside the CSV file and TensorBoard's, see `harness.training.trackers`."""

PRECISIONS = ("highest", "high", "medium")
"""Of float32 on a GPU, see `Options`; the words are torch's."""

LENGTHS = {
    "paper": "the paper's iterations",
    "released": "the released program's iterations",
    "epochs": "the paper's epochs as counted here",
    "project": "this project's own recipe's iterations",
}


class TrainingRun(msgspec.Struct, frozen=True, order=True):
    """One training: a method for a task at a level (0 where the task has only one)."""

    task: str
    method: str
    level: int

    def __post_init__(self) -> None:
        """Refuse what could not stand in a path and a command line as it is, wherever it was read."""
        check_name(self.task, "task")
        check_name(self.method, "method")

    @property
    def name(self) -> str:
        """Such as ``panet-s--denoise-rgb-50``."""
        return f"{self.method}--{self.task}-{self.level}"

    @property
    def place(self) -> PurePosixPath:
        """Path below ``work/trained`` and ``weights``."""
        return PurePosixPath(self.task, self.method, str(self.level))


def parse_run(name: str) -> TrainingRun:
    """Read a run's name; HarnessError where it is none."""
    found = _NAME.fullmatch(name)
    if not found:
        raise HarnessError(f"'{name}' names no training run; write METHOD--TASK-LEVEL, such as panet-s--denoise-rgb-50")
    return TrainingRun(found["task"], found["method"], int(found["level"]))


def seeded_name(method: str, seed: int) -> str:
    """Name the method that has the weights of a further seed.

    >>> seeded_name("panet-s", 2)
    'panet-s-seed2'
    """
    return f"{method}-seed{seed}"


def parse_seeded(name: str) -> tuple[str, int] | None:
    """Read method and seed of a name that `seeded_name` made; None where it is no such name."""
    found = _SEEDED.fullmatch(name)
    return (found["method"], int(found["seed"])) if found else None


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What changes the bits of a result beside the recipe; all of it is recorded with the weights.

    `amp` ({"", "bfloat16"}): Mixed precision: the network in bfloat16, loss and weights in float32.
    `precision` ({"highest", "high", "medium"}): Of matrix products and convolutions in float32 on a GPU: ``highest`` is
        float32, ``high`` TF32 (ten bits of each factor), ``medium`` lets products use bfloat16. Attention is always in
        float32.
    `fused`: Adam in one kernel: other rounding than the usual form's.
    `deterministic`: Refuse operations whose result differs from run to run.
    `ema`: Decay of a moving average of the weights, which then is the result; 0 is off.
    `clip`: Largest norm of the gradient; 0 is off.
    `accumulate`: Parts that a process computes its share of a batch in, one after the other (for less memory).
    `seed`: Instead of the recipe's; 0 keeps that.
    `graph`: A step's kernels are recorded and then started together, as a CUDA graph. It is meant to change no bits.
    """

    amp: str = ""
    channels_last: bool = False
    compile: bool = False
    deterministic: bool = True
    ema: float = 0.0
    clip: float = 0.0
    accumulate: int = 1
    seed: int = 0
    precision: str = "highest"
    fused: bool = False
    graph: bool = False


class LoopSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What changes no bit of a result, and is recorded nowhere.

    `workers`: Processes that make samples; None: as many as the machine and the device make sensible.
    `checkpoint_minutes`: Minutes between two checkpoints: what an interruption costs at most.
    """

    workers: Annotated[int, msgspec.Meta(ge=0)] | None = None
    checkpoint_minutes: Annotated[float, msgspec.Meta(ge=0)] = 5.0


USUAL_LOOP = LoopSettings()


class TrainingPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How long a run is trained (one of the first three), on what, with which options.

    `budget`: ``smoke``, ``short`` or ``paper``.
    `data`: Another training dataset than the recipe's.
    `recipe`: Values of the recipe that are others here, by name (`harness.training.recipe.OVERRIDES`).
    `start`: Name of the run whose weights are begun with, such as ``edsr-trained--sr-2``; empty: random ones.
    `keep`: Iterations between two files of weights that are kept beside the run's checkpoint; 0 keeps none.
    `validation`: Datasets whose PSNR is watched, each by itself; empty: the recipe's first that is here.
    `validation_images`: Images of each whose results are kept as PNGs at every validation.
    `log`: Where the log goes beside its CSV file, names of `TRACKERS`.
    """

    budget: str = ""
    iterations: int = 0
    minutes: float = 0.0
    data: str = ""
    options: Options = Options()
    recipe: dict[str, str | int | float] = {}
    start: str = ""
    keep: int = 0
    validation: tuple[str, ...] = ()
    validation_images: int = 0
    log: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The length in words: ``smoke``, ``500 iterations``, ``30 minutes``."""
        if self.budget:
            return self.budget
        return f"{self.iterations:,} iterations" if self.iterations else f"{self.minutes:g} minutes"


def check_training_plan(plan: TrainingPlan, where: str) -> TrainingPlan:
    """Return a plan that can be carried out; HarnessError says what is wrong with another."""
    if plan.data:
        check_name(plan.data, "dataset", where)
    if [bool(plan.budget), bool(plan.iterations), bool(plan.minutes)].count(True) != 1:
        raise HarnessError(f"{where}: give one of budget ({', '.join(BUDGETS)}), iterations or minutes")
    if plan.budget and plan.budget not in BUDGETS:
        raise HarnessError(f"{where}: {unknown_name('budget', plan.budget, BUDGETS)}")
    if plan.keep < 0 or plan.validation_images < 0:
        raise HarnessError(f"{where}: keep is a number of iterations, validation_images one of images, 0 or more")
    for name in plan.validation:
        check_name(name, "dataset", where)
    for name in plan.log:
        if name not in TRACKERS:
            raise HarnessError(f"{where}: {unknown_name('log', name, TRACKERS)}")
    for what in ("validation", "log"):
        if len(set(getattr(plan, what))) < len(getattr(plan, what)):
            raise HarnessError(f"{where}: {what} names one thing twice: {', '.join(getattr(plan, what))}")
    if plan.iterations < 0 or not 0 <= plan.minutes < float("inf"):
        raise HarnessError(f"{where}: the length must be above 0")
    if plan.start:
        parse_run(plan.start)
    options = plan.options
    if options.amp not in ("", "bfloat16"):
        raise HarnessError(f"{where}: amp is bfloat16 or empty, not '{options.amp}'")
    if options.precision not in PRECISIONS:
        raise HarnessError(f"{where}: {unknown_name('precision', options.precision, PRECISIONS)}")
    if not 0 <= options.ema < 1 or not 0 <= options.clip < float("inf") or options.accumulate < 1 or options.seed < 0:
        raise HarnessError(f"{where}: ema lies in [0, 1), clip and seed are 0 or more, accumulate 1 or more")
    return plan


class _TrainingPlans(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    runs: dict[str, TrainingPlan] = {}


def read_training_plans(root: Path) -> dict[TrainingRun, TrainingPlan]:
    """Read ``training.yaml`` of a workspace, if it is there."""
    path = root / PLANS
    if not path.exists() or (plain := read_yaml(path)) is None:
        return {}
    found = convert(plain, _TrainingPlans, str(path))
    return {parse_run(name): check_training_plan(plan, f"{path}: {name}") for name, plan in sorted(found.runs.items())}


def write_training_plans(root: Path, plans: dict[TrainingRun, TrainingPlan]) -> None:
    """Write ``training.yaml``, sorted."""
    import yaml

    runs = {run.name: _said(plan) for run, plan in sorted(plans.items())}
    write_text(root / PLANS, HEADING + yaml.safe_dump({"runs": runs}, sort_keys=True, width=120))


def note_training_plan(root: Path, run: TrainingRun, plan: TrainingPlan) -> None:
    """Put a run into ``training.yaml``; runs that end side by side wait for each other."""
    with contextlib.ExitStack() as held:
        with contextlib.suppress(ImportError, OSError):  # no such locks on this system, or on this disk
            import fcntl

            folder = os.open(root, os.O_RDONLY)
            held.callback(os.close, folder)
            fcntl.flock(folder, fcntl.LOCK_EX)
        write_training_plans(root, {**read_training_plans(root), run: plan})


def _said(record: msgspec.Struct) -> dict[str, object]:
    """Give the fields of a record that differ from their defaults."""
    said = {}
    for field in msgspec.structs.fields(record):
        value = getattr(record, field.name)
        if value != field.default and value != {}:
            said[field.name] = _said(value) if isinstance(value, msgspec.Struct) else msgspec.to_builtins(value)
    return said


def shipped_runs(root: Path) -> set[TrainingRun]:
    """Find the runs whose weights come with the project."""
    found = set()
    for file in (root / "weights").glob(f"*/*/*/{RECORD}"):
        level, method, task = file.parent.name, file.parent.parent.name, file.parent.parent.parent.name
        if level.isdecimal() and is_name(task) and is_name(method):
            found.add(TrainingRun(task, method, int(level)))
    return found


def trained_folder(root: Path, run: TrainingRun, planned: bool | None = None) -> Path:
    """Folder of a run's weights: the workspace's own where the run is planned, else the project's."""
    if planned is None:
        planned = run in read_training_plans(root)
    return root / "work" / "trained" / run.place if planned else root / "weights" / run.place


class Validated(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the result reaches on the fixed split (nothing was selected on it)."""

    dataset: str
    images: int
    side: int
    psnr: float


class TrainedFor(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long, on what and by what recipe a network was trained: what rows must share to be compared.

    `iterations`, `recipe_iterations`: Steps made, and those of the full recipe.
    `length_of`: What the latter are, see `Recipe`.
    `warmup`: Iterations over which the learning rate rises from 0.
    `otherwise`: Values of the recipe that were others, and what the weights began as; empty where the recipe was
        followed.
    """

    recipe: str
    iterations: int
    recipe_iterations: int
    length_of: Literal["paper", "released", "epochs", "project"]
    data: str
    warmup: int = 0
    otherwise: str = ""


class TrainedRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How trained weights came to be; it lies beside them.

    `budget`: The length as it was planned.
    `iterations`, `recipe_iterations`: Steps made, and those of the full recipe.
    `length_of`: What the latter are, see `Recipe`.
    `data`, `recipe_data`: Dataset trained on, and the recipe's.
    `reason`: Why there are no weights; empty where there are.
    `seed`, `parameters`, `samples`: Seed used, trained parameters, patches seen.
    `rgb_range`: Largest sample value that the network was fed (`harness.networks.ranges`).
    `loss`: Mean over the last logged interval.
    `seconds`: Training time, validation excluded.
    `peak_memory`: Bytes on the GPU, or of the process.
    `validation`, `further_validation`: On the first set that was watched, and on the others.
    `threads`, `processes`: CPU threads of a process, and processes.
    `code`: Fingerprints of the training and network code, several if it changed between interruption and resumption.
    `driver`: Version of the GPU's driver; those of CUDA and cuDNN are in `libraries`.
    `warmup`: Iterations over which the recipe's learning rate rises from 0.
    `overrides`: Values of the recipe that were others, by name.
    `start`, `start_weights`: The run whose weights were begun with, and their SHA-256.
    """

    run: TrainingRun
    recipe: str
    paper: str
    budget: str
    iterations: int
    recipe_iterations: int
    data: str
    recipe_data: str
    options: Options
    length_of: Literal["paper", "released", "epochs", "project"] = "project"
    reason: str = ""
    weights: str = ""
    seed: int = 0
    parameters: int = 0
    samples: int = 0
    rgb_range: float = 1.0
    loss: float = 0.0
    seconds: float = 0.0
    peak_memory: int = 0
    validation: Validated | None = None
    further_validation: tuple[Validated, ...] = ()
    device: str = ""
    machine: str = ""
    threads: int = 0
    processes: int = 1
    libraries: dict[str, str] = {}
    code: tuple[str, ...] = ()
    driver: str = ""
    warmup: int = 0
    overrides: dict[str, str | int | float] = {}
    start: str = ""
    start_weights: str = ""

    @property
    def trained_for(self) -> TrainedFor:
        """What rows must share to be compared."""
        said = [f"{name} {value}" for name, value in sorted(self.overrides.items())]
        return TrainedFor(
            self.recipe,
            self.iterations,
            self.recipe_iterations,
            self.length_of,
            self.data,
            self.warmup,
            ", ".join([*said, *(["begun with trained weights"] if self.start else [])]),
        )

    @property
    def origin(self) -> str:
        """The origin in words: ``trained: 0.4 % of the released program's iterations``."""
        text = f"trained: {percent(self.iterations, self.recipe_iterations)} of {LENGTHS[self.length_of]}"
        if self.data != self.recipe_data:
            text += f", on {self.data} instead of {self.recipe_data}"
        if self.overrides:
            text += f", with {', '.join(f'{name} {value}' for name, value in sorted(self.overrides.items()))}"
        if self.start:
            text += f", from the weights of {self.start}"
        return text


def percent(part: int, whole: int) -> str:
    """Write a share with two significant digits, such as ``0.4 %``; never rounded up to 100 %."""
    value = 100 * part / whole
    if part >= whole:
        return f"{value:.0f} %"
    if value < 0.0001:
        return "less than 0.0001 %"
    digits = f"{min(value, 99):.0f}" if value >= 10 else f"{value:.2g}"
    return ("0.0001" if "e" in digits else digits) + " %"


def read_trained(folder: Path) -> TrainedRecord | None:
    """Read the record of a folder of trained weights; None where there is none."""
    path = folder / RECORD
    return load_json(path, TrainedRecord) if path.is_file() else None


def require_trained(root: Path, run: TrainingRun) -> tuple[TrainedRecord, Path]:
    """Return a run's record and its weights file.

    Raises NotAvailableError: The run was not made, or could not be; the reason is the message.
    """
    folder = trained_folder(root, run)
    record = read_trained(folder)
    if record is None:
        level = f" --level {run.level}" if run.level else ""
        raise NotAvailableError(
            f"'{run.method}' is not trained for {run.task}{f' at level {run.level}' if run.level else ''}; "
            f"run `harness train {run.method} --task {run.task}{level} --budget smoke` (or short, paper)",
            Missing("training", run.name),
        )
    if record.reason:
        raise NotAvailableError(f"not trained: {record.reason}")
    if record.run != run:
        raise HarnessError(f"{folder / RECORD}: is the record of {record.run.name}; put it into its own folder")
    return record, folder / WEIGHTS
