"""A badge for a README: how much of a table is reproduced, as a line and as a small SVG picture."""

from __future__ import annotations

from collections.abc import Sequence

from harness.report.grid import summary
from harness.report.site import environment
from harness.tables.collected import TableResults
from harness.tables.counting import count_tables

# Advance of a letter of 11 px Verdana or DejaVu Sans, pixels: an average over English text.
_LETTER = 6.9
_MARGIN = 12

# Share of the cells that match from which a colour holds; the words say the numbers, so the colour is an extra.
_COLOURS = ((0.75, "#116329"), (0.4, "#6a5100"), (0.0, "#57606a"))
_OFF = "#a40e26"


def badge_text(name: str, found: Sequence[TableResults]) -> str:
    """Say it in one line, such as ``panet-table3: 43 of 108 numbers reproduced, 3 fits, 6 close, 56 not run``."""
    if len(found) == 1:
        return summary(found[0].table, found[0].results)
    return f"{name}: {count_tables(found).text()}"


def badge_svg(name: str, found: Sequence[TableResults]) -> str:
    """Draw it as SVG without any reference to the network."""
    counts = count_tables(found)
    match, off = counts.distinct["match"], counts.distinct["off"]
    message = f"{match} of {counts.numbers:,} reproduced" + (f", {off} off" if off else "")
    if not any(item.table.paper for item in found):
        # Of one's own table the words of its summary, without the name that stands beside them.
        message = badge_text(name, found).partition(": ")[2]
    share = match / counts.numbers if counts.numbers else 0.0
    colour = _OFF if off > match else next(c for least, c in _COLOURS if share >= least)
    widths = [round(len(text) * _LETTER) + _MARGIN for text in (name, message)]
    text: str = (
        environment()
        .get_template("badge.svg.j2")
        .render(
            name=name, message=message, full=badge_text(name, found), colour=colour, left=widths[0], right=widths[1]
        )
    )
    return text + "\n"
