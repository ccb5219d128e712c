"""What a training costs before it starts: arithmetic, memory, time, disk; and what of it is there already.

Arithmetic and memory are counted on torch's meta device, where nothing is allocated or computed. Time is measured on
the device at hand with a few patches, or estimated for a named one from its printed peak.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.degradations.kinds import Degradation
from harness.errors import HarnessError, NotAvailableError, unknown_name
from harness.methods import Method
from harness.networks.measure import multiply_adds
from harness.networks.ranges import to_network
from harness.records.tasks import task as task_of
from harness.records.training_runs import Options, TrainingPlan, TrainingRun, parse_seeded
from harness.training.loop import Training, planned_length, recipe_of
from harness.training.losses import weighted
from harness.training.recipe import Phase, Recipe
from harness.training.stores import INDEX, store_place, stores_inputs
from harness.training.world import World

# Of a step's arithmetic a forward pass is a third: the backward pass makes two products for each of its own.
PASSES = 3

# Floats that are kept for a trained parameter: itself, its gradient, Adam's two moments.
HELD = 4

# Steps of a calibration.
STEPS = 4

# Seconds that the calibration of one network, and of all networks of a call together, may take.
SECONDS = 15.0
ALL_SECONDS = 90.0


class Device(msgspec.Struct, frozen=True):
    """A GPU that is not here, by its maker's data sheet.

    `peak`: Operations a second by precision, dense: ``float32`` without TF32, ``bfloat16``.
    `bandwidth`: Bytes a second to and from memory.
    """

    title: str
    peak: dict[str, float]
    bandwidth: float
    memory: int


DEVICES = {
    "h100": Device("NVIDIA H100 SXM", {"float32": 67e12, "bfloat16": 989e12}, 3.35e12, 80 * 10**9),
    "a100": Device("NVIDIA A100 SXM", {"float32": 19.5e12, "bfloat16": 312e12}, 2.04e12, 80 * 10**9),
    "rtx4090": Device("NVIDIA GeForce RTX 4090", {"float32": 82.6e12, "bfloat16": 165e12}, 1.01e12, 24 * 10**9),
}

# A step on a GPU takes its arithmetic at this share of the printed peak, this long for every operation of torch in the
# forward pass, and moves what is kept for the backward pass so many times. Fitted to twelve of the papers' networks on
# one H200; the steps of eleven take 0.4 to 1.8 times the estimate (docs/training.md).
SHARE = {"float32": 0.6, "bfloat16": 0.5}
CALL = 60e-6
MOVES = 36


class Work(msgspec.Struct, frozen=True):
    """What one step takes, counted on the meta device.

    `multiply_adds`: Of one forward pass of one patch, attention as the papers write it.
    `held`, `kept`: Bytes for weights, gradients, moments and moving average, and for what the backward pass of one
        process's part of the batch needs (in float32).
    `calls`: Operations of torch in the forward pass of such a part.
    """

    multiply_adds: int
    parameters: int
    held: int
    kept: int
    calls: int


class Estimate(msgspec.Struct, frozen=True):
    """What a run costs.

    `iterations`, `recipe_iterations`: Planned steps, and those of the full recipe. Those of a limit in minutes follow
        from the time of a step.
    `operations`: Floating-point operations of all steps: three forward passes a patch, two operations a multiply-add.
    `seconds`: Of all steps; validation and the decoding of the training set excluded.
    `basis` ({"measured", "scaled", "estimated"}): Whether some patches of this network were computed on the device,
        those of another one whose time was scaled by arithmetic, or none.
    `memory`: Bytes: what was measured on a GPU, else what must be held at least.
    `store`: Bytes of its decoded images that are still to be written; None where the set is not here.
    `state`: What of the run is there (`Training.standing`).
    `notes`: Which earlier runs do not go on, and why.
    """

    run: TrainingRun
    iterations: int
    recipe_iterations: int
    work: Work
    operations: float
    seconds: float
    basis: Literal["measured", "scaled", "estimated"]
    memory: int
    store_of: str
    store: int | None
    state: str
    notes: tuple[str, ...] = ()

    @property
    def written(self) -> int:
        """Bytes of checkpoint and weights: the gradient is not written, the weights are twice."""
        return self.work.held


class Pace(msgspec.Struct, frozen=True):
    """How fast a device computes: seconds of a patch's step, and the largest memory in bytes (0 where not known)."""

    seconds: float
    memory: int = 0


def _on_meta(method: Method, run: TrainingRun) -> nn.Module:
    assert method.network is not None
    with torch.device("meta"):
        network: nn.Module = method.network(run.task, run.level)
    return network.to("meta")


