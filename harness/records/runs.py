"""How a run of a stage went: where, with what, how long. Kept beside results, never a part of their identity."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError
from harness.files import file_sha256, write_json
from harness.process_state import core_count
from harness.records.cells import Group
from harness.records.in_use import root_in_use
from harness.records.loading import load_json
from harness.records.restored import RECORD

# Packages whose versions may move a digit; the harness's own version is among them.
LIBRARIES = (
    "numpy",
    "scipy",
    "pillow",
    "torch",
    "torchvision",
    "scikit-image",
    "h5py",
    "safetensors",
    "bm3d",
    "colour-demosaicing",
    "spandrel",
    "opencv-python-headless",
    "onnxruntime",
    "pyiqa",
    "restoration-harness",
)

# What a run itself changes in a checkout, or what is made from results: no reason to call the code changed.
_NO_SOURCE = (":(exclude,glob)**/dvc.lock", ":(exclude)results", ":(exclude)docs", ":(exclude,glob)**/.gitignore")


class Confirmation(msgspec.Struct, frozen=True):
    """Code that did not make some images but was found to make them pixel by pixel, on a sample.

    `images`, `of`: How many images were restored again, and how many there are.
    `dirty`: Whether sources differed from it.
    """

    code: str
    images: int
    of: int
    revision: str
    dirty: bool | None


class RunRecord(msgspec.Struct, frozen=True):
    """How a run of a stage went.

    `seconds`: Wall time of each restored image by file name (input making and writing excluded); 0 for one that an
        earlier, interrupted run had finished.
    `wall_seconds`: Wall time of the run, loading of libraries excluded.
    `peak_memory`, `gpu_memory`: Highest resident memory of the process, and highest memory that torch held on the GPU,
        bytes.
    `device`, `processor`, `machine`: The GPU's name or ``cpu``; the processor's model; operating system and
        architecture.
    `cores`, `memory`: Cores the process might use, and the machine's memory in bytes.
    `libraries`: Versions of `LIBRARIES` that are installed.
    `precision`: Torch's switches that move digits (TF32, deterministic algorithms), its threads; empty without torch.
    `seed`: What the random numbers of the run were seeded with; empty where none were drawn.
    `revision`: Git revision of the checkout; empty where it is none.
    `dirty`: Whether sources differed from that revision; None where it is not known.
    `retries`: What was done about an image that ran out of memory, by file name.
    `started`, `finished`: UTC times, for people: nothing is decided by them.
    `confirmed`: Later code that was found to restore the same pixels, on a sample.
    `record_sha256`: Checksum of the record that the run wrote beside its results. DVC does not keep descriptions of
        runs, so what it takes from its cache may be another run's.
    `kept`: Levels whose images an earlier run had finished and recorded.
    """

    seconds: dict[str, float] = {}
    wall_seconds: float = 0.0
    peak_memory: int = 0
    gpu_memory: int = 0
    device: str = ""
    processor: str = ""
    machine: str = ""
    cores: int = 0
    memory: int = 0
    python: str = ""
    libraries: dict[str, str] = {}
    precision: dict[str, str] = {}
    seed: str = ""
    revision: str = ""
    dirty: bool | None = None
    retries: dict[str, str] = {}
    command: tuple[str, ...] = ()
    started: str = ""
    finished: str = ""
    confirmed: tuple[Confirmation, ...] = ()
    record_sha256: str = ""
    kept: tuple[int, ...] = ()
    before: RunRecord | None = None

    def of_level(self, level: int) -> RunRecord:
        """The run that made the images of a level: this one, or one before it."""
        run = self
        while level in run.kept and run.before is not None:
            run = run.before
        return run


def run_file(work: Path, group: Group, verb: str = "restore") -> Path:
    """File that describes how a group was restored, or measured."""
    return work / "timing" / group.place.with_name(group.name + (".json" if verb == "restore" else ".rows.json"))


def _record_file(work: Path, group: Group, verb: str) -> Path:
    if verb == "restore":
        return work / "restored" / group.place / RECORD
    return work / "rows" / group.place.with_name(f"{group.name}.json")


def write_run(work: Path, group: Group, run: RunRecord, verb: str = "restore") -> None:
    """Write down how a group was restored, or measured, when its results lie in their place."""
    made, before = file_sha256(_record_file(work, group, verb)), run.before
    if run.kept and before is None:
        with contextlib.suppress(HarnessError):
            before = load_json(run_file(work, group, verb), RunRecord)
    write_json(run_file(work, group, verb), msgspec.structs.replace(run, record_sha256=made, before=before))


def read_run(work: Path, group: Group, verb: str = "restore") -> RunRecord | None:
    """Read how the results that lie there came to be; None where that was not recorded here.

    Raises HarnessError: The file is damaged.
    """
    file = run_file(work, group, verb)
    run = load_json(file, RunRecord) if file.is_file() else None
    return run if run is not None and wrote(work, group, run.record_sha256, verb) else None


def wrote(work: Path, group: Group, record_sha256: str, verb: str = "restore") -> bool:
    """Whether a run with this `RunRecord.record_sha256` made what lies there; where nothing does, it is believed."""
    record = _record_file(work, group, verb)
    return not record_sha256 or not record.is_file() or file_sha256(record) == record_sha256


class Clock:
    """Started with a run; `finish` describes the run."""

    def __init__(self) -> None:
        self._start = time.perf_counter()
        self._started = _now()

    def finish(
        self,
        *,
        seconds: Mapping[str, float] | None = None,
        retries: Mapping[str, str] | None = None,
        seed: str = "",
        kept: Iterable[int] = (),
    ) -> RunRecord:
        """Describe the run that ends now.

        `seconds`, `retries`: By image; see `RunRecord`.
        """
        wall_seconds = round(time.perf_counter() - self._start, 6)
        device, torch = device_name(), _torch()
        # A stage runs in its workspace: the checkout itself, or the user's own repository.
        revision, dirty = git_state(root_in_use() or Path())
        return RunRecord(
            seconds=dict(seconds or {}),
            wall_seconds=wall_seconds,
            peak_memory=peak_memory(),
            gpu_memory=0 if device == "cpu" else int(torch.cuda.max_memory_allocated()),
            device=device,
            processor=processor(),
            machine=f"{platform.system()} {platform.machine()}",
            cores=core_count(),
            memory=machine_memory(),
            python=platform.python_version(),
            libraries=library_versions(),
            precision=precision_flags(),
            seed=seed,
            revision=revision,
            dirty=dirty,
            retries=dict(retries or {}),
            kept=tuple(kept),
            command=("harness", *sys.argv[1:]),
            started=self._started,
            finished=_now(),
        )


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).isoformat(timespec="seconds")


def peak_memory() -> int:
    """Highest resident memory of this process so far, bytes."""
    try:
        import resource
    except ImportError:  # Windows
        import psutil

        return int(psutil.Process().memory_info().rss)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def machine_memory() -> int:
    """Memory of the machine, or of the container where that is less, bytes."""
    import psutil

    total = int(psutil.virtual_memory().total)
    with contextlib.suppress(OSError, ValueError):
        limit = Path("/sys/fs/cgroup/memory.max").read_text().strip()
        if limit != "max":
            total = min(total, int(limit))
    return total


def processor() -> str:
    """Model of the processor, such as ``AMD EPYC 7B13``; the architecture where the system does not tell."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def library_versions(packages: Iterable[str] = ()) -> dict[str, str]:
    """Versions of the installed packages among `LIBRARIES` and some others."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in (*LIBRARIES, *packages):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _torch() -> Any:
    """Torch if this process has loaded it: it is not loaded for a description."""
    return sys.modules.get("torch")


def device_name() -> str:
    """Name of the GPU that torch uses, or ``cpu``."""
    torch = _torch()
    return str(torch.cuda.get_device_name()) if torch is not None and torch.cuda.is_available() else "cpu"


def precision_flags() -> dict[str, str]:
    """Torch's switches that may move a digit, as text by name; empty where torch is not loaded."""
    torch = _torch()
    if torch is None:
        return {}
    return {
        "matmul.allow_tf32": str(torch.backends.cuda.matmul.allow_tf32),
        "cudnn.allow_tf32": str(torch.backends.cudnn.allow_tf32),
        "cudnn.deterministic": str(torch.backends.cudnn.deterministic),
        "cudnn.benchmark": str(torch.backends.cudnn.benchmark),
        "deterministic_algorithms": str(torch.are_deterministic_algorithms_enabled()),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "mkldnn": str(torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled),
        "threads": str(torch.get_num_threads()),
    }


def git(folder: Path, *arguments: str) -> str | None:
    """Run git in a folder and give what it prints; None where it fails, takes too long or is not installed."""
    try:
        return subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            encoding="utf-8",
            timeout=20,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None


def git_state(folder: Path) -> tuple[str, bool | None]:
    """Look up the revision of the checkout a folder lies in, and whether its sources were changed since.

    Returns `revision`: Empty where the folder lies in no git checkout, or git is not installed.
    Returns `dirty`: None where it is not known. Locks, results and documents do not count.
    """
    found = git(folder, "rev-parse", "--show-toplevel", "HEAD")
    top, revision, *_ = (found or "\n").split("\n")
    changed = git(folder, "-C", top, "status", "--porcelain", "--", ".", *_NO_SOURCE) if found else None
    return ("", None) if changed is None else (revision, bool(changed.strip()))
