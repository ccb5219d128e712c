"""What is used of DVC beyond its command line and `dvc.api`; docs/dependencies.md says what for.

pyproject.toml bounds DVC's versions because of it, and a test compares every name that stands here.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import yaml
from dvc.dvcfile import Lockfile
from dvc.lock import Lock, LockError, make_lock
from dvc.repo import Repo, lock_repo
from dvc.rwlock import RWLOCK_FILE, RWLOCK_LOCK, SCHEMA, rwlock
from dvc.stage import run as stage_run
from dvc.stage.exceptions import StageCmdFailedError
from dvc.utils import strictyaml
from voluptuous import Invalid

from harness.files import write_text
from harness.run.living import lives, show_life
from harness.run.warm import StartCommand

__all__ = ["LockError", "StageCmdFailedError", "lock_repo"]

T = TypeVar("T")


def open_repo(root: Path, *, in_git: bool) -> Any:
    """Open a DVC repository whose lock is waited for."""
    strictyaml.parse_yaml = _parse_yaml
    show_life(root)
    # A checkout that was downloaded as an archive has no .git; DVC works there if it is told so.
    repo = Repo(str(root), _wait_for_lock=True, config=None if in_git else {"core": {"no_scm": True}})
    if isinstance(repo.lock, Lock):  # the kind for network file systems stays
        repo.lock = _EagerLock(repo.lock.lockfile)
    return repo


class _EagerLock(Lock):  # type: ignore[misc]
    """DVC's lock of a repository, asked for every 10 ms, not every 500: each job takes it for moments, but often."""

    def lock(self) -> None:
        told_at = time.monotonic() + 10
        while True:
            try:
                self._do_lock()
                return
            except LockError:
                if time.monotonic() > told_at:
                    print("waiting for another DVC command in this project", file=sys.stderr)
                    told_at = float("inf")
                time.sleep(0.01)


def lock_file_is_whole(repo: Any, lock_file: Path) -> bool:
    """Return whether DVC can read a dvc.lock."""
    with suppress(Exception):  # DVC fails on half a file with whatever is at hand
        Lockfile(repo, str(lock_file)).load()
        return True
    return False


_start_command: ContextVar[StartCommand] = ContextVar("_start_command", default=subprocess.Popen)


@contextmanager
def commands_started_by(start: StartCommand) -> Iterator[None]:
    """Let DVC start the commands of stages with a function in place of `subprocess.Popen`, in this thread.

    DVC offers no other way to learn whether a command ran and its exit status, which it only words.
    """
    replaced = vars(subprocess) | {"Popen": lambda *command, **options: _start_command.get()(*command, **options)}
    stage_run.subprocess = SimpleNamespace(**replaced)
    token = _start_command.set(start)
    try:
        yield
    finally:
        _start_command.reset(token)


def drop_dead_locks(root: Path) -> None:
    """Forget the locks of DVC processes that were killed in a repository.

    DVC notices a process that is gone. It takes one that its parent has not collected (a zombie, as in a container
    without an init process) for a living one, and also another that got its number, after a reboot or later. Of the
    processes of this package the system tells whether they live, whatever the clock says (`harness.run.living`).
    """
    path = root / ".dvc" / "tmp" / RWLOCK_FILE
    if not path.is_file():
        return
    with make_lock(str(path.with_name(RWLOCK_LOCK)), wait=True):
        try:
            written = path.stat().st_mtime
            locks = SCHEMA(json.loads(path.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, Invalid):  # half-written by a process that was killed
            path.unlink(missing_ok=True)
            return
        holders = [*locks["write"].values(), *(holder for held in locks["read"].values() for holder in held)]
        living = {pid for pid in {holder["pid"] for holder in holders} if lives(root, pid, written)}
        write = {file: holder for file, holder in locks["write"].items() if holder["pid"] in living}
        read = {f: [holder for holder in held if holder["pid"] in living] for f, held in locks["read"].items()}
        kept = {"write": write, "read": {file: held for file, held in read.items() if held}}
        if kept != locks:
            write_text(path, json.dumps(kept))


def read_undisturbed(repo: Any, folders: Iterable[Path], read: Callable[[], T]) -> T:
    """Read files while no DVC command writes below some folders; LockError where one does."""
    with rwlock(repo.tmp_dir, repo.fs, "reading", list(map(str, folders)), [], False):
        return read()


_parse_with_dvc = strictyaml.parse_yaml

# Words that YAML 1.1 (libyaml) and 1.2 (DVC) may read differently: truth values, signs, whatever begins like a number
# and is neither a plain one nor a hash, an option or a path upwards. Generated pipelines and locks have none.
_READ_DIFFERENTLY = re.compile(
    r"(?:^|[\s\[{,])(?:(?:yes|no|on|off)\s*(?:$|[,\]}:#])|[|>%@`?!&*=~]"
    r"|(?!(?:0|[1-9]\d*|[0-9a-f]{32}(?:\.dir)?|--?[a-z][\w-]*|-|(?:\.\./)*\.\.)(?:$|[\s,\]}'\"]|:\s))[-+._\d])",
    re.IGNORECASE | re.MULTILINE,
)


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) != len(node.value):
            raise yaml.constructor.ConstructorError(None, None, "a key is there twice", node.start_mark)
        return mapping


def _parse_yaml(text: str, path: str, typ: str = "safe") -> Any:
    """Parse with libyaml, ten times as fast as DVC's parser in Python, what both read alike: all that is generated."""
    if typ == "safe" and not _READ_DIFFERENTLY.search(text):
        try:
            return yaml.load(text, Loader=_Loader) or {}
        except yaml.YAMLError:
            pass
    return _parse_with_dvc(text, path, typ)