@contextmanager
def _counting(run: TrainingRun) -> Iterator[None]:
    """Turn what a network of one's own may raise on the meta device into a sentence."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        raise HarnessError(
            f"{run.name}: its cost cannot be counted, as its network needs values to be built or run "
            f"({type(error).__name__}: {error}); train it for --minutes 1 and look at its images/s"
        ) from error


def least_operations(run: TrainingRun, plan: TrainingPlan, method: Method) -> float:
    """Floating-point operations of a run's planned steps; 0 where a limit in minutes says when it ends.

    Raises HarnessError: It cannot be trained.
    """
    found = recipe_of(method, run.task, plan)
    if plan.minutes:
        return 0.0
    with _counting(run):
        network, channels = _on_meta(method, run), task_of(run.task).channels
        return sum(
            2.0 * PASSES * multiply_adds(network, (1, channels, at.patch, at.patch)) * (at.end - at.begin) * at.batch
            for at in found.phases(planned_length(found, plan))
        )


def count_work(network: nn.Module, patch: int, channels: int, part: int, options: Options) -> Work:
    """Count what a step of a network on the meta device takes.

    `network`: On the meta device.
    `patch`, `channels`: Side and channels of an input.
    `part`: Patches that a process computes at once.
    `options`: Precision and moving average.
    """
    parameters = sum(p.numel() for p in network.parameters() if p.requires_grad)
    state = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    kept, calls = _forward(network, torch.empty((part, channels, patch, patch), device="meta"))
    return Work(
        multiply_adds=multiply_adds(network, (1, channels, patch, patch)),
        parameters=parameters,
        held=state * (2 if options.ema else 1) + (HELD - 1) * 4 * parameters,
        kept=kept,
        calls=calls,
    )


class _Calls(TorchDispatchMode):
    """Counts operations; a view computes nothing."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += not func.is_view
        return func(*args, **(kwargs or {}))


def _forward(network: nn.Module, inputs: Tensor) -> tuple[int, int]:
    """Bytes that a forward pass keeps for its backward pass, parameters excluded, and its operations."""
    own = {tensor.untyped_storage()._cdata for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage
        return tensor

    network.train()
    with _Calls() as calls, torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(inputs)
    return sum(storage.nbytes() for storage in kept.values()), calls.count


def calibrate(training: Training, phase: Phase) -> Pace:
    """Time some steps of a run on random patches on its device, without optimiser and loading.

    `training`: The run; nothing of it is begun.
    `phase`: Gives patch and batch.
    """
    run, found, options, device = training.run, training.recipe, training.options, training.world.device
    cuda = device.type == "cuda"
    # A CPU takes as long for a patch whether it is alone or not, and a batch of some networks takes gigabytes.
    part, side = (len(training.parts(phase.batch)[0]) if cuda else 1), phase.patch
    scale = training.degradation.scale(run.level)
    assert training.method.network is not None
    network = training.method.network(run.task, run.level).to(device).train()
    generator = torch.Generator().manual_seed(0)
    x = torch.rand((part, task_of(run.task).channels, side, side), generator=generator).to(device)
    if options.channels_last:
        x = x.contiguous(memory_format=torch.channels_last)
        network.to(memory_format=torch.channels_last)
    target = to_network(network, torch.rand((part, 1, scale * side, scale * side), generator=generator).to(device))
    criterion = weighted(found.loss)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=bool(options.amp)):
            output = network(to_network(network, x))
        criterion(output, target.expand_as(output)).backward()
        if cuda:
            torch.cuda.synchronize(device)

    times: list[float] = []
    with training.torch_settings():
        if cuda:
            torch.cuda.reset_peak_memory_stats(device)
        begun = time.perf_counter()
        # The first step also chooses kernels and reserves memory: it counts only where there is no time for another.
        while not times or (len(times) < STEPS and time.perf_counter() - begun + times[-1] < SECONDS):
            at = time.perf_counter()
            step()
            times.append(time.perf_counter() - at)
    memory = int(torch.cuda.max_memory_allocated(device)) if cuda else 0
    return Pace(min(times[1:] or times) / part, memory)


