"""Acceptance of a GPU, in three parts of at most nine minutes each: is it correct, is it fast, does it learn.

    python benchmarks/gpu_acceptance.py correct --data data --out out
    python benchmarks/gpu_acceptance.py fast --data data --out out
    python benchmarks/gpu_acceptance.py learn --data data --out out --minutes 9    # again with 18: goes on

Needs PyTorch, numpy, Pillow, PyYAML, click and msgspec, and for training the sets bsd400 and kodak24 below ``data``
(`harness datasets fetch bsd400 kodak24`). Each part writes ``<out>/<part>.json`` and exits with 1 where a gate does not
hold. ``--device cpu --toy`` runs the same logic small, as the tests do.
"""

from __future__ import annotations

import contextlib
import copy
import hashlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import click
import msgspec
import torch
from torch import Tensor, nn

from harness.degradations.registry import degradation
from harness.methods import get_method, methods
from harness.networks import batched_attention, dot_product_attention, patch_attention
from harness.networks.flat_keys import FlatKeys
from harness.networks.measure import accepted_side, peak_memory
from harness.records.devices import device_facts
from harness.records.tasks import task as task_of
from harness.records.training_runs import Options, TrainingPlan, TrainingRun
from harness.training.graphs import WARM_UP, CudaRecorder, RecordedStep
from harness.training.losses import weighted
from harness.training.recipe import recipe

FLOAT32, GRADIENT = 1e-5, 1e-3
"""Largest relative differences of outputs and gradients; where float32 on the CPU gives more, three times that.

A ReLU that float32 switches and float64 does not moves a gradient by more than rounding does."""

# Method, task, level: what is timed.
TIMED = (
    ("panet-s", "denoise-rgb", 50),
    ("panet-trained", "denoise-rgb", 50),
    ("csnln-trained", "sr", 2),
    ("rnan-trained", "denoise-rgb", 50),
    ("kit", "denoise-real", 0),
    ("edsr-trained", "sr", 2),
)

VARIANTS: dict[str, dict[str, Any]] = {
    "graph": {"graph": True},
    "float32": {},
    "tf32": {"precision": "high"},
    "bfloat16": {"amp": "bfloat16", "precision": "high"},
    "channels_last": {"precision": "high", "channels_last": True},
    "compile": {"precision": "high", "compile": True},
}

Check = dict[str, Any]


