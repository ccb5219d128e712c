"""A badge for a README: how much of a table is reproduced, as a line and as a small SVG picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.report.collected import TableResults
from harness.tables.diff import CellResult, count_verdicts

# Advance of a letter of 11 px Verdana or DejaVu Sans, pixels: an average over English text.
_LETTER = 6.9
_MARGIN = 12

# Share of the cells that match from which a colour holds; the words say the numbers, so the colour is an extra.
_COLOURS = ((0.75, "#116329"), (0.4, "#6a5100"), (0.0, "#57606a"))
_OFF = "#a40e26"


def _compared(found: Sequence[TableResults]) -> list[CellResult]:
    return [result for item in found for result in item.results if result.request.printed is not None]


def badge_text(name: str, found: Sequence[TableResults]) -> str:
    """Say it in one line, such as ``panet-table3: 46 of 108 numbers reproduced, 6 close, 56 not run``."""
    return f"{name}: {_message(found)}"


def _message(found: Sequence[TableResults]) -> str:
    compared = _compared(found)
    counts = count_verdicts(compared)
    parts = [f"{counts['match']} of {len(compared)} numbers reproduced"]
    parts += [f"{counts[v]} {v}" for v in ("close", "off", "incomparable", "trained", "not run") if counts[v]]
    return ", ".join(parts)


def badge_svg(name: str, found: Sequence[TableResults]) -> str:
    """Draw it as SVG without any reference to the network."""
    import jinja2

    compared = _compared(found)
    counts = count_verdicts(compared)
    message = f"{counts['match']} of {len(compared)} reproduced" + (f", {counts['off']} off" if counts["off"] else "")
    share = counts["match"] / len(compared) if compared else 0.0
    colour = _OFF if counts["off"] > counts["match"] else next(c for least, c in _COLOURS if share >= least)
    widths = [round(len(text) * _LETTER) + _MARGIN for text in (name, message)]
    made: Any = jinja2.Environment(
        loader=jinja2.PackageLoader("harness.report", "templates/site"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
    )
    text: str = made.get_template("badge.svg.j2").render(
        name=name, message=message, full=badge_text(name, found), colour=colour, left=widths[0], right=widths[1]
    )
    return text + "\n"
