"""Writing files so that a reader sees the whole file or none."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from harness.errors import HarnessError


@contextlib.contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it takes the place of `path`.

    Raises
    ------
    HarnessError
        The disk is full, the folder is read-only, or the like; `path` is as it was.
    """
    path = Path(path)
    # Beside the process a random part: on a cluster's shared disk two machines may have processes of one number.
    part = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        os.replace(part, path)
    except OSError as error:
        raise HarnessError(f"{path}: cannot be written ({error.strerror or error}); nothing was changed") from error
    finally:
        # Where nothing could be written there is nothing to take away, and the first error is the one to tell.
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file whole."""
    with whole_file(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")


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
    plain = msgspec.to_builtins(record, order="sorted", str_keys=True)
    write_text(path, msgspec.json.format(msgspec.json.encode(plain, order="sorted"), indent=1).decode() + "\n")
