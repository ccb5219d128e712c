"""Errors a user can act on: one sentence that says what, where and what to do."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

# What moves a terminal's cursor, sets its colours or title, or turns the order of letters; and what no terminal takes.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""Show control characters as escapes (``\x1b``), line ends and tabs excepted.

    Names of rows, files and tensors, and what libraries say about them, come from strangers' files: whatever prints
    them, or writes them into a page, does so through here.
    """
    return _UNPRINTABLE.sub(lambda sign: ascii(sign[0])[1:-1], text)


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


class NotAvailableError(HarnessError):
    """Data or weights that cannot be had here; a cell that needs them is `not run` with this reason."""


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