class Place:
    """Where a part runs: device, size, data, output, and until when."""

    def __init__(self, device: str, toy: bool, data: Path, out: Path, minutes: float) -> None:
        self.device, self.toy, self.data, self.out = torch.device(device), toy, data, out
        self.end = time.monotonic() + 60 * minutes
        out.mkdir(parents=True, exist_ok=True)

    @property
    def cuda(self) -> bool:
        return self.device.type == "cuda"

    def late(self, seconds: float = 0) -> bool:
        """Whether fewer seconds than these are left."""
        return time.monotonic() + seconds > self.end

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def environment(self) -> dict[str, Any]:
        """What a number on this card depends on."""
        found: dict[str, Any] = {"python": platform.python_version(), "torch": torch.__version__}
        facts = msgspec.structs.asdict(device_facts(self.device.type))
        found |= {"device": facts.pop("name"), **facts}
        if self.cuda:
            found |= {
                "memory": torch.cuda.get_device_properties(0).total_memory,
                "triton": batched_attention.has_triton(),
            }
        return found

    def finish(self, part: str, checks: Iterable[Check]) -> None:
        """Make the checks, write the part's file after each, and exit with 1 where a gate does not hold."""
        made: list[Check] = []
        for check in checks:
            made.append(check)
            found = {"environment": self.environment(), "toy": self.toy, "checks": made}
            (self.out / f"{part}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            mark = {True: "ok  ", False: "FAIL", None: "    "}[check.get("ok")]
            rest = {key: value for key, value in check.items() if key not in ("ok", "name")}
            click.echo(f"{mark} {check['name']}: {json.dumps(rest)}"[:400])
        failed = [check for check in made if check.get("ok") is False]
        click.echo(f"{part}: {len(made) - len(failed)} of {len(made)} hold")
        sys.exit(1 if failed else 0)


def relative(found: Tensor, wanted: Tensor) -> float:
    """Norm of the difference over the norm; NaN stays NaN, and fails every gate."""
    wanted = wanted.detach().double().cpu()
    return float((found.detach().double().cpu() - wanted).norm() / wanted.norm().clamp_min(1e-30))


def guarded(name: str, check: Callable[..., Check], place: Place, *arguments: Any) -> Check:
    """Run a check, unless the time is over; an error is its result."""
    if place.late(20):
        return {"name": name, "not_run": "no time left"}
    start = time.monotonic()
    try:
        found = check(place, *arguments)
    except Exception as error:
        found = {"ok": False, "error": f"{type(error).__name__}: {error}"[:300]}
    return {"name": name, "ok": None, **found, "seconds": round(time.monotonic() - start, 2)}


# Correct


def trainable() -> list[tuple[str, str, int]]:
    """Give each network that can be trained once: method, task, level."""
    found = []
    for name, method in sorted(methods().items()):
        if method.recipes and (name.endswith("-trained") or name in ("kit", "kit-s", "panet-s")):
            task = next(iter(method.recipes))
            found.append((name, task, task_of(task).levels[0]))
    return found


def network_of(name: str, task: str, level: int) -> nn.Module:
    torch.manual_seed(0)
    make = get_method(name).network
    assert make is not None
    network: nn.Module = make(task, level)
    return network


def input_of(task: str, network: nn.Module, side: int, batch: int) -> Tensor:
    channels = task_of(task).channels
    side = accepted_side(network, side)
    return torch.rand(batch, channels, side, side, generator=torch.Generator().manual_seed(1))


def step(network: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """One forward and backward pass: the output, and all gradients in a row."""
    network.zero_grad(set_to_none=True)
    out = network(x)
    out = out[-1] if isinstance(out, list | tuple) else out
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view(out.shape).to(out.device)
    (out * weights).mean().backward()
    grads = [p.grad.flatten() for p in network.parameters() if p.grad is not None]
    return out.detach(), torch.cat(grads)


def check_network(place: Place, name: str, task: str, level: int) -> Check:
    """A network on the device against the CPU in double precision, beside what float32 on the CPU gives."""
    network = network_of(name, task, level).eval()
    x = input_of(task, network, 32 if place.toy else 48, 1)
    exact, basis = copy.deepcopy(network).double(), "float64"
    try:
        want = step(exact, x.double())
    except Exception:  # a network that fixes its own precision somewhere
        want, basis = step(copy.deepcopy(network), x), "float32"
    here = step(copy.deepcopy(network), x)
    there = step(network.to(place.device), x.to(place.device))
    cpu, gpu = ([relative(a, b) for a, b in zip(found, want, strict=True)] for found in (here, there))
    ok = all(value <= max(gate, 3 * own) for value, gate, own in zip(gpu, (FLOAT32, GRADIENT), cpu, strict=True))
    return {"ok": ok, "output": gpu[0], "gradient": gpu[1], "cpu_output": cpu[0], "cpu_gradient": cpu[1], "to": basis}


def maps(place: Place, batch: int, side: int, levels: int, dtype: torch.dtype) -> list[Tensor]:
    """Query, keys and values of a pyramid, leaves on the device."""
    generator = torch.Generator().manual_seed(3)
    sizes = [(side, side), *[(int(side * s), int(side * s)) for s in (0.9, 0.8, 0.7, 0.6)]][:levels]
    shapes = [(batch, 16, side, side), *[(batch, 16, *s) for s in sizes], *[(batch, 24, *s) for s in sizes]]
    made = [torch.randn(shape, generator=generator, dtype=torch.float64) * 0.3 for shape in shapes]
    return [tensor.to(place.device, dtype).requires_grad_() for tensor in made]


def attend(leaves: list[Tensor], **options: Any) -> list[Tensor]:
    count = (len(leaves) - 1) // 2
    out = patch_attention.patch_attention(leaves[0], leaves[1 : count + 1], leaves[count + 1 :], **options)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype, device=out.device).view_as(out)
    return [out.detach(), *torch.autograd.grad((out * weights).sum(), leaves)]


def check_attention(place: Place, ksize: int, levels: int, side: int) -> Check:
    """Batched attention, fused and plain, whole and in chunks, against the direct form in double precision."""
    batch = 3
    want = attend(maps(place, batch, side, levels, torch.float64), kernel="direct", ksize=ksize)
    scale = max(float(g.abs().max()) for g in want[1:])
    found: dict[str, list[float]] = {}

    def error(got: list[Tensor]) -> list[float]:
        gradient = max(float((a.double() - b).abs().max()) for a, b in zip(got[1:], want[1:], strict=True)) / scale
        return [relative(got[0], want[0]), gradient]

    leaves = maps(place, batch, side, levels, torch.float32)
    found["batched"] = error(attend(leaves, kernel="batched", ksize=ksize))
    found["chunks"] = error(attend(leaves, kernel="batched", ksize=ksize, memory_budget=400_000))
    found["direct"] = error(attend(leaves, kernel="direct", ksize=ksize))
    with plain_passes():
        found["plain"] = error(attend(leaves, kernel="batched", ksize=ksize))
    again = [attend(leaves, kernel="batched", ksize=ksize) for _ in range(2)]
    same = all(torch.equal(a, b) for a, b in zip(*again, strict=True))
    ok = same and all(value[0] <= FLOAT32 and value[1] <= FLOAT32 for key, value in found.items() if key != "direct")
    return {"ok": ok, **found, "two_runs_equal": same}


@contextlib.contextmanager
def plain_passes() -> Iterator[None]:
    """Do without Triton."""
    usual = batched_attention.has_triton
    batched_attention.has_triton = lambda: False  # type: ignore[assignment]
    try:
        yield
    finally:
        batched_attention.has_triton = usual


def check_dot_product(place: Place, form: str) -> Check:
    """Pixel-wise attention, and torch's own fused form beside it."""
    generator = torch.Generator().manual_seed(4)
    side = 12 if place.toy else 40
    made = [torch.randn(2, c, side, side, generator=generator, dtype=torch.float64) for c in (16, 16, 32)]

    def run(dtype: torch.dtype, **options: Any) -> list[Tensor]:
        leaves = [tensor.to(place.device, dtype).requires_grad_() for tensor in made]
        out = dot_product_attention.dot_product_attention(*leaves, form=form, **options)
        return [out.detach(), *torch.autograd.grad(out.square().sum(), leaves)]

    want = run(torch.float64, kernel="direct")
    errors = {
        "batched": max(map(relative, run(torch.float32, kernel="batched"), want)),
        "chunks": max(map(relative, run(torch.float32, kernel="batched", memory_budget=100_000), want)),
    }
    if form == "gather":
        a, b, v = (tensor.to(place.device, torch.float32).flatten(2).transpose(1, 2)[:, None] for tensor in made)
        out = nn.functional.scaled_dot_product_attention(a, b, v, scale=1.0)
        sdpa = relative(out[:, 0].transpose(1, 2).reshape(want[0].shape), want[0])
        return {"ok": max(errors.values()) <= FLOAT32, **errors, "sdpa": sdpa}
    return {"ok": max(errors.values()) <= FLOAT32, **errors}


def check_autocast(place: Place) -> Check:
    """Mixed precision leaves the scores alone, TF32 too."""
    leaves = maps(place, 2, 12, 2, torch.float32)
    want = attend(leaves, kernel="batched")
    with torch.autocast(place.device.type, torch.bfloat16), settings({"precision": "high"}):
        got = attend(leaves, kernel="batched")
    return {"ok": all(torch.equal(a, b) for a, b in zip(got, want, strict=True))}


def check_groups(place: Place) -> Check:
    """KiT's partners are those of the CPU, and two backward passes give the same bits."""
    network = network_of("kit", "denoise-real", 0).eval()
    attention = next(m for m in network.modules() if hasattr(m, "group"))
    patches = torch.randn(1, 64, attention.r**2 * attention.phi.in_features, generator=torch.Generator().manual_seed(5))
    here = attention.group(patches)
    there = copy.deepcopy(attention).to(place.device).group(patches.to(place.device)).cpu()
    x = input_of("denoise-real", network, 64, 1).to(place.device)
    network.to(place.device)
    with deterministic():
        first, second = step(network, x), step(network, x)
    same = torch.equal(first[1], second[1])
    return {"ok": same and torch.equal(here, there), "groups_equal": torch.equal(here, there), "gradient_equal": same}


def check_triton(place: Place) -> Check:
    """The passes in Triton are installed, and give what torch's own operations give."""
    if not place.cuda or not batched_attention.has_triton():
        return {}
    layouts = [FlatKeys.of([(8, 8)], pad) for pad in (1, 2)]
    found = [batched_attention.passes_for(torch.empty(1, device=place.device), layout) for layout in layouts]
    return {"ok": not any(isinstance(passes, batched_attention.Plain) for passes in found)}


def check_graph(place: Place, name: str, task: str, level: int) -> Check:
    """A network whose steps are recorded ends in the bits of one whose steps are not."""
    found = recipe(get_method(name).recipes[task])
    criterion, count = weighted(found.loss), 6 if place.toy else 20
    scale = degradation(found.degradation).scale(level)
    ends = []
    with deterministic():
        for recorded in (False, True):
            network = network_of(name, task, level).train()
            x = torch.cat([input_of(task, network, 16 if place.toy else 48, 2)] * count)
            x = x * torch.linspace(0.5, 1, len(x)).view(-1, 1, 1, 1)
            y = torch.rand(len(x), x.shape[1], scale * x.shape[2], scale * x.shape[3])
            network.to(place.device)
            optimizer = torch.optim.Adam(network.parameters(), lr=1e-4)
            step = made_step(network, network, criterion, {})
            if recorded and place.cuda:
                step = RecordedStep(step, CudaRecorder(place.device), place.device)
            torch.manual_seed(2)
            for inputs, targets in zip(x.to(place.device).split(2), y.to(place.device).split(2), strict=True):
                step(inputs, targets)
                optimizer.step()
            ends.append([value.detach().cpu() for value in network.state_dict().values()])
    return {"ok": all(torch.equal(a, b) for a, b in zip(*ends, strict=True)), "steps": count}


def made_step(network: nn.Module, model: nn.Module, criterion: Any, options: dict[str, Any]) -> Any:
    """A step of a training, up to the gradients."""
    kind = next(network.parameters()).device.type

    def step(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        for parameter in network.parameters():
            parameter.grad = None
        with torch.autocast(kind, torch.bfloat16, enabled=bool(options.get("amp"))):
            out = model(x)
        loss = criterion(out, y)
        loss.backward()
        return loss.detach(), loss.detach()

    return step


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    """As training does unless it is told otherwise."""
    switches: Any = torch.utils.deterministic
    filling = switches.fill_uninitialized_memory
    torch.use_deterministic_algorithms(True, warn_only=True)
    switches.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)
        switches.fill_uninitialized_memory = filling


def check_no_waiting(place: Place, name: str, task: str, level: int) -> Check:
    """A forward and backward pass never makes the host wait for the GPU."""
    network = network_of(name, task, level).to(place.device)
    x = input_of(task, network, 48, 2).to(place.device)
    step(network, x)
    if not place.cuda:
        return {}
    import warnings

    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            step(network, x)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    waits = [f"{w.filename.rsplit('/', 1)[-1]}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
    # `linspace(...).to(device)` of this file is the only copy that is allowed.
    waits = [wait for wait in waits if not wait.startswith("gpu_acceptance")]
    return {"ok": not waits, "waits": sorted(set(waits))}


def check_samples(place: Place, dataset: str) -> Check:
    """The samples' bytes: they depend on seed, step and place alone."""
    training = made_training(place, dataset, "panet-s", place.out / "samples", TrainingPlan(iterations=1))
    from harness.assets.datasets.reading import open_dataset
    from harness.training.samples import Samples

    store = training._store(open_dataset(training.recipe.data, place.data))
    samples = Samples(store, training.recipe, training.degradation, 50, 1)
    digest = hashlib.sha256()
    for number in range(3):
        for tensor in samples.batch(number, range(4)):
            digest.update(tensor.numpy().tobytes())
    return {"sha256": digest.hexdigest(), "dataset": dataset}


def made_training(place: Place, dataset: str, name: str, work: Path, plan: TrainingPlan) -> Any:
    from harness.training.loop import Training
    from harness.training.world import World

    workers = min(8, os.cpu_count() or 1) if place.cuda else 0
    return Training(
        TrainingRun("denoise-rgb", name, 50),
        msgspec.structs.replace(plan, data=dataset),
        get_method(name),
        data=place.data,
        work=work,
        world=World(0, 1, place.device),
        workers=workers,
        checkpoint_minutes=0.02 if place.cuda else 0.005,
    )


def trained_weights(place: Place, dataset: str, name: str, work: str, iterations: int, graph: bool = False) -> str:
    """Train and return the SHA-256 of the weights."""
    plan = TrainingPlan(iterations=iterations, options=Options(graph=graph and place.cuda))
    record, _ = made_training(place, dataset, name, place.out / "work" / work, plan).finish()
    return str(record.weights)


def learner(place: Place) -> str:
    """What is trained: PANet-S, or a network that a CPU trains in seconds."""
    return "resnet-half" if place.toy else "panet-s"


def check_repeatable(place: Place, dataset: str, name: str) -> Check:
    """Two deterministic runs end in the same bits, and a third whose steps are recorded."""
    count = 3 if place.toy else 20
    shutil.rmtree(place.out / "work", ignore_errors=True)
    found = [trained_weights(place, dataset, name, f"repeat-{name}-{n}", count, n == 2) for n in range(3)]
    return {"ok": len(set(found)) == 1, "iterations": count, "graph": found[2] == found[0]}


def check_kill(place: Place, dataset: str, count: int = 150) -> Check:
    """A run of recorded steps that is killed and goes on ends in the bits of one that is not."""
    shutil.rmtree(place.out / "work", ignore_errors=True)
    whole = trained_weights(place, dataset, learner(place), "whole", count, True)
    command = [sys.executable, __file__, "steps", "--device", place.device.type, "--data", str(place.data)]
    command += ["--out", str(place.out), "--dataset", dataset, "--iterations", str(count), *["--toy"] * place.toy]
    process = subprocess.Popen(command, start_new_session=True)
    folder = place.out / "work" / "killed"
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if list(folder.rglob("checkpoint.safetensors")):
            break
        time.sleep(0.02)
    killed = process.poll() is None
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    resumed = trained_weights(place, dataset, learner(place), "killed", count, True)
    return {"ok": resumed == whole, "killed": killed}


def check_memory(place: Place, dataset: str) -> Check:
    """A batch that does not fit is computed in parts, and the record says in how many."""
    training = made_training(place, dataset, "panet-s", place.out / "work" / "memory", TrainingPlan(iterations=2))
    training.workers = 0
    said: list[str] = []
    training.notice = said.append
    if not place.cuda:
        return {}
    torch.cuda.empty_cache()
    _, total = torch.cuda.mem_get_info()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1.6 * 2**30 / total))
    try:
        record, _ = training.finish()
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    return {"ok": record.options.accumulate > 1, "parts": record.options.accumulate, "said": said}


