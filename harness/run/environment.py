"""Checking the environment: what a run needs, before hours of work."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import HarnessError
from harness.tables.workspace import Workspace

State = Literal["fine", "note", "wrong"]


class Finding(msgspec.Struct, frozen=True):
    """What was found.

    `state`: ``fine``; ``note`` (works, but know it); ``wrong`` (a run will fail).
    `detail`: What was found, and what to do about it.
    """

    what: str
    state: State
    detail: str


def examine(workspace: Workspace) -> list[Finding]:
    """Examine everything; a check that itself fails is a finding, not an error."""
    found: list[Finding] = []
    for check in _CHECKS:
        try:
            found += check(workspace)
        except HarnessError as error:
            found.append(Finding(check.__name__.strip("_"), "wrong", str(error)))
    return found


def _python(_: Workspace) -> Iterator[Finding]:
    version = ".".join(str(part) for part in sys.version_info[:3])
    fine = sys.version_info >= (3, 11)
    yield Finding("Python", "fine" if fine else "wrong", version if fine else f"{version}; 3.11 or newer is needed")


def _packages(workspace: Workspace) -> Iterator[Finding]:
    from importlib.metadata import distributions

    import harness
    from harness.run.sources import is_checkout

    try:
        place = Path(harness.__file__).parent.parent
        here = "of this checkout" if is_checkout(workspace.root) else f"installed in {place}"
        yield Finding("harness", "fine", f"version {harness.__version__}, {here}")
    except HarnessError as error:  # a checkout, and other code runs
        yield Finding("harness", "wrong", str(error))
    pins = workspace.root / "constraints.txt"
    if not pins.is_file():
        yield Finding("packages", "note", "no constraints.txt here to compare with")
        return
    wanted = {}
    for line in pins.read_text(encoding="utf-8").splitlines():
        name, equal, version = line.partition("==")
        if equal and not name.startswith("#"):
            wanted[_plain(name)] = version.strip()
    # Each access to the metadata reads the file again.
    described = (distribution.metadata for distribution in distributions())
    installed = {_plain(about["Name"] or ""): about["Version"] for about in described}
    # A local part (torch 2.13.0+cpu) names a build of the same version.
    other = [
        f"{name} {installed[name]} (tested with {version})"
        for name, version in sorted(wanted.items())
        if name in installed and installed[name].split("+")[0] != version.split("+")[0]
    ]
    if other:
        more = f" and {len(other) - 4} more" if len(other) > 4 else ""
        yield Finding("packages", "note", f"other versions than tested: {', '.join(other[:4])}{more}; digits may move")
    else:
        yield Finding("packages", "fine", "the versions of constraints.txt")
    missing = [name for name in ("torch", "dvc", "numpy", "scipy", "pillow", "distributed") if name not in installed]
    if missing:
        yield Finding("packages", "wrong", f"missing: {', '.join(missing)}; install restoration-harness anew")


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")


def _project(workspace: Workspace) -> Iterator[Finding]:
    from harness.records.runs import git_state

    if not workspace.exists:
        yield Finding("workspace", "note", "none here, so no table can be made; `harness init` makes this folder one")
        return
    revision, dirty = git_state(workspace.root)
    if not revision:
        yield Finding("git", "note", "not in git, or no commit yet: results cannot name the revision that made them")
    else:
        yield Finding("git", "fine", f"revision {revision[:12]}" + (", with changed sources" if dirty else ""))
    if not (workspace.root / ".dvc").is_dir():
        yield Finding("DVC", "wrong", "not a DVC repository; `harness init` makes it one")
        return
    from harness.run.pipeline import write_stage_files
    from harness.run.project import Project

    project = Project(workspace.root)
    remote = project.remote or "no remote: results stay on this machine (dvc remote add --default NAME URL)"
    yield Finding("DVC", "fine", remote)
    damaged = sorted(workspace.root.glob("pipelines/**/dvc.lock.damaged"))
    if damaged:
        yield Finding("DVC", "note", f"{len(damaged)} lock files were put aside after a kill; delete *.damaged")
    for reason in workspace.broken_tables.values():
        yield Finding("tables", "wrong", reason)
    outdated = [] if workspace.broken_tables else write_stage_files(workspace, check=True)
    if outdated:
        yield Finding(
            "pipelines", "note", f"{len(outdated)} are out of date; harness repro or harness pipeline writes them"
        )
    elif not workspace.broken_tables:
        yield Finding("pipelines", "fine", "up to date")


def _places(workspace: Workspace) -> Iterator[Finding]:
    if not workspace.exists:
        return
    for folder in (workspace.data, workspace.work, workspace.results):
        probe = folder / f".doctor-{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"x")
            ahead = probe.stat().st_mtime - time.time()
            probe.unlink()
        except OSError as error:
            yield Finding(folder.name, "wrong", f"{folder} cannot be written ({error.strerror or error})")
            continue
        free = shutil.disk_usage(folder).free / 2**30
        state: State = "fine" if free > 5 else "note"
        yield Finding(folder.name, state, f"{free:.1f} GiB free" + ("" if free > 5 else "; large tables need more"))
        if abs(ahead) > 10:
            yield Finding("clock", "note", f"the disk of {folder} is {ahead:+.0f} s off this machine's clock")


def _images(workspace: Workspace) -> Iterator[Finding]:
    from harness.assets.hosts import mirrors, without_user

    folders, urls = mirrors()
    for folder in folders:
        fine = folder.is_dir()
        yield Finding("mirror", "fine" if fine else "wrong", str(folder) if fine else f"{folder} is no folder")
    for url in urls:
        yield Finding("mirror", "fine", f"{without_user(url)} (asked when something is fetched)")
    if not folders and not urls:
        yield Finding(
            "mirror", "note", "HARNESS_MIRROR is not set: images come from public sources or your own folders"
        )


def _machine(_: Workspace) -> Iterator[Finding]:
    from harness.process_state import core_count
    from harness.records.devices import device_facts, why_no_gpu
    from harness.records.runs import machine_memory, processor
    from harness.run.resources import free_memory, gpus

    memory, free = machine_memory() / 2**30, free_memory() / 2**30
    state: State = "fine" if free > 3 else "note"
    yield Finding("memory", state, f"{free:.1f} of {memory:.1f} GiB for stages" + ("" if free > 3 else "; use -j 1"))
    threads = os.environ.get("OMP_NUM_THREADS", "")
    yield Finding(
        "cores", "fine", f"{core_count()}, {processor()}" + (f", OMP_NUM_THREADS={threads}" if threads else "")
    )
    found = gpus()
    yield Finding("GPU", "fine" if found else "note", ", ".join(found) if found else "none: networks run on the CPU")
    import torch

    seen = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text := why_no_gpu():
        yield Finding("torch", "note", text)
    elif len(found) != seen:
        yield Finding(
            "torch",
            "note",
            f"{torch.__version__} sees {seen} of {len(found)} GPUs; install a CUDA build (docs/installation.md)",
        )
    else:
        yield Finding("torch", "fine", f"{torch.__version__}, networks run on {device_facts().text}")
    try:
        import resource

        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        yield Finding("open files", "fine" if files >= 512 else "note", f"at most {files}")
    except ImportError:
        pass


def _plugins(workspace: Workspace) -> Iterator[Finding]:
    from harness.methods import broken_plugins
    from harness.methods.definitions import broken_definitions

    known = workspace.methods()
    broken = broken_definitions() | broken_plugins()
    for text in broken.values():
        yield Finding("plugins", "wrong", text)
    if not broken:
        yield Finding("plugins", "fine", f"{len(known)} methods")


_CHECKS: tuple[Callable[[Workspace], Iterator[Finding]], ...] = (
    _python,
    _packages,
    _project,
    _places,
    _images,
    _machine,
    _plugins,
)
