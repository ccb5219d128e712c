"""The training loop: from a run and a plan to weights, a log and a record.

A shorter budget is the beginning of a longer one, step by step, so a finished short run goes on when a longer one is
planned. Everything a step depends on is in the checkpoint or follows from the number of the step; a run that was killed
therefore ends with the same bits as one that was not (on the same machine, with the same number of threads).
"""

from __future__ import annotations

import contextlib
import functools
import gc
import hashlib
import json
import math
import os
import platform
import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from harness.assets.datasets.reading import FetchedDataset, open_dataset
from harness.assets.datasets.registry import dataset
from harness.degradations.kinds import Degradation
from harness.degradations.registry import degradation
from harness.errors import CheckFailedError, HarnessError, NotAvailableError, plural
from harness.files import file_sha256
from harness.methods import Method
from harness.methods.fingerprints import code_files, fingerprint
from harness.networks.ranges import rgb_range, to_network
from harness.process_state import told_to_stop
from harness.records.devices import device_facts
from harness.records.tasks import task as task_of
from harness.records.training_runs import (
    RECORD,
    USUAL_LOOP,
    WEIGHTS,
    Options,
    TrainedRecord,
    TrainingPlan,
    TrainingRun,
    Validated,
    parse_run,
    require_trained,
)
from harness.training.checkpoints import (
    FILE,
    Progress,
    begin_with,
    read_checkpoint,
    restore_checkpoint,
    write_checkpoint,
    write_tensors,
)
from harness.training.graphs import CudaRecorder, RecordedStep, Step
from harness.training.logs import Log, LogRow
from harness.training.losses import weighted
from harness.training.recipe import Recipe, checked, learning_rate, overridden, recipe
from harness.training.samples import Samples, batches
from harness.training.standing import not_continued, progress_of, write_identity
from harness.training.stores import Store, check_channels, make_store
from harness.training.trackers import check_trackers, tracker
from harness.training.validation import Split, watched
from harness.training.world import World

# Rises whenever a change of the loop changes what a checkpoint's next step would be.
FORMAT = 2

# Steps on a GPU between two looks at the loss; each look waits for the GPU.
CUDA_LOOK = 20

Report = Callable[[LogRow, int], None]


def recipe_of(method: Method, task: str, plan: TrainingPlan | None = None) -> Recipe:
    """Find the recipe that a method is trained by for a task, with the planned training set.

    Raises HarnessError: The method cannot be trained for this task.
    """
    if task not in method.recipes or method.network is None:
        if not method.recipes:
            raise HarnessError(f"method '{method.name}' has no recipe; `harness train --list` lists those that do")
        raise HarnessError(f"method '{method.name}' has recipes for {', '.join(method.recipes)}, not for '{task}'")
    found = recipe(method.recipes[task])
    if plan is None:
        return found
    found = overridden(found, plan.recipe) if plan.recipe else found
    return checked(msgspec.structs.replace(found, data=plan.data), f"recipe '{found.name}'") if plan.data else found


def planned_length(found: Recipe, plan: TrainingPlan) -> int:
    """Steps of a plan; a limit in minutes may end earlier."""
    if plan.budget:
        return found.length(plan.budget)
    return plan.iterations or found.iterations


def training_code(method: Method) -> str:
    """Fingerprint the code that training and the network consist of."""
    source = method.source_file
    return fingerprint(code_files("harness.training.loop", *([source] if source else [])))


def differing(options: Options) -> Options:
    """Give the same options, those that equal their defaults by the very objects of the defaults."""
    given, usual = msgspec.structs.asdict(options), msgspec.structs.asdict(Options())
    return Options(**{name: value for name, value in given.items() if value != usual[name]})


