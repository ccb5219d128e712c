"""Which verdicts make `harness diff` and `harness repro` end with exit status 1."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from harness.cli.options import listed
from harness.cli.printing import echo
from harness.errors import CheckFailedError

if TYPE_CHECKING:
    from harness.tables.diff import CellResult

# What counts as failing, by the word on the command line: what is worse than it fails with it.
FAILING = {"close": ("close", "off"), "off": ("off",), "not-run": ("not run",)}
COMPARED = ("match", "match (3 digits)", "fits", "close", "off", "trained")

_Command = Callable[..., Any]


def failing_options(*default: str) -> Callable[[_Command], _Command]:
    """Add the options --fail-on, --strict and --junit to a command."""
    fail_on = listed(
        "fail-on",
        type=click.Choice(list(FAILING)),
        metavar="VERDICT,…",
        default=default,
        show_default=bool(default),
        help=f"Exit with status 1 if a printed number is one of {', '.join(FAILING)}; off counts as close, too.",
        complete=lambda context, parameter, begun: [name for name in FAILING if name.startswith(begun)],
        to="fail_on",
    )
    strict = click.option("--strict", is_flag=True, help="Fail if a printed number is off, or was not measured here.")
    junit = click.option(
        "--junit",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write every cell as a test case into this file, too, for a CI server.",
    )
    return lambda command: fail_on(strict(junit(command)))


def failing_verdicts(fail_on: Sequence[str], strict: bool) -> list[str]:
    """List the verdicts that fail, by the words of the command line."""
    keys = (*fail_on, *(["off", "not-run"] if strict else []))
    return list(dict.fromkeys(verdict for key in keys for verdict in FAILING[key]))


def check_results(
    tables: Mapping[str, Sequence[CellResult]], fail_on: Sequence[str], strict: bool, junit: Path | None = None
) -> None:
    """Raise `CheckFailedError` where a printed number has a verdict that fails, or nothing at all could be compared.

    `tables`: The cells of each table, by the table's name.
    `strict`: Whether numbers that are off or were not measured here fail, too; recorded ones were not.
    `junit`: A file that gets every cell as a test case, whatever fails.
    """
    if junit is not None:
        from harness.files import write_text
        from harness.report.junit import junit_text

        write_text(junit, junit_text(tables, failing_verdicts(fail_on, strict), here=strict))
        echo(f"written: {junit}", err=True)
    for name, results in tables.items():
        _check(name, results, fail_on, strict)


def _check(name: str, results: Sequence[CellResult], fail_on: Sequence[str], strict: bool) -> None:
    printed = [result for result in results if result.request.printed is not None]
    own = any(result.verdict == "measured" for result in results)
    if printed and not own and not any(result.verdict in COMPARED for result in printed):
        raise CheckFailedError(f"nothing of {name} could be compared: it prints {len(printed)} numbers")
    if results and not printed and all(result.verdict == "not run" for result in results):
        raise CheckFailedError(f"nothing of {name} was measured")
    for verdict in failing_verdicts(fail_on, strict):
        failing = sum(result.verdict == verdict for result in printed)
        if failing:
            which = "were not run" if verdict == "not run" else f"are {verdict}"
            raise CheckFailedError(f"{failing} of {len(printed)} printed numbers of {name} {which}")
    recorded = sum(bool(result.recorded) for result in printed)
    if strict and recorded:
        raise CheckFailedError(f"{recorded} of {len(printed)} printed numbers of {name} were not measured here")
