"""DVC inside this process: which stages have changed, and running one of them.

DVC itself decides what has changed and records what was run; here its functions are called directly, for one stage at a
time, because a `dvc repro` reads every pipeline of the project before it looks at the first stage.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml

from harness.errors import HarnessError
from harness.run.graph import Node

# DVC's lock on a stage's files is taken or refused at once; another run may hold it for hours.
_RETRY_SECONDS = 0.5
# Told in a stage's log while another process holds DVC's own lock.
WAITING = "waiting for another DVC command in this project"


class StageFailedError(HarnessError):
    """A stage's command ended with an exit status other than 0.

    Parameters
    ----------
    message : str
        What DVC says.
    status : int
        The command's exit status; 0 where it did not come so far.
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

    Parameters
    ----------
    root : path
        Its folder.
    shared : bool
        Whether processes of other machines may work in it: their locks cannot be told from those of dead ones.

    Raises
    ------
    HarnessError
        It is none.
    """

    def __init__(self, root: Path, *, shared: bool = False) -> None:
        if not (root / ".dvc").is_dir():
            raise HarnessError(f"{root.resolve()}: not a DVC repository; run `dvc init` (in git) once")
        for name in ("data", "work", "results"):
            if (root / name).is_symlink() and _in_git(root):
                raise HarnessError(
                    f"{root / name}: is a link, and DVC records nothing that lies outside of git; mount the other disk "
                    "there, or move DVC's cache alone: dvc cache dir FOLDER"
                )
        self.root = root
        _put_own_harness_first()
        read_yaml_fast()
        self._shared = shared
        if not shared:
            drop_dead_locks(root)
        from dvc.repo import Repo

        # A checkout that was downloaded as an archive has no .git; DVC works there if it is told so.
        without_git = {} if _in_git(root) else {"config": {"core": {"no_scm": True}}}
        self._repo = Repo(str(root), _wait_for_lock=True, **without_git)
        self._repo.lock = _eager(self._repo.lock)
        self._stages: dict[str, Any] = {}

    def changed(self, nodes: Iterable[Node]) -> set[str]:
        """Find the stages that DVC may have to run: those it finds changed, and those that need one of them.

        The comparisons are those of `dvc status` and `dvc repro` (definition, dependencies, outputs); stages that
        always run are compared too, as if they did not.

        Parameters
        ----------
        nodes : iterable of Node
            Each after those it needs.

        Returns
        -------
        set of str
            Addresses.
        """
        from dvc.repo import lock_repo

        found: set[str] = set()
        with lock_repo(self._repo):
            for node in nodes:
                if not found.isdisjoint(node.needs) or self._differs(node):
                    found.add(node.address)
        return found

    def _differs(self, node: Node) -> bool:
        if not (self.root / node.file).with_name("dvc.lock").is_file():
            return True  # nothing of this file was ever run
        try:
            return self._compare(node)
        # What was cut off may still be YAML, with half a name in it; DVC then fails with whatever is at hand.
        except Exception:
            _put_aside((self.root / node.file).with_name("dvc.lock"))
            self._stages.pop(node.file, None)
            return True

    def _compare(self, node: Node) -> bool:
        stage = self._load(node)
        if stage is None or stage.changed_stage():
            return True
        # Not `stage.changed()`: it writes DVC's lock file six times a stage, and nothing is written here.
        return any(item.status() for item in (*stage.deps, *stage.outs))

    def _load(self, node: Node) -> Any:
        """Load a stage; every stage of its file at once. None where DVC does not find it."""
        if node.file not in self._stages:
            mend_lock_file(self.root / node.file)
            self._stages[node.file] = {
                stage.name: stage for stage in self._repo.stage.load_all(str(Path(self._repo.root_dir) / node.file))
            }
        return self._stages[node.file].get(node.name)

    def reproduce(
        self, file: str, name: str, *, force: bool = False, pull: bool = False, say: Callable[[str], object] = print
    ) -> str:
        """Run one stage if DVC finds it changed, and record it, as `dvc repro --single-item` does.

        Parameters
        ----------
        file, name : str
            The dvc.yaml and the stage in it.
        force : bool
            Run it also where nothing has changed.
        pull : bool
            Take results of earlier runs from the remote.
        say : callable
            Told when another run holds the stage's files and this one waits.

        Returns
        -------
        str
            ``computed`` (its command ran), ``restored`` (taken from DVC's cache of runs) or ``unchanged``.

        Raises
        ------
        StageFailedError
            Its command failed, or an output is missing.
        """
        from dvc.exceptions import DvcException
        from dvc.lock import LockError
        from dvc.repo import lock_repo
        from dvc.repo.reproduce import _reproduce_stage
        from dvc.stage.exceptions import StageCmdFailedError

        path = Path(self._repo.root_dir) / file
        waiting = False
        stage: Any = None
        processes: list[subprocess.Popen[bytes]] = []
        while True:
            try:
                with lock_repo(self._repo), self._repo.scm_context(quiet=True):
                    mend_lock_file(path)
                    stage = self._repo.stage.load_one(str(path), name)
                    with _processes_seen() as processes:
                        reproduced = _reproduce_stage(stage, force=force, pull=pull)
                        if reproduced is not None and not processes:
                            damaged = _drop_damaged(reproduced)
                            if damaged:
                                say(f"{name}: DVC's cache holds a damaged {damaged[0]}; dropped, it is made again")
                                stage = self._repo.stage.load_one(str(path), name)
                                reproduced = _reproduce_stage(stage, force=True)
                    return "unchanged" if reproduced is None else "computed" if processes else "restored"
            except LockError:
                if not self._shared:
                    drop_dead_locks(self.root)
                if not waiting:
                    say(f"{name}: another run works on the same files{_holders(self.root, stage)}; waiting for it")
                    waiting = True
                time.sleep(_RETRY_SECONDS)
            except StageCmdFailedError as error:
                raise StageFailedError(str(error), processes[-1].returncode) from None
            except (DvcException, OSError) as error:
                raise StageFailedError(_sentence(error)) from None

    def fetch_cached(self, nodes: Iterable[Node]) -> None:
        """Get from the remote what earlier runs elsewhere made: recorded outputs, and DVC's cache of runs.

        Raises
        ------
        HarnessError
            There is no remote, or it cannot be reached.
        """
        from dvc.exceptions import CheckoutError, DvcException, FileTransferError

        self._need_remote()
        targets = self._targets(nodes)
        try:
            self._repo.stage_cache.pull(None)
            with quiet_dvc():
                self._repo.fetch(targets=targets, run_cache=False)
        except FileTransferError:
            pass  # some outputs may never have been pushed: what is there has been fetched, the rest is computed
        except DvcException as error:
            raise HarnessError(f"the results could not be pulled: {_sentence(error)}") from None
        with quiet_dvc(), suppress(CheckoutError, DvcException):
            self._repo.checkout(targets=targets, allow_missing=True, force=False)
        self._stages = {}

    def send_cached(self, nodes: Iterable[Node]) -> int:
        """Put outputs and DVC's cache of runs on the remote; give the number of files sent.

        Raises
        ------
        HarnessError
            There is no remote, or it cannot be reached or written.
        """
        from dvc.exceptions import DvcException

        self._need_remote()
        try:
            with quiet_dvc():
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


def _eager(lock: Any) -> Any:
    """Make DVC's lock of a repository ask every 10 ms, not every 500, while another process holds it.

    It is held for moments, but by each job several times a stage.
    """
    from dvc.lock import Lock, LockError

    if not isinstance(lock, Lock):  # the kind for network file systems
        return lock

    class EagerLock(Lock):  # type: ignore[misc]
        def lock(self) -> None:
            start, said = time.monotonic(), False
            while True:
                try:
                    self._do_lock()
                    return
                except LockError:
                    if not said and time.monotonic() - start > 10:
                        print(WAITING, file=sys.stderr)
                        said = True
                    time.sleep(0.01)

    return EagerLock(lock.lockfile)


def _put_own_harness_first() -> None:
    """Let stages find the `harness` of this environment, whatever is on the path."""
    scripts = str(Path(sys.executable).parent)
    if os.environ.get("PATH", "").split(os.pathsep)[0] != scripts:
        os.environ["PATH"] = scripts + os.pathsep + os.environ.get("PATH", "")


def _sentence(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if text else type(error).__name__


def _holders(root: Path, stage: Any) -> str:
    """Name the processes whose locks a stage waits for, in brackets; empty where they are gone by now."""
    if stage is None:
        return ""
    try:
        locks = json.loads((root / ".dvc/tmp/rwlock").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    outs = [Path(out.fs_path) for out in stage.outs]
    files = [*outs, *(Path(dep.fs_path) for dep in stage.deps)]
    held = [(path, [holder], files) for path, holder in locks.get("write", {}).items()]
    held += [(path, holders, outs) for path, holders in locks.get("read", {}).items()]
    found = {
        holder["pid"]
        for path, holders, own in held
        for holder in holders
        if any(file.is_relative_to(path) or Path(path).is_relative_to(file) for file in own)
    }
    names = ", ".join(map(str, sorted(found)))
    return f" (process{'es' if len(found) > 1 else ''} {names})" if found else ""


@contextmanager
def quiet_dvc() -> Iterator[None]:
    """Keep DVC from telling what it does; errors come as exceptions."""
    import logging

    logger = logging.getLogger("dvc")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _processes_seen() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Collect the processes that DVC starts for a stage's commands inside the block, and keep it from naming them.

    Whether a command ran, and its exit status, are theirs; DVC only words them.
    """
    import logging
    from types import SimpleNamespace

    from dvc.stage import run

    seen: list[subprocess.Popen[bytes]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(*arguments, **options)
        seen.append(process)
        return process

    logger = logging.getLogger("dvc.stage.run")
    level, module = logger.level, run.subprocess
    logger.setLevel(logging.CRITICAL)
    run.subprocess = SimpleNamespace(**{**vars(subprocess), "Popen": start})
    try:
        yield seen
    finally:
        run.subprocess = module
        logger.setLevel(level)


_yaml_lock = threading.Lock()

# Whole scalars that YAML 1.1 (libyaml's users) and 1.2 (DVC) read differently: truth values, octal, binary, digits with
# underscores, sixties, exponents without a point, the value sign; and what no generated pipeline has: anchors, tags.
_READ_DIFFERENTLY = re.compile(
    r"(?:^|[\s\[{,])(?:y|n|yes|no|on|off|=|[-+]?0[0-9_]+|[-+]?0[ob][0-9_]+|[-+]?[0-9][0-9_]*_[0-9_.]*"
    r"|[-+]?[0-9][0-9_]*(?::[0-9]+)+(?:\.[0-9]*)?|[-+]?[.0-9]*e[-+]?[0-9]+|[-+]?\.[0-9]*_[0-9_.]*)\s*(?:$|[,\]}:#])"
    r"|^%|^---|^\.\.\.|(?:^|\s)[&*!][A-Za-z0-9_!]",
    re.IGNORECASE | re.MULTILINE,
)


def read_yaml_fast() -> None:
    """Let DVC in this process read pipelines with libyaml instead of a parser in Python, ten times as fast.

    Only what both parsers read alike goes that way, which is all that `harness pipeline` and DVC itself write; a file
    with anything else goes to DVC's own parser, and so does one that libyaml refuses.
    """
    from dvc.utils import strictyaml

    with _yaml_lock:
        if not hasattr(yaml, "CSafeLoader") or hasattr(strictyaml.parse_yaml, "original"):
            return
        original = strictyaml.parse_yaml

        class Loader(yaml.CSafeLoader):
            def construct_mapping(self, node: Any, deep: bool = False) -> Any:
                mapping = super().construct_mapping(node, deep)
                if len(mapping) != len(node.value):
                    raise yaml.constructor.ConstructorError(None, None, "a key is there twice", node.start_mark)
                return mapping

        def parse_yaml(text: str, path: str, typ: str = "safe") -> Any:
            if typ == "safe" and not _READ_DIFFERENTLY.search(text):
                try:
                    return yaml.load(text, Loader=Loader) or {}
                except yaml.YAMLError:
                    pass
            return original(text, path, typ)

        parse_yaml.original = original  # type: ignore[attr-defined]
        strictyaml.parse_yaml = parse_yaml


def mend_lock_file(pipeline: Path) -> bool:
    """Put a dvc.lock aside that a killed DVC has left half-written.

    DVC's cache of runs still knows what was computed, so nothing is computed again.

    Parameters
    ----------
    pipeline : path
        The dvc.yaml beside it.

    Returns
    -------
    bool
        Whether it was damaged.
    """
    from voluptuous import Invalid

    lock = pipeline.with_name("dvc.lock")
    try:
        text = lock.read_text(encoding="utf-8")
        read = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        from dvc.schema import COMPILED_LOCKFILE_SCHEMA

        COMPILED_LOCKFILE_SCHEMA(read)
        return False
    except FileNotFoundError:
        return False
    except (OSError, UnicodeDecodeError, yaml.YAMLError, Invalid):
        pass
    _put_aside(lock)
    return True


def _put_aside(lock: Path) -> None:
    aside = lock.with_name("dvc.lock.damaged")
    try:
        os.replace(lock, aside)
    except FileNotFoundError:
        return
    except OSError as error:
        raise HarnessError(f"{lock}: is damaged and cannot be put aside ({error.strerror}); delete it") from None
    print(f"{lock}: was damaged (a run was killed while it was written); put aside as {aside.name}", file=sys.stderr)


def drop_dead_locks(root: Path) -> None:
    """Forget the locks of DVC processes that were killed.

    DVC notices a process that is gone, but takes one that was killed and not yet collected by its parent (a zombie, as
    in a container without an init process) for a living one, and every later run for blocked; and likewise a process
    that got the number of a dead one, after a reboot or in a container that was started again.

    Parameters
    ----------
    root : path
        Folder of the DVC repository.
    """
    import psutil

    from harness.files import write_text

    path = root / ".dvc" / "tmp" / "rwlock"
    written = 0.0

    def alive(holder: object) -> bool:
        if not isinstance(holder, dict) or not isinstance(holder.get("pid"), int):
            return False
        try:
            process = psutil.Process(holder["pid"])
            # A process that is younger than the file cannot have written its number into it.
            return bool(process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= written + 1)
        except psutil.Error:
            return False

    if not path.is_file():
        return
    from dvc.lock import make_lock

    # DVC's own guard of this file: another process may be writing its lock into it.
    with make_lock(str(path.with_name("rwlock.lock")), wait=True):
        try:
            written = path.stat().st_mtime
            locks = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return
        except ValueError:
            locks = None  # half-written by a process that was killed
        if not isinstance(locks, dict):
            path.unlink(missing_ok=True)
            return
        readers = {file: [h for h in held if alive(h)] for file, held in locks.get("read", {}).items()}
        kept = {
            "write": {file: holder for file, holder in locks.get("write", {}).items() if alive(holder)},
            "read": {file: held for file, held in readers.items() if held},
        }
        if kept != {"write": locks.get("write", {}), "read": locks.get("read", {})}:
            write_text(path, json.dumps(kept))
