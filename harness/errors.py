"""Errors a user can act on: one sentence that says what, where and what to do."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

# What moves a terminal's cursor, sets its colours or title, or turns the order of letters; and what no terminal takes.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Show control characters as escapes (``\x1b``), line ends and tabs excepted.

    Names of rows, files and tensors, and what libraries say about them, come from strangers' files: whatever prints
    them, or writes them into a page, does so through here.
    """
    return _UNPRINTABLE.sub(lambda sign: ascii(sign[0])[1:-1], text)


def plural(count: int, thing: str, things: str = "") -> str:
    """Count things in words: ``1 cell``, ``2,340 cells``.

    Parameters
    ----------
    count : int
        How many.
    thing, things : str
        The word, and its plural where that is not made with an s.

    Examples
    --------
    >>> plural(1, "image"), plural(1200, "image"), plural(2, "entry", "entries")
    ('1 image', '1,200 images', '2 entries')
    """
    return f"{count:,} {thing if count == 1 else things or thing + 's'}"


def whole_number(value: object, what: str, least: int = 0) -> int:
    """Give a whole number that an argument must be; floats such as 2.0 are taken for what they mean.

    Parameters
    ----------
    value : object
        What was given.
    what : str
        Name of the argument, for the error.
    least : int
        The least that it may be.

    Raises
    ------
    InvalidArgumentError
        It is none, or less.

    Examples
    --------
    >>> whole_number(2.0, "scale", 1)
    2
    """
    try:
        number = int(value)  # type: ignore[call-overload]
        if not isinstance(value, str | bytes) and number == value and number >= least:
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    raise InvalidArgumentError(f"{what} {value!r} is not a whole number of {least} or more")


def several(values: object, what: str) -> tuple[Any, ...]:
    """Give the items of an argument that must be a list or the like; a text alone is none.

    Examples
    --------
    >>> several([25, 50], "levels")
    (25, 50)
    """
    if isinstance(values, str | bytes | os.PathLike) or not isinstance(values, Iterable):
        raise InvalidArgumentError(f"{what} {values!r} is not a list; put it into brackets")
    return tuple(values)


def text(value: object, what: str) -> str:
    """Give a text that an argument must be.

    Examples
    --------
    >>> text("uint8", "rounding")
    'uint8'
    """
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{what} is a text, not of type {type(value).__name__}")
    return value


def path(value: object, what: str) -> Path:
    """Give the path that an argument must be, as a text or as a path.

    Examples
    --------
    >>> path("a/b.pth", "the checkpoint").name
    'b.pth'
    """
    if not isinstance(value, str | os.PathLike) or isinstance(found := os.fspath(value), bytes):
        raise InvalidArgumentError(f"{what} is a path, not of type {type(value).__name__}")
    return Path(found)


def paths(values: object, what: str) -> tuple[Path, ...]:
    """Give the paths of an argument that must be a list of them."""
    return tuple(path(value, f"{what}: each") for value in several(values, what))


class HarnessError(Exception):
    """A mistake in the input or the environment; the command line prints it and exits with status 2."""

    exit_code = 2

    def __str__(self) -> str:
        """Give the sentence; what it names may come from a stranger's file."""
        return printable(super().__str__())


class InvalidArgumentError(HarnessError, ValueError):
    """A value that an argument cannot have, such as an array that is no image or a name that is not known."""


class UnreadableFileError(HarnessError, OSError):
    """A file that is not there or cannot be read."""


class CheckFailedError(HarnessError):
    """A check that ran and did not hold, such as a verdict `off`; exits with status 1."""

    exit_code = 1


@dataclass(frozen=True)
class Missing:
    """What is not here, by name.

    Attributes
    ----------
    kind : {"code", "dataset", "package", "server", "training", "weights"}
        What it is: "server" where a benchmark keeps the ground truth, "code" where no program of a system is known.
    name : str
        Name of the dataset, of the package as it is imported, of the training run, of the set of weights or, where a
        system has none, of its method; of a system without code as it is printed.
    file : str
        The file of the set of weights.
    """

    kind: Literal["code", "dataset", "package", "server", "training", "weights"]
    name: str
    file: str = ""


class NotAvailableError(HarnessError):
    """Data or weights that cannot be obtained here; a cell that needs them is `not run` with this reason.

    Parameters
    ----------
    message : str
        What is missing and how it is to be had.
    missing : Missing or None
        The same as data; None where nothing that has a name would help.
    """

    def __init__(self, message: str, missing: Missing | None = None) -> None:
        super().__init__(message)
        self.missing = missing


def missing_package(error: ImportError) -> Missing:
    """Name the package that an import lacked."""
    return Missing("package", (error.name or "").partition(".")[0])


def unknown_name(kind: str, name: object, known: Iterable[object]) -> InvalidArgumentError:
    """Make the error for a name that is not known, with the nearest known names.

    Parameters
    ----------
    kind : str
        What the name stands for, such as ``"dataset"``.
    name : object
        The name as the user wrote it.
    known : iterable of object
        Every name that would have been understood.

    Returns
    -------
    InvalidArgumentError
        To be raised by the caller.
    """
    names = sorted(str(k) for k in known)
    wanted = str(name)
    by_lower = {n.lower(): n for n in names}
    near_names = [by_lower[n] for n in difflib.get_close_matches(wanted.lower(), by_lower, n=3, cutoff=0.6)]
    begin_alike = [n for low, n in by_lower.items() if wanted and low.startswith(wanted.lower())]
    near_names += [n for n in begin_alike if n not in near_names]
    if near_names:
        hint = "did you mean " + " or ".join(f"'{n}'" for n in near_names[:3]) + "?"
    elif len(names) <= 12:
        hint = "known: " + ", ".join(names)
    else:
        hint = f"{len(names)} are known, such as " + ", ".join(names[:6])
    return InvalidArgumentError(f"unknown {kind} '{wanted}'; {hint}")
