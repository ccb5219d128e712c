"""Which verdicts make `harness diff` and `harness repro` end with exit status 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from harness.errors import CheckFailedError

if TYPE_CHECKING:
    from harness.tables.diff import CellResult

# What counts as failing, by the word on the command line: what is worse than it fails with it.
FAILING = {"close": ("close", "off"), "off": ("off",), "not-run": ("not run",)}
COMPARED = ("match", "match (3 digits)", "fits", "close", "off", "trained")

_Command = TypeVar("_Command", bound=Callable[..., Any])


def failing_options(*default: str) -> Callable[[_Command], _Command]:
    """Add the options --fail-on and --strict to a command."""
    fail_on = click.option(
        "--fail-on",
        multiple=True,
        type=click.Choice(list(FAILING)),
        default=default,
        show_default=bool(default),
        help="Exit with status 1 if a printed number has this verdict; off counts as close, too (repeat for more).",
    )
    strict = click.option("--strict", is_flag=True, help="Fail if a printed number is off, or was not measured here.")
    return lambda command: fail_on(strict(command))


def check_results(name: str, results: Sequence[CellResult], fail_on: Sequence[str], strict: bool) -> None:
    """Raise `CheckFailedError` where a printed number has a verdict that fails, or nothing at all could be compared.

    Parameters
    ----------
    name : str
        The table.
    results : sequence of CellResult
        Its cells.
    fail_on : sequence of str
        Keys of `FAILING`.
    strict : bool
        Whether numbers that are off or were not measured here fail, too; recorded ones were not.
    """
    printed = [result for result in results if result.request.printed is not None]
    own = any(result.verdict == "measured" for result in results)
    if printed and not own and not any(result.verdict in COMPARED for result in printed):
        raise CheckFailedError(f"nothing of {name} could be compared: it prints {len(printed)} numbers")
    if results and not printed and all(result.verdict == "not run" for result in results):
        raise CheckFailedError(f"nothing of {name} was measured")
    for verdict in dict.fromkeys(
        v for key in (*fail_on, *(["off", "not-run"] if strict else [])) for v in FAILING[key]
    ):
        failing = sum(result.verdict == verdict for result in printed)
        if failing:
            which = "were not run" if verdict == "not run" else f"are {verdict}"
            raise CheckFailedError(f"{failing} of {len(printed)} printed numbers of {name} {which}")
    recorded = sum(bool(result.recorded) for result in printed)
    if strict and recorded:
        raise CheckFailedError(f"{recorded} of {len(printed)} printed numbers of {name} were not measured here")