# Fast


@contextlib.contextmanager
def settings(options: dict[str, Any]) -> Iterator[None]:
    """The precision of a variant."""
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark
    torch.set_float32_matmul_precision(options.get("precision", "highest"))
    torch.backends.cudnn.allow_tf32 = options.get("precision", "highest") != "highest"
    # As training does: the usual kernels, not the fastest of a trial.
    torch.backends.cudnn.benchmark = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark = before[1:]


def arithmetic(network: nn.Module, criterion: Any, x: Tensor, y: Tensor) -> int:
    """Floating-point operations of a step's matrix products and convolutions, as they are carried out here."""
    from torch.utils.flop_counter import FlopCounterMode

    twin = copy.deepcopy(network).to("meta")
    with FlopCounterMode(display=False) as counter:
        criterion(twin(x.to("meta")), y.to("meta")).backward()
    return counter.get_total_flops()


def ceiling(place: Place, variant: str, cache: dict[str, float]) -> float:
    """Operations a second of a large matrix product in a variant's precision, measured here."""
    kind = {"float32": "float32", "graph": "float32", "bfloat16": "bfloat16"}.get(variant, "tf32")
    if kind not in cache:
        size = 256 if place.toy else 8192
        dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32
        with settings({"precision": "highest" if kind == "float32" else "high"}):
            a, b = (torch.randn(size, size, device=place.device, dtype=dtype) for _ in range(2))
            seconds = timed(place, lambda: a @ b, 5)
        cache[kind] = 2 * size**3 / seconds
    return cache[kind]