class Planner:
    """Estimates runs one after the other; what was counted or timed for one serves its like.

    `data`, `work`: Fetched files; folder of computed files.
    `world`: Processes and the device at hand.
    `device`: A name of `DEVICES`; empty: the one at hand, which is then timed.
    Raises HarnessError: No device has this name.
    """

    def __init__(self, data: Path, work: Path, world: World, device: str = "") -> None:
        if device and device not in DEVICES:
            raise unknown_name("device", device, DEVICES)
        self.data, self.work, self.world = data, work, world
        self.named = DEVICES[device] if device else None
        self._counted: dict[tuple[object, ...], Work] = {}
        self._paces: dict[tuple[object, ...], Pace] = {}
        self._rate: float | None = None
        self._spent = 0.0

    def estimate(self, run: TrainingRun, plan: TrainingPlan, method: Method) -> Estimate:
        """Say what a run costs.

        Raises HarnessError: It cannot be trained, or the batch cannot be split.
        """
        training = Training(run, plan, method, data=self.data, work=self.work, world=self.world)
        found, options = training.recipe, training.options
        with _counting(run):
            network = _on_meta(method, run)
        shapes = tuple((key, tuple(value.shape)) for key, value in network.state_dict().items())
        base = (parse_seeded(run.method) or (run.method, 0))[0]
        plain = msgspec.structs.replace(options, seed=0)
        iterations, seconds, operations, memory = 0, 0.0, 0.0, 0
        most: Work | None = None
        for phase in training.phases:
            part = len(training.parts(phase.batch)[0])
            same = (base, shapes, phase.patch, part, self.world.size, plain)
            if same not in self._counted:
                with _counting(run):
                    self._counted[same] = count_work(network, phase.patch, task_of(run.task).channels, part, options)
            work = self._counted[same]
            pace, basis = self._pace(same, work, training, phase)
            step = pace.seconds * phase.batch / self.world.size
            steps = phase.end - phase.begin
            if plan.minutes:
                steps = min(steps, int((60 * plan.minutes - seconds) / step))
                # A limit in minutes is looked at after a step.
                steps = max(steps, 0 if iterations else 1)
            iterations, seconds = iterations + steps, seconds + steps * step
            operations += 2.0 * PASSES * work.multiply_adds * phase.batch * steps
            # The calibration has weights and gradients, and no optimiser.
            needs = pace.memory + work.held - 8 * work.parameters if pace.memory else work.held + work.kept
            if most is None or (steps and needs > memory):
                most, memory = work, needs
            if plan.minutes and seconds + step > 60 * plan.minutes:
                break
        assert most is not None
        state, *notes = training.standing()
        return Estimate(
            run=run,
            iterations=iterations,
            recipe_iterations=found.iterations,
            work=most,
            operations=operations,
            seconds=seconds if iterations == training.length else 60 * plan.minutes,
            basis=basis,
            memory=memory,
            store_of=", ".join(found.sets),
            store=self._store(found, training.degradation, run.level),
            state=state,
            notes=tuple(notes),
        )

    def _pace(
        self, same: tuple[object, ...], work: Work, training: Training, phase: Phase
    ) -> tuple[Pace, Literal["measured", "scaled", "estimated"]]:
        a_patch = 2.0 * PASSES * work.multiply_adds
        if self.named is not None:
            return Pace(_on(self.named, work, len(training.parts(phase.batch)[0]), training.options)), "estimated"
        if same in self._paces:
            return self._paces[same], "measured"
        if self._rate is not None and self._spent > ALL_SECONDS:
            return Pace(a_patch / self._rate), "scaled"
        begun = time.perf_counter()
        pace = calibrate(training, phase)
        self._spent += time.perf_counter() - begun
        self._paces[same], self._rate = pace, a_patch / pace.seconds
        return pace, "measured"

    def _store(self, found: Recipe, made: Degradation, level: int) -> int | None:
        try:
            sets = [open_dataset(name, self.data) for name in found.sets]
        except NotAvailableError:
            return None
        stores = self.work / "training" / "stores"
        missing = [each for each in sets if not (stores / store_place(each, made, level) / INDEX).is_file()]
        return sum(store_bytes(each, made, level) for each in missing)


def _on(device: Device, work: Work, part: int, options: Options) -> float:
    """Seconds of a patch's step on a GPU that is not here."""
    precision = options.amp if options.amp in SHARE else "float32"
    arithmetic = 2.0 * PASSES * work.multiply_adds / (device.peak[precision] * SHARE[precision])
    moved = work.kept * MOVES / device.bandwidth / (2 if options.amp else 1)
    return arithmetic + (work.calls * CALL + moved) / part


def store_bytes(fetched: FetchedDataset, made: Degradation, level: int) -> int:
    """Bytes that the decoded images of a training set take, with their degraded copies where those are stored."""
    samples = sum(math.prod(fetched.shape(image)) for image in fetched.image_ids)
    return samples + samples // made.scale(level) ** 2 if stores_inputs(made) else samples


def wall_seconds(estimates: Iterable[Estimate], devices: int) -> float:
    """Seconds until the last of some runs is finished, one run a device, the longest first.

    `devices`: How many compute at once.
    """
    ends = [0.0] * devices
    for seconds in sorted((e.seconds for e in estimates), reverse=True):
        ends[ends.index(min(ends))] += seconds
    return max(ends)
