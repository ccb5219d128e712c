"""Writing files so that a reader sees the whole file or none, and the SHA-256 of files.

Nothing here imports more than small modules: it runs before every table.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

_UNCHANGED = "nothing was changed"


def is_special(path: str | os.PathLike[str]) -> bool:
    """Whether a path is a pipe or the like: neither file nor folder, and whoever reads it may wait without end."""
    return os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)


def refuse_special(path: str | os.PathLike[str]) -> None:
    """Raise a HarnessError where a path is a pipe or the like."""
    if is_special(path):
        raise HarnessError(f"{path}: is no file, but a pipe or the like; take it away, or name a file")


def file_sha256(path: str | os.PathLike[str], absent: str | None = None) -> str:
    """Hash a file's bytes; a HarnessError where it is a pipe.

    `path`: The file; memory holds a part of it at a time.
    `absent`: What to give where it cannot be read; by default that is an OSError.
    """
    refuse_special(path)
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        if absent is None:
            raise
        return absent


def git_blob(path: str | os.PathLike[str]) -> str:
    r"""Give the id under which git keeps a file's bytes, 40 hex digits; OSError where it cannot be read.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "greeting")
    >>> path.write_bytes(b"hello\n")
    6
    >>> git_blob(path)
    'ce013625030ba8dba906f756967f9e9ca394464a'
    """
    refuse_special(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size

        def begun() -> Any:
            return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)

        return hashlib.file_digest(file, begun).hexdigest()


def cannot_write(path: str | os.PathLike[str], error: OSError, advice: str = _UNCHANGED) -> HarnessError:
    """Make the error for a file that could not be written."""
    return HarnessError(f"{path}: cannot be written ({error.strerror or error}); {advice}")


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str], advice: str = _UNCHANGED) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it takes the place of `path`.

    `path`: The file; its folder is made where it is not there.
    `advice`: What an error tells the user at its end.
    Raises HarnessError: The disk is full, the folder is read-only, or the like; `path` is as it was.
    """
    path = Path(path)
    # Beside the process a random part: on a cluster's shared disk two machines may have processes of one number.
    part = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise cannot_write(path, error, advice) from error
    finally:
        # Where nothing could be written there is nothing to take away, and the first error is the one to tell.
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str, advice: str = _UNCHANGED) -> None:
    """Write a UTF-8 text file whole; `advice` is that of `whole_file`."""
    with whole_file(path, advice) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


def update_text(path: str | os.PathLike[str], text: str, advice: str = _UNCHANGED) -> None:
    """Write a UTF-8 text file whole, unless it has this text already; `advice` is that of `whole_file`."""
    data = text.encode("utf-8")
    with contextlib.suppress(OSError):
        if Path(path).read_bytes() == data:
            return
    with whole_file(path, advice) as part:
        part.write_bytes(data)


def json_numbers(plain: Any) -> Any:
    """Give plain values in which infinity and NaN are the words ``inf``, ``-inf``, ``nan``: JSON has no such numbers.

    A PSNR is infinite where the restored image equals its ground truth.
    """
    if isinstance(plain, float):
        return plain if math.isfinite(plain) else str(plain)
    if isinstance(plain, dict):
        return {key: json_numbers(value) for key, value in plain.items()}
    return [json_numbers(value) for value in plain] if isinstance(plain, list | tuple) else plain


def write_json(path: str | os.PathLike[str], record: Any) -> None:
    """Write a record as indented JSON with sorted keys: the same record gives the same bytes."""
    import msgspec

    plain = msgspec.to_builtins(record, order="sorted", str_keys=True)
    write_text(path, msgspec.json.format(msgspec.json.encode(plain, order="sorted"), indent=1).decode() + "\n")