def timed(place: Place, run: Callable[[], object], repeat: int) -> float:
    """Median seconds of a call, after some that warm up."""
    times = []
    for index in range(repeat + WARM_UP):
        place.wait()
        start = time.perf_counter()
        run()
        place.wait()
        if index >= WARM_UP:
            times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def kernels(place: Place, run: Callable[[], object]) -> int:
    """Kernels that the GPU carries out in a call."""
    if not place.cuda:
        return 0
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as found:
        run()
        place.wait()
    return sum(1 for event in found.events() if "cuda" in str(event.device_type).lower())


def check_step(place: Place, name: str, task: str, level: int, variant: str, cache: dict[str, float]) -> Check:
    """Time one training step at the recipe's batch and patch; the gate is that of recorded steps in float32."""
    options = VARIANTS[variant]
    network = network_of(name, task, level).train()
    found = recipe(get_method(name).recipes[task])
    batch, patch = (2, 16) if place.toy else (found.batch, found.patch)
    x = input_of(task, network, patch, batch)
    scale = degradation(found.degradation).scale(level)
    y = torch.rand(batch, x.shape[1], scale * x.shape[2], scale * x.shape[3])
    criterion = weighted(found.loss)
    flops = arithmetic(network, criterion, x, y)
    network.to(place.device)
    if options.get("channels_last"):
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        x = x.contiguous(memory_format=torch.channels_last)
    x, y = x.to(place.device), y.to(place.device)
    fused = place.cuda and "precision" in options
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=fused or None)
    model = torch.compile(network) if options.get("compile") else network
    step = made_step(network, model, criterion, options)
    if options.get("graph") and place.cuda:
        step = RecordedStep(step, CudaRecorder(place.device), place.device)

    def run() -> None:
        step(x, y)
        optimizer.step()

    with settings(options), deterministic():
        start = time.perf_counter()
        run()
        place.wait()
        first = time.perf_counter() - start
        seconds = timed(place, run, 1 if place.toy else 7)
        count, peak = kernels(place, run), peak_memory(run, place.device)
    bound = flops / ceiling(place, variant, cache)
    result: Check = {
        "ms": round(1000 * seconds, 2),
        "first_s": round(first, 1),
        "kernels": count,
        "peak_gib": round((peak or 0) / 2**30, 2),
        "gflop": round(flops / 1e9),
        "over_bound": round(seconds / bound, 2),
    }
    if variant == "graph" and place.cuda:
        result["ok"] = seconds <= 3 * bound
    return result


