"""DVC inside this process: which stages have changed, and running one of them.

DVC itself decides what has changed and records what was run; here its functions are called directly, for one stage at a
time, because a `dvc repro` reads every pipeline of the project before it looks at the first stage.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from dvc.exceptions import DvcException, FileTransferError

from harness.errors import HarnessError
from harness.run.dvc_private import (
    LockError,
    StageCmdFailedError,
    commands_started_by,
    drop_dead_locks,
    lock_file_is_whole,
    lock_repo,
    open_repo,
    read_undisturbed,
)
from harness.run.graph import Node

T = TypeVar("T")

# DVC's lock on a stage's files is taken or refused at once; another run may hold it for hours.
_RETRY_SECONDS = 0.5


class StageFailedError(HarnessError):
    """A stage's command ended with an exit status other than 0.

    `status`: The command's exit status; 0 where it did not come so far.
    """

    exit_code = 1

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


def _in_git(folder: Path) -> bool:
    folder = folder.resolve()
    return any((above / ".git").exists() for above in (folder, *folder.parents))


class Project:
    """A DVC repository.

    `shared`: Whether processes of other machines may work in it: their locks cannot be told from those of dead ones.
    Raises HarnessError: It is none.
    """

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        if not (root / ".dvc").is_dir():
            raise HarnessError(f"{root.resolve()}: not a DVC repository; run `harness init`, which makes it one")
        for name in ("data", "work", "results"):
            if (root / name).is_symlink() and _in_git(root):
                raise HarnessError(
                    f"{root / name}: is a link, and DVC records nothing that lies outside of git; mount the other disk "
                    "there, or move DVC's cache alone: dvc cache dir FOLDER"
                )
        self.root = root
        _put_own_harness_first()
        # What a stage prints is told; DVC's own lines are not, and its errors come as exceptions.
        logging.getLogger("dvc").setLevel(logging.CRITICAL)
        self._shared = shared
        if not shared:
            drop_dead_locks(root)
        self._repo = open_repo(root, in_git=_in_git(root))
        self._stages: dict[str, dict[str, Any]] = {}

    def changed(self, nodes: Iterable[Node]) -> set[str]:
        """Find the stages that DVC may have to run: those it finds changed, and those that need one of them.

        The comparisons are those of `dvc status` and `dvc repro` (definition, dependencies, outputs); stages that
        always run are compared too, as if they did not.

        `nodes`: Each after those it needs.
        Returns: Addresses.
        """
        found: set[str] = set()
        with lock_repo(self._repo):
            for node in nodes:
                if not found.isdisjoint(node.needs) or self._differs(node):
                    found.add(node.address)
        return found

    def _differs(self, node: Node) -> bool:
        lock_file = (self.root / node.file).with_name("dvc.lock")
        if not lock_file.is_file():
            return True  # nothing of this file was ever run
        try:
            stage = self._load(node)
            # Not `stage.changed()`: it writes DVC's lock file six times a stage, and nothing is written here.
            return stage is None or stage.changed_stage() or any(item.status() for item in (*stage.deps, *stage.outs))
        # What was cut off may still be YAML, with half a name in it; DVC then fails with whatever is at hand.
        except Exception:
            _put_aside(lock_file)
            self._stages.pop(node.file, None)
            return True

    def _load(self, node: Node) -> Any:
        """Load a stage; every stage of its file at once. None where DVC does not find it."""
        if node.file not in self._stages:
            path = Path(self._repo.root_dir) / node.file
            self._mend_lock_file(path)
            self._stages[node.file] = {stage.name: stage for stage in self._repo.stage.load_all(str(path))}
        return self._stages[node.file].get(node.name)

    def _mend_lock_file(self, pipeline: Path) -> None:
        """Put a dvc.lock aside that a killed DVC has left half-written.

        DVC's cache of runs still knows what was computed, so nothing is computed again.
        """
        lock_file = pipeline.with_name("dvc.lock")
        if lock_file.exists() and not lock_file_is_whole(self._repo, lock_file):
            _put_aside(lock_file)

    def reproduce(
        self,
        file: str,
        name: str,
        *,
        force: bool = False,
        pull: bool = False,
        say: Callable[[str], object] = print,
        start: Callable[..., subprocess.Popen[bytes]] = subprocess.Popen,
    ) -> str:
        """Run one stage if DVC finds it changed, and record it, as `dvc repro --single-item` does.

        `file`, `name`: The dvc.yaml and the stage in it.
        `force`: Run it also where nothing has changed.
        `pull`: Take results of earlier runs from the remote.
        `say`: Told again and again while another run holds the stage's files and this one waits; may raise to give up.
        `start`: Starts a command of the stage, as `subprocess.Popen` does.
        Returns: ``computed`` (its command ran), ``restored`` (taken from DVC's cache of runs) or ``unchanged``.
        Raises StageFailedError: Its command failed, or an output is missing.
        """
        path = Path(self._repo.root_dir) / file
        processes: list[subprocess.Popen[bytes]] = []

        def start_and_keep(*command: Any, **options: Any) -> subprocess.Popen[bytes]:
            processes.append(start(*command, **options))
            return processes[-1]

        def reproduce(**options: bool) -> Any:
            stage = self._repo.stage.load_one(str(path), name)
            done = stage.reproduce(**options)
            if done is not None:
                done.dump(update_pipeline=False)
            return done

        while True:
            try:
                with lock_repo(self._repo), self._repo.scm_context(quiet=True), commands_started_by(start_and_keep):
                    self._mend_lock_file(path)
                    done = reproduce(force=force, pull=pull)
                    if done is not None and not processes and (damaged := _drop_damaged(done)):
                        say(f"{name}: DVC's cache holds a damaged {damaged[0]}; dropped, it is made again")
                        reproduce(force=True)
                    return "unchanged" if done is None else "computed" if processes else "restored"
            except LockError as error:
                self._wait(name, error, say)
            except StageCmdFailedError as error:
                raise StageFailedError(str(error), processes[-1].returncode) from None
            except (DvcException, OSError) as error:
                raise StageFailedError(_sentence(error)) from None

    def _wait(self, name: str, error: LockError, say: Callable[[str], object]) -> None:
        """Wait a moment for whoever holds a lock of DVC's."""
        if not self._shared:
            drop_dead_locks(self.root)
        holders = ", ".join(re.findall(r"\(PID (\d+)\)", str(error)))
        by_whom = f" (process {holders})" if holders else ""
        say(f"{name}: another run works on the same files{by_whom}; waiting for it")
        time.sleep(_RETRY_SECONDS)

    def read_rows(self, places: Iterable[tuple[str, str]], read: Callable[[], T]) -> T:
        """Read measured rows of tasks and datasets while no other run replaces them.

        DVC deletes what a stage is about to make.
        """
        rows = Path(self._repo.root_dir) / "work/rows"
        folders = [rows / task / dataset for task, dataset in dict.fromkeys(places)]
        told: set[str] = set()

        def say(text: str) -> None:
            if text not in told:
                print(text, file=sys.stderr, flush=True)
                told.add(text)

        while True:
            try:
                return read_undisturbed(self._repo, folders, read)
            except LockError as error:
                self._wait("rows", error, say)

    def fetch_cached(self, nodes: Iterable[Node]) -> None:
        """Get from the remote what earlier runs elsewhere made: recorded outputs, and DVC's cache of runs.

        Raises HarnessError: There is no remote, or it cannot be reached.
        """
        self._need_remote()
        targets = self._targets(nodes)
        try:
            self._repo.stage_cache.pull(None)
            self._repo.fetch(targets=targets, run_cache=False)
        except FileTransferError:
            pass  # some outputs may never have been pushed: what is there has been fetched, the rest is computed
        except DvcException as error:
            raise HarnessError(f"the results could not be pulled: {_sentence(error)}") from None
        with suppress(DvcException):
            self._repo.checkout(targets=targets, allow_missing=True, force=False)
        self._stages = {}

    def send_cached(self, nodes: Iterable[Node]) -> int:
        """Put outputs and DVC's cache of runs on the remote; give the number of files sent.

        Raises HarnessError: There is no remote, or it cannot be reached or written.
        """
        self._need_remote()
        try:
            return int(self._repo.push(targets=self._targets(nodes), run_cache=True))
        except (DvcException, OSError) as error:
            raise HarnessError(f"the results could not be pushed: {_sentence(error)}") from None

    def _targets(self, nodes: Iterable[Node]) -> list[str]:
        """Name stages for DVC wherever the command is run; what is fetched anew on every machine is left out."""
        return [f"{Path(self._repo.root_dir) / node.file}:{node.name}" for node in nodes if not node.always]

    @property
    def remote(self) -> str:
        """Name of the default remote; empty where there is none."""
        return str(self._repo.config["core"].get("remote") or "")

    def _need_remote(self) -> None:
        if not self.remote:
            raise HarnessError("this project has no DVC remote; make one: dvc remote add --default NAME URL")


def _drop_damaged(stage: Any) -> list[str]:
    """Drop outputs that were taken from DVC's cache and are not what they should be, there and here; name them.

    DVC trusts what is write-protected in its cache, so a bit that flipped there would come back for ever.
    """
    damaged = []
    for out in stage.outs:
        if not out.use_cache or out.hash_name != "md5" or not out.hash_info:
            continue
        found = out.get_obj()
        whole = Path(out.fs_path)
        files = [(whole, out.hash_info)]
        if out.hash_info.isdir:
            files = [(whole.joinpath(*key), info) for key, _, info in found] if found is not None else []
        for path, info in files:
            with suppress(OSError):
                if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() == info.value:
                    continue
                cached = Path(out.cache.oid_to_path(info.value))
                path.unlink()
                cached.chmod(0o644)
                cached.unlink()
                damaged.append(os.path.relpath(path))
    return damaged


def _put_own_harness_first() -> None:
    """Let stages find the `harness` of this environment, whatever is on the path."""
    scripts = str(Path(sys.executable).parent)
    if os.environ.get("PATH", "").split(os.pathsep)[0] != scripts:
        os.environ["PATH"] = scripts + os.pathsep + os.environ.get("PATH", "")


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if text else type(error).__name__


def _put_aside(lock: Path) -> None:
    aside = lock.with_name("dvc.lock.damaged")
    try:
        os.replace(lock, aside)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HarnessError(f"{lock}: is damaged and cannot be put aside ({error.strerror}); delete it") from None
    print(f"{lock}: was damaged (a run was killed while it was written); put aside as {aside.name}", file=sys.stderr)