class Training:
    """One run in this process.

    `run`, `plan`: What, how long, on what, how.
    `method`: Gives network and recipe.
    `data`, `work`: Fetched files; folder of computed files (the run's own folder is below ``work/training``).
    `workers`: Processes that make samples; the samples do not depend on it.
    `report`: Gets every line of the log, and the number of steps planned.
    `notice`: Gets what is to be said before the first step, a sentence at a time.
    """

    def __init__(
        self,
        run: TrainingRun,
        plan: TrainingPlan,
        method: Method,
        *,
        data: Path,
        work: Path,
        world: World,
        workers: int = 0,
        checkpoint_minutes: float = USUAL_LOOP.checkpoint_minutes,
        report: Report = lambda row, length: None,
        notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.run, self.plan, self.method = run, plan, method
        self.recipe = recipe_of(method, run.task, plan)
        if run.level not in task_of(run.task).levels:
            levels = ", ".join(map(str, task_of(run.task).levels))
            raise HarnessError(f"{run.task} has the levels {levels}; give one with --level, not {run.level}")
        self.length = planned_length(self.recipe, plan)
        if plan.start == run.name:
            raise HarnessError(f"{run.name} cannot start from itself; more steps of it are a longer budget")
        # msgspec leaves out what *is* a default, and 0.0 from a command line is another object: without this a run
        # of `harness train` and the same run as a stage would have two folders, and be trained twice.
        self.options = differing(plan.options)
        self.seed = plan.options.seed or self.recipe.seed
        self.data, self.work, self.world, self.workers = data, work, world, workers
        self.checkpoint_minutes, self.report, self.notice = checkpoint_minutes, report, notice
        self.phases = self.recipe.phases(self.length)
        self._check_parts()
        self.degradation: Degradation = degradation(self.recipe.degradation)
        self._interrupted = False
        # What the memory budgets of attention are divided by, after a batch did not fit.
        self._less_memory = 1
        self._start_weights = ""

    def finish(self) -> tuple[TrainedRecord, Path]:
        """Train as long as is planned, going on from what is there; return the record and the folder.

        Raises NotAvailableError: The training set is not here.
        Raises HarnessError: The loss became NaN or infinite, the disk is full, and the like; the last good checkpoint
            is kept.
        """
        self._check_graph()
        with self.torch_settings():
            while True:
                try:
                    return self._finish()
                except torch.cuda.OutOfMemoryError as error:
                    parts = self._smaller_parts(error)
                # Outside the handler: the failed step's tensors are held by the error.
                self.notice(f"does not fit into the GPU's memory; a batch is now computed in {parts} parts")
                self.options = msgspec.structs.replace(self.options, accumulate=parts)
                self._less_memory *= 4
                gc.collect()
                if self.world.device.type == "cuda":
                    torch.cuda.empty_cache()

    def _smaller_parts(self, error: Exception) -> int:
        """Parts of a batch that need less memory; HarnessError where there are none, or other processes to ask."""
        share = math.gcd(*(phase.batch for phase in self.phases)) // self.world.size
        parts = next((n for n in range(self.options.accumulate + 1, share + 1) if share % n == 0), 0)
        if not parts or self.world.size > 1:
            way = f"give --set accumulate={parts}" if parts else "take a GPU with more memory"
            raise HarnessError(f"{self.run.name}: the GPU's memory is not enough ({error}); {way}") from None
        return parts

    def parts(self, batch: int) -> list[range]:
        """Places of a batch that this process computes, one part after the other (`World.share`)."""
        return self.world.share(batch, self.options.accumulate)

    def _check_parts(self) -> None:
        for phase in self.phases:
            self.parts(phase.batch)

    def _check_asked(self) -> None:
        """Find out before the first step whether what was asked for by name is here: sets, packages."""
        for _ in watched(self.recipe, self.plan.validation, self.data):
            pass
        check_trackers(self.plan.log)

    def _log(self, folder: Path, start: int, splits: list[Split]) -> Log:
        names = tuple(split.name for split in splits) if self.plan.validation else ()
        log = Log(folder, start, names, self.notice)
        for name in self.plan.log:
            about = {"run": self.run.name, "recipe": self.recipe, "options": self.options, "seed": self.seed}
            log.also(functools.partial(tracker, name, self.run.name, folder, self.work.parent, about))
        return log

    def _sets(self) -> list[FetchedDataset]:
        return [self._training_set(name) for name in self.recipe.sets]

    def _finish(self) -> tuple[TrainedRecord, Path]:
        self.world.of_the_first(self._check_asked)
        fetched = self._sets()
        stores = [self._store(each) for each in fetched]
        network = self._new_network()
        folder, identity = self._folder(fetched, network)
        done = self._done(folder)
        if done is not None:
            return done, folder
        if self.world.first:
            if not (folder / FILE).is_file():
                for sentence in not_continued(folder, identity):
                    self.notice(sentence)
            write_identity(folder, identity)
        return self._train(self._placed(network), stores, folder), folder

    def prepare(self) -> None:
        """Decode the training set, unless that was done.

        Raises NotAvailableError: The training set is not here.
        """
        for fetched in self._sets():
            self._store(fetched)

    def _training_set(self, name: str) -> FetchedDataset:
        """Open a training set; where it is not here, NotAvailableError also names one that anybody can have."""
        try:
            return open_dataset(name, self.data)
        except NotAvailableError as missing:
            pairs = self.degradation.name == "pairs"
            others = self.recipe.validation.datasets if pairs else ("embedded",)
            public = [other for other in others if other != name and dataset(other).supply != "user"]
            hint = f"; or, to try it, train on another set with --dataset {public[0]}" if public else ""
            raise NotAvailableError(f"{missing}{hint}", missing.missing) from None

    def _new_network(self) -> nn.Module:
        """Make the network as it is before the first step: random, or with the weights of the run it starts from."""
        torch.manual_seed(self.seed)
        assert self.method.network is not None
        network: nn.Module = self.method.network(self.run.task, self.run.level)
        if self.plan.start:
            about, path = self._starts_from()
            text = begin_with(network, path, about.weights, self.plan.start)
            if self.world.first:
                self.notice(text)
        return network

    def _placed(self, network: nn.Module) -> nn.Module:
        """Put a network on the device, in the layout and with the memory that were chosen."""
        for module in network.modules():
            if self._less_memory > 1 and "memory_budget" in module.__dict__:
                module.memory_budget = module.memory_budget // self._less_memory  # type: ignore[assignment, operator]
        network.to(self.world.device)
        if self.options.channels_last:
            network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return network

    def _starts_from(self) -> tuple[TrainedRecord, Path]:
        """Find the weights that the run starts from, and note their checksum."""
        about, path = require_trained(self.work.parent, parse_run(self.plan.start))
        self._start_weights = about.weights
        return about, path

    # What is there

    def standing(self) -> list[str]:
        """Say what the run would begin with, without beginning it; the first sentence is about the run itself."""
        assert self.method.network is not None
        try:
            fetched = self._sets()
        except NotAvailableError as missing:
            return ["set not here", f"needs a training set that is not here yet: {missing}"]
        with torch.device("meta"):
            network = self.method.network(self.run.task, self.run.level)
        try:
            if self.plan.start:
                self._starts_from()
        except NotAvailableError as missing:
            return ["start not here", str(missing)]
        folder, identity = self._folder(fetched, network)
        if self._finished(folder) is not None:
            return ["is finished"]
        progress = progress_of(folder)
        if progress is None:
            return ["begins", *not_continued(folder, identity)]
        if progress.iteration > self.length:
            return [
                f"begins: a run of {plural(progress.iteration, 'iteration')} is there, and kept nothing at this one"
            ]
        return [f"goes on after {plural(progress.iteration, 'iteration')}"]

    def _folder(self, fetched: list[FetchedDataset], network: nn.Module) -> tuple[Path, dict[str, Any]]:
        """Folder named by everything that determines the weights, except the length and the code; and all that."""
        shapes = [(key, list(value.shape)) for key, value in network.state_dict().items()]
        pixels = (each.pixels_sha256(image) for each in fetched for image in each.image_ids)
        images = hashlib.sha256("".join(pixels).encode()).hexdigest()
        plain = msgspec.to_builtins(self.recipe)
        for later in ("mix", "sizes"):
            # Recipes without them keep the folders that they had.
            if not plain[later]:
                del plain[later]
        for words in ("title", "source", "length_of", "assumptions", "budgets", "validation"):
            del plain[words]
        options = msgspec.to_builtins(self.options)
        # One process in two parts computes what two processes compute; the split itself changes digits.
        options["accumulate"] = self.options.accumulate * self.world.size
        identity = [FORMAT, msgspec.to_builtins(self.run), plain, options, self.seed, shapes, images]
        identity.append([self.degradation.version, self.world.device.type])
        if rgb_range(network) != 1:
            # Weights of another range are no beginning of these; runs in [0, 1] keep the folders that they had.
            identity.append(rgb_range(network))
        if self._start_weights:
            identity.append(self._start_weights)
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        said = {
            "format": FORMAT,
            "recipe": plain,
            "options": options,
            "seed": self.seed,
            "network": hashlib.sha256(json.dumps(shapes).encode()).hexdigest(),
            "images": images,
            "degradation's version": self.degradation.version,
            "device": self.world.device.type,
            "range": rgb_range(network),
            "start": self.plan.start and f"{self.plan.start} ({self._start_weights[:12]})",
        }
        return self.work / "training" / "runs" / self.run.place / digest, said

    def _done(self, folder: Path) -> TrainedRecord | None:
        """The first process's result of this length; other machines may have disks of their own."""
        return self.world.of_the_first(lambda: self._finished(folder))

    def _finished(self, folder: Path) -> TrainedRecord | None:
        """Find the result of an earlier run of the same length."""
        from harness.records.loading import load_json

        for path in sorted((folder / "results").glob(f"*/{RECORD}")):
            record = load_json(path, TrainedRecord)
            same = record.iterations == self.length if not self.plan.minutes else record.budget == self.plan.label
            if same and file_sha256(path.with_name(WEIGHTS), "") == record.weights:
                return msgspec.structs.replace(record, budget=self.plan.label)
        return None

    def _store(self, fetched: FetchedDataset) -> Store:
        folder = functools.partial(
            make_store, fetched, self.degradation, self.run.level, self.work / "training" / "stores"
        )
        self.world.once_a_machine(folder)
        store = Store(folder())
        channels = {item.image: item.shape[2] for item in store.index.images}
        check_channels("training", fetched, channels, task_of(self.run.task), self.degradation)
        return store

    @contextlib.contextmanager
    def torch_settings(self) -> Iterator[None]:
        """Choose torch's process-wide settings for this run and put them back."""
        switches: Any = torch.utils.deterministic
        before = (
            torch.backends.cudnn.allow_tf32,
            torch.get_float32_matmul_precision(),
            torch.backends.cudnn.benchmark,
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            switches.fill_uninitialized_memory,
        )
        cuda = self.world.device.type == "cuda"
        # Digits come first: reduced-precision products are no silent default.
        if torch.get_float32_matmul_precision() != self.options.precision:
            torch.set_float32_matmul_precision(self.options.precision)
        torch.backends.cudnn.allow_tf32 = self.options.precision != "highest"
        torch.backends.cudnn.benchmark = not self.options.deterministic
        if self.options.deterministic and cuda:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        # On a GPU the gradient of torch's own bilinear enlargement has no deterministic form; torch warns and goes on.
        torch.use_deterministic_algorithms(self.options.deterministic, warn_only=cuda)
        # It would write every buffer twice; that none is read before it is written, equal runs show.
        switches.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.backends.cudnn.allow_tf32 = before[0]
            if torch.get_float32_matmul_precision() != before[1]:
                torch.set_float32_matmul_precision(before[1])
            torch.backends.cudnn.benchmark = before[2]
            torch.use_deterministic_algorithms(before[3], warn_only=before[4])
            switches.fill_uninitialized_memory = before[5]

    # Training itself

    def _train(self, network: nn.Module, stores: list[Store], folder: Path) -> TrainedRecord:
        world, found, options = self.world, self.recipe, self.options
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        adam = torch.optim.AdamW if found.optimizer.name == "adamw" else torch.optim.Adam
        optimizer = adam(
            trained,
            lr=found.optimizer.rate,
            betas=found.optimizer.betas,
            eps=found.optimizer.epsilon,
            weight_decay=found.optimizer.weight_decay,
            fused=options.fused or None,
        )
        average = {k: v.detach().clone() for k, v in network.state_dict().items()} if options.ema else {}
        code = training_code(self.method)
        progress = Progress()
        path = folder / FILE
        # The first process's checkpoint goes to all: two machines' disks may hold different ones, or none.
        checkpoint = world.of_the_first(lambda: read_checkpoint(path) if path.is_file() else None)
        if checkpoint is not None:
            progress, tensors = checkpoint
            if progress.iteration > self.length:
                # A longer run is there, and this length was not kept: it is made anew, beside the other.
                return self._from_the_beginning(stores, folder)
            restore_checkpoint(tensors, path, network, optimizer, average)
        if code not in progress.code:
            progress = msgspec.structs.replace(progress, code=(*progress.code, code))
        samples = Samples(stores[0], found, self.degradation, self.run.level, self.seed, stores[1:])
        splits = self._splits(folder / "validation") if world.first else []
        log = self._log(folder, progress.iteration, splits) if world.first else None
        try:
            with self._signals(), self._peak():
                progress = self._steps(network, optimizer, average, samples, splits, log, progress, path)
        finally:
            if log is not None:
                log.close()
        result = self._result(network, average, folder, progress, log, splits) if world.first else None
        world.barrier()
        return result if result is not None else self._plain_record(progress)

    def _from_the_beginning(self, stores: list[Store], folder: Path) -> TrainedRecord:
        fresh = self._placed(self._new_network())
        other = folder / f"only-{self.length}"
        done = self._done(other)
        return done if done is not None else self._train(fresh, stores, other)

    def _steps(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        average: dict[str, Tensor],
        samples: Samples,
        splits: list[Split],
        log: Log | None,
        progress: Progress,
        path: Path,
    ) -> Progress:
        world, found, options = self.world, self.recipe, self.options
        device = world.device
        criterion = weighted(found.loss)
        network.train()
        model: nn.Module = torch.compile(network, dynamic=False) if options.compile else network  # type: ignore[assignment]
        if world.size > 1:
            model = nn.parallel.DistributedDataParallel(model, [device.index] if device.type == "cuda" else None)
        pinned = device.type == "cuda"
        stream = self._batches(samples, progress.iteration, pinned)
        look = CUDA_LOOK if device.type == "cuda" else 1
        log_every = max(1, min(100, self.length // 50))
        # A multiple of `log_every`, so that every PSNR has its line.
        validate_every = math.ceil(max(1, min(found.validation.every, self.length / 10)) / log_every) * log_every
        start_seconds, validating, waiting = progress.seconds, 0.0, 0.0
        started = last_saved = time.perf_counter()
        sums, summed, last_seconds = torch.zeros((), device=device), 0, progress.seconds
        iteration, seen = progress.iteration, found.patches(progress.iteration)
        step: Step = functools.partial(
            self._step, network, model, optimizer.param_groups[0]["params"], criterion, pinned
        )
        if options.graph:
            step = RecordedStep(step, CudaRecorder(device), device)
        while iteration < self.length:
            waited = time.perf_counter()
            inputs, targets = next(stream)
            waiting += time.perf_counter() - waited
            rate = learning_rate(found, iteration)
            for group in optimizer.param_groups:
                group["lr"] = rate
            total, norm = step(inputs, targets)
            iteration += 1
            logging = iteration % log_every == 0 or iteration == self.length
            validating_now = iteration % validate_every == 0 or iteration == self.length
            saving = iteration == self.length or (
                world.first and time.perf_counter() - last_saved > 60 * self.checkpoint_minutes
            )
            keeping = bool(self.plan.keep) and iteration % self.plan.keep == 0
            over = stopping = False
            if iteration % look == 0 or logging:
                # The processes agree on both, so that none waits for one that has stopped.
                spent = start_seconds + time.perf_counter() - started - validating
                over = bool(self.plan.minutes) and world.decide(spent >= 60 * self.plan.minutes)
                stopping = world.decide(self._interrupted)
            stopping = stopping or (world.size == 1 and self._interrupted)
            if iteration % look == 0 or logging or saving or keeping or stopping:
                self._check(total, norm, network, iteration, rate, path)
            optimizer.step()
            if average:
                _update(average, network, options.ema)
            sums += total
            summed += 1
            if device.type == "cuda" and (logging or validating_now or saving):
                torch.cuda.synchronize(device)
            now = time.perf_counter()
            seconds = start_seconds + now - started - validating
            if (logging or over) and log is not None:
                psnrs: dict[str, float] = {}
                if validating_now or over:
                    psnrs = self._validated(network, average, splits, path.with_name("validation") / str(iteration))
                    validating += time.perf_counter() - now
                between = max(seconds - last_seconds, 1e-9)
                row = LogRow(
                    iteration,
                    float(sums) / summed,
                    rate,
                    float(norm),
                    next(iter(psnrs.values()), None),
                    (found.patches(iteration) - seen) / between,
                    waiting / between,
                    seconds,
                    psnrs if self.plan.validation else {},
                )
                log.add(row)
                self.report(row, self.length)
                sums, summed, last_seconds, waiting = torch.zeros((), device=device), 0, seconds, 0.0
                seen = found.patches(iteration)
            progress = Progress(iteration, seconds, progress.code)
            if (saving or keeping or over or stopping) and world.first:
                if not all(bool(torch.isfinite(p).all()) for p in network.parameters()):
                    raise self._diverged("a weight is NaN or infinite", network, iteration, rate, path)
                # Before the checkpoint: a run that is killed between the two makes this step again.
                if keeping:
                    write_tensors(path.with_name("kept") / f"{iteration}.safetensors", average or network.state_dict())
                if saving or over or stopping:
                    write_checkpoint(path, network, optimizer, average, progress)
                    last_saved = time.perf_counter()
            if stopping:
                raise KeyboardInterrupt
            if over:
                break
        return progress

    def _step(
        self,
        network: nn.Module,
        model: nn.Module,
        trained: list[nn.Parameter],
        criterion: Callable[[Tensor, Tensor], Tensor],
        pinned: bool,
        inputs: Tensor,
        targets: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Leave the gradients of a batch in the weights; return its loss and their norm before it was bounded."""
        world, options, count = self.world, self.options, self.options.accumulate
        device = world.device
        for parameter in trained:
            parameter.grad = None
        total = torch.zeros((), device=device)
        for part, chunk in enumerate(zip(inputs.chunk(count), targets.chunk(count), strict=True)):
            x, y = (t.to(device, non_blocking=pinned) for t in chunk)
            if options.channels_last:
                x = x.contiguous(memory_format=torch.channels_last)
            last = part == count - 1
            with (
                contextlib.nullcontext() if last or world.size == 1 else model.no_sync()  # type: ignore[operator]
            ):
                with torch.autocast(device.type, torch.bfloat16, enabled=bool(options.amp)):
                    output = model(to_network(network, x))
                if output.shape != y.shape:
                    raise HarnessError(
                        f"'{self.method.name}' returned {tuple(output.shape)} for targets of {tuple(y.shape)}; "
                        "network and recipe do not belong together"
                    )
                loss = criterion(output, to_network(network, y)) / count
                loss.backward()
            total += loss.detach()
        norm = torch.nn.utils.clip_grad_norm_(trained, options.clip or float("inf"))
        return world.mean(total), norm

    def _check_graph(self) -> None:
        """Refuse `Options.graph` where no step can be recorded."""
        if not self.options.graph:
            return
        if self.world.device.type != "cuda":
            raise HarnessError("graph=true records a step's kernels on a CUDA GPU; on a CPU train without it")
        for other, given in (("torchrun", self.world.size > 1), ("compile=true", self.options.compile)):
            if given:
                raise HarnessError(f"graph=true and {other} were not tried together; leave one of them out")

    def _batches(self, samples: Samples, start: int, pinned: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Iterate over this process's share of every batch from step `start` on, phase by phase."""
        for phase in self.phases:
            if phase.end > start:
                parts = self.parts(phase.batch)
                places = range(parts[0].start, parts[-1].stop)
                yield from batches(samples, places, max(phase.begin, start), phase.end, self.workers, pinned)

    def _check(self, loss: Tensor, norm: Tensor, network: nn.Module, iteration: int, rate: float, path: Path) -> None:
        if not math.isfinite(float(loss)):
            raise self._diverged(f"the loss is {float(loss)}", network, iteration, rate, path)
        if not math.isfinite(float(norm)):
            raise self._diverged(f"the gradient's norm is {float(norm)}", network, iteration, rate, path)

    def _diverged(self, what: str, network: nn.Module, iteration: int, rate: float, path: Path) -> HarnessError:
        """Say where a run went wrong, and what is kept."""
        weights = [k for k, p in network.named_parameters() if not torch.isfinite(p).all()]
        gradients = [
            k for k, p in network.named_parameters() if p.grad is not None and not torch.isfinite(p.grad).all()
        ]
        first = weights or gradients
        where = f", first in {'the weights' if weights else 'the gradient'} of '{first[0]}'" if first else ""
        largest = max(
            (float(p.detach().abs().max()) for p in network.parameters() if torch.isfinite(p).all()), default=0
        )
        kept = "no checkpoint was written yet"
        if path.is_file():
            kept = f"the last good checkpoint is kept in {path}"
        return CheckFailedError(
            f"{self.run.name}: {what} at iteration {iteration} (learning rate {rate:g}, largest weight {largest:.3g})"
            f"{where}; {kept}; try --set clip=1, or without --set amp if it was on"
        )

    def _splits(self, folder: Path) -> list[Split]:
        """Make the splits that are watched; of the images whose results are kept, ground truth and input are too."""
        splits = [
            Split(name, fetched, self.recipe, self.degradation, self.run.level)
            for name, fetched in watched(self.recipe, self.plan.validation, self.data)
        ]
        for split in splits:
            split.keep_targets(folder, self.plan.validation_images)
        return splits

    def _validated(
        self, network: nn.Module, average: dict[str, Tensor], splits: list[Split], folder: Path
    ) -> dict[str, float]:
        """Measure the PSNR of each split, of the moving average where there is one."""
        own = {key: value.detach().clone() for key, value in network.state_dict().items()} if average else {}
        if average:
            network.load_state_dict(average)
        try:
            images = self.plan.validation_images
            return {split.name: split.psnr(network, self.world.device, folder, images) for split in splits}
        finally:
            if average:
                network.load_state_dict(own)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Turn Ctrl-C and a cluster's SIGTERM into a checkpoint after the present step."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return

        def stop() -> None:
            self._interrupted = True

        with told_to_stop(stop):
            yield

    @contextlib.contextmanager
    def _peak(self) -> Iterator[None]:
        if self.world.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.world.device)
        yield

    # The result

    def _plain_record(self, progress: Progress) -> TrainedRecord:
        return TrainedRecord(
            run=self.run,
            recipe=self.recipe.name,
            paper=self.recipe.paper,
            budget=self.plan.label,
            iterations=progress.iteration,
            recipe_iterations=self.recipe.iterations,
            length_of=self.recipe.length_of,
            data=self.recipe.data,
            recipe_data=recipe_of(self.method, self.run.task).data,
            options=self.options,
            overrides=self.plan.recipe,
            start=self.plan.start,
            start_weights=self._start_weights,
        )

    def _result(
        self,
        network: nn.Module,
        average: dict[str, Tensor],
        folder: Path,
        progress: Progress,
        log: Log | None,
        splits: list[Split],
    ) -> TrainedRecord:
        from harness.files import write_json, write_text

        state = average or network.state_dict()
        place = folder / "results" / str(progress.iteration)
        write_tensors(place / WEIGHTS, state)
        rows = log.rows if log is not None else []
        validated = [
            Validated(split.dataset, len(split.pairs), self.recipe.validation.side, psnr)
            for split in splits
            if rows and (psnr := rows[-1].psnrs.get(split.name, rows[-1].psnr)) is not None
        ]
        cuda = self.world.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated() if cuda else _resident()
        facts = device_facts(self.world.device.type)
        record = msgspec.structs.replace(
            self._plain_record(progress),
            weights=file_sha256(place / WEIGHTS, ""),
            seed=self.seed,
            parameters=sum(p.numel() for p in network.parameters() if p.requires_grad),
            rgb_range=rgb_range(network),
            samples=self.recipe.patches(progress.iteration),
            loss=rows[-1].loss if rows else 0.0,
            seconds=round(progress.seconds, 1),
            peak_memory=peak,
            validation=validated[0] if validated else None,
            further_validation=tuple(validated[1:]),
            device=facts.name,
            driver=facts.driver,
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            threads=torch.get_num_threads(),
            processes=self.world.size,
            libraries=_libraries() | {k: v for k, v in (("cuda", facts.cuda), ("cudnn", facts.cudnn)) if v},
            code=progress.code,
            warmup=self.recipe.schedule.warmup,
        )
        write_text(place / "log.csv", (folder / "log.csv").read_text(encoding="utf-8"))
        write_json(place / "recipe.json", self.recipe)
        write_json(place / RECORD, record)
        return record


def result_folder(folder: Path, record: TrainedRecord) -> Path:
    """Folder of a run's result: weights, log, recipe, record."""
    place = folder / "results" / str(record.iterations)
    return place if place.is_dir() else folder / f"only-{record.iterations}" / "results" / str(record.iterations)


def _update(average: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    with torch.no_grad():
        state = network.state_dict()
        moving = [key for key, value in state.items() if value.is_floating_point()]
        torch._foreach_lerp_([average[key] for key in moving], [state[key] for key in moving], 1 - decay)
        for key in state.keys() - set(moving):
            average[key].copy_(state[key])


def _resident() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _libraries() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": platform.python_version()}
    for name in ("numpy", "torch", "restoration-harness"):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