def check_whole_image(place: Place) -> Check:
    """PANet on a whole image of Kodak24's size; the authors cut it into tiles."""
    network = network_of("panet-trained", "denoise-rgb", 50).eval().to(place.device)
    shape = (1, 3, 24, 32) if place.toy else (1, 3, 512, 768)
    x = torch.rand(shape).to(place.device)
    seconds: list[float] = []

    def run() -> None:
        start = time.perf_counter()
        network(x)
        place.wait()
        seconds.append(time.perf_counter() - start)

    with torch.inference_mode(), settings({}):
        network(x[..., : shape[2] // 4, : shape[3] // 4])
        place.wait()
        peak = peak_memory(run, place.device)
    return {"seconds": round(seconds[0], 3), "peak_gib": round((peak or 0) / 2**30, 2)}


# Learns


def check_learns(place: Place, dataset: str, minutes: float, gate: float) -> Check:
    """Train PANet-S at sigma 50 for some minutes, or go on up to them."""
    plan = TrainingPlan(minutes=minutes, options=Options(precision="high", fused=place.cuda))
    if place.toy:
        plan = TrainingPlan(iterations=4)
    training = made_training(place, dataset, learner(place), place.out / "learn", plan)
    training.checkpoint_minutes = 1.0
    training.report = lambda row, length: click.echo(
        f"{row.iteration}: loss {row.loss:.5f}, {row.psnr or 0:.2f} dB, {row.images_per_second:.0f} patches/s, "
        f"waiting {row.waiting:.3f}"
    )
    record, folder = training.finish()
    from harness.training.logs import read_log

    rows = read_log(folder / "log.csv")
    steady = rows[len(rows) // 3 :]
    waiting = sum(row.waiting for row in steady) / len(steady)
    psnr = record.validation.psnr if record.validation else 0.0
    result: Check = {
        "name": "learns",
        "iterations": record.iterations,
        "training_s": record.seconds,
        "psnr": round(psnr, 3),
        "validation": record.validation.dataset if record.validation else "",
        "patches_per_s": round(steady[-1].images_per_second),
        "waiting": round(waiting, 4),
        "weights": record.weights,
    }
    if not place.toy:
        result["ok"] = psnr >= gate and waiting < 0.05
    return result


# Command line


def options(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option("--device", default="cuda"),
        click.option("--toy", is_flag=True, help="Small, to see that everything runs."),
        click.option("--data", type=click.Path(path_type=Path), default=Path("data")),
        click.option("--dataset", default="bsd400", help="Training set below --data."),
        click.option("--out", type=click.Path(path_type=Path), default=Path("gpu-acceptance")),
        click.option("--minutes", default=9.0),
    ):
        command = option(command)
    return command


@click.group()
def main() -> None:
    """Run one part."""


@main.command()
@options
def correct(device: str, toy: bool, data: Path, dataset: str, out: Path, minutes: float) -> None:
    """Compare with the CPU and with double precision."""
    place = Place(device, toy, data, out, minutes)
    with settings({}):
        place.finish("correct", correct_checks(place, toy, dataset))


def correct_checks(place: Place, toy: bool, dataset: str) -> Iterator[Check]:
    """Everything of the first part, the quick checks first."""
    yield guarded("Triton passes", check_triton, place)
    for ksize in (1, 3, 5):
        for levels in (1, 5):
            for side in (9,) if toy else (9, 24):
                name = f"attention {ksize}x{ksize}, {levels} levels, {side}x{side}"
                yield guarded(name, check_attention, place, ksize, levels, side)
    for form in ("gather", "scatter"):
        yield guarded(f"dot product, {form}", check_dot_product, place, form)
    yield guarded("autocast and TF32", check_autocast, place)
    yield guarded("k-NN groups", check_groups, place)
    for network in TIMED[:1] if toy else TIMED:
        yield guarded(f"no waiting: {network[0]}", check_no_waiting, place, *network)
    for network in TIMED[:1] if toy else TIMED:
        yield guarded(f"graph: {network[0]}", check_graph, place, *network)
    yield guarded("samples", check_samples, place, dataset)
    for learned in ("resnet-half",) if toy else ("panet-s", "resnet-half"):
        yield guarded(f"two runs: {learned}", check_repeatable, place, dataset, learned)
    if not toy:  # tests/training/test_training_processes.py kills on a CPU
        yield guarded("kill -9", check_kill, place, dataset)
    yield guarded("out of memory", check_memory, place, dataset)
    for network in trainable()[:2] if toy else trainable():
        yield guarded(f"network {network[0]}", check_network, place, *network)


@main.command()
@options
def fast(device: str, toy: bool, data: Path, dataset: str, out: Path, minutes: float) -> None:
    """Time training steps and a whole image."""
    place = Place(device, toy, data, out, minutes)
    place.finish("fast", fast_checks(place, toy))


def fast_checks(place: Place, toy: bool) -> Iterator[Check]:
    """Everything of the second part."""
    cache: dict[str, float] = {}
    for variant in VARIANTS:
        for network in TIMED[:1] if toy else TIMED:
            if not (toy and variant == "compile"):
                yield guarded(f"{network[0]}, {variant}", check_step, place, *network, variant, cache)
    yield guarded("whole image: panet", check_whole_image, place)
    yield {"name": "ceilings", "tflops": {kind: round(rate / 1e12, 1) for kind, rate in cache.items()}}


@main.command()
@options
@click.option("--gate", default=26.0, help="Least PSNR on the validation crops, dB.")
def learn(device: str, toy: bool, data: Path, dataset: str, out: Path, minutes: float, gate: float) -> None:
    """Train PANet-S at sigma 50, or go on with it."""
    place = Place(device, toy, data, out, minutes)
    place.finish("learn", [check_learns(place, dataset, minutes, gate)])


@main.command(hidden=True)
@options
@click.option("--iterations", default=6)
def steps(device: str, toy: bool, data: Path, dataset: str, out: Path, minutes: float, iterations: int) -> None:
    """The run that is killed."""
    place = Place(device, toy, data, out, minutes)
    trained_weights(place, dataset, learner(place), "killed", iterations, True)


if __name__ == "__main__":
    main()
