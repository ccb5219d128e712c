"""Tables of text: as wide as the terminal, and no word is cut."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
from collections.abc import Iterable, Sequence

from harness.errors import printable

_GAP = 2
# A column that wraps is not made narrower than this, if its words are short.
_LEAST = 12


def text_width() -> int:
    """Columns that text may take: the terminal's, or those that COLUMNS names; 0, without end, in a pipe or a file."""
    if not sys.stdout.isatty() and not os.environ.get("COLUMNS", "").isdigit():
        return 0
    return shutil.get_terminal_size().columns


def text_table(lines: Iterable[Sequence[object]], heads: Sequence[str], width: int | None = None) -> str:
    """Write a table as text: numbers to the right, everything else to the left.

    Where it is too wide, columns of several words are wrapped between words; where that is not enough, the column with
    the longest text stands below its line. A line without limit stays one line, as `grep` wants it.

    `heads`: The heading of each column.
    `width`: Columns of the terminal, 0 for no limit; None for `text_width`.

    >>> print(text_table([("a", 9, "one two three four"), ("b", 10, "five")], ("name", "n", "words"), width=22))
    name   n  words
    ----  --  ------------
    a      9  one two
              three four
    b     10  five
    """
    width = text_width() if width is None else width
    cells = [[printable(" ".join(str("" if cell is None else cell).split())) for cell in line] for line in lines]
    right = [
        any(line[i] for line in cells) and all(_is_number(line[i]) for line in cells if line[i])
        for i in range(len(heads))
    ]
    shown, below = list(range(len(heads))), list[int]()
    widths = _widths(cells, heads, shown, width)
    while widths is None:
        longest = max(shown[1:], key=lambda i: max(len(line[i]) for line in cells), default=None)
        if longest is None:
            widths = _widths(cells, heads, shown, 0)
            break
        shown.remove(longest)
        below.append(longest)
        widths = _widths(cells, heads, shown, width)
    assert widths is not None
    rule = ["-" * size for size in widths]
    out = [*_laid_out([heads[i] for i in shown], widths, [right[i] for i in shown]), (" " * _GAP).join(rule)]
    for line in cells:
        out += _laid_out([line[i] for i in shown], widths, [right[i] for i in shown])
        for i in sorted(below):
            if line[i]:
                label = "" if len(below) == 1 else f"{heads[i]}: "
                out += wrapped(label + line[i], width, indent="    ").split("\n")
    return "\n".join(out)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).lstrip("+-").isdigit()


def _widths(cells: Sequence[Sequence[str]], heads: Sequence[str], shown: Sequence[int], width: int) -> list[int] | None:
    """Choose the columns' widths, the widest wrapped first; None where the words alone are too wide."""
    texts = [[heads[i], *(line[i] for line in cells)] for i in shown]
    widths = [max(map(len, column)) for column in texts]
    most = width - _GAP * (len(shown) - 1)
    if not width or sum(widths) <= most:
        return widths
    longest_words = [max(len(word) for text in column for word in text.split() or [""]) for column in texts]
    least = [max(words, min(_LEAST, whole)) for words, whole in zip(longest_words, widths, strict=True)]
    if sum(least) > most:
        return None
    while sum(widths) > most:
        widest = max((i for i in range(len(widths)) if widths[i] > least[i]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _laid_out(line: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> list[str]:
    """Lay the cells of one line out, over as many lines of text as the longest takes."""
    parts = [wrapped(text, size).split("\n") for text, size in zip(line, widths, strict=True)]
    height = max(map(len, parts))
    return [
        (" " * _GAP)
        .join(
            (part[row] if row < len(part) else "").rjust(size)
            if to_right
            else (part[row] if row < len(part) else "").ljust(size)
            for part, size, to_right in zip(parts, widths, right, strict=True)
        )
        .rstrip()
        for row in range(height)
    ]


def wrapped(text: str, width: int | None = None, indent: str = "", hang: str = "") -> str:
    """Break a text between words, so that it fits; every line of it is indented, and all but the first hang.

    >>> print(wrapped("a sentence that is somewhat long", 20, indent="  "))
      a sentence that is
      somewhat long
    """
    width = text_width() if width is None else width
    if not width:
        return indent + text
    return "\n".join(
        textwrap.wrap(
            text,
            max(width, len(indent) + 1),
            initial_indent=indent,
            subsequent_indent=indent + hang,
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def wrapped_lines(text: str, width: int | None = None) -> str:
    r"""Break each line of a text between words; behind a name with two spaces after it lines go on below their text.

    >>> print(wrapped_lines("a sentence that is long\n  packages  numpy 2.4, scipy 1.17", 25))
    a sentence that is long
      packages  numpy 2.4,
                scipy 1.17
    """
    width = text_width() if width is None else width
    lines = []
    for line in text.split("\n"):
        name = re.match(r"\s*(?:\S+ )*\S+\s{2,}|\s*(?:- )?", line)
        length = len(name[0]) if name else 0
        lines.append(wrapped(line, width, hang=" " * (length if length <= width // 2 else 4)))
    return "\n".join(lines)


def folded(text: str, width: int | None = None) -> str:
    """Shorten a sentence to one line, between words; the whole where there is no width.

    >>> folded("not run: A (3 cells): its weights are nowhere to be had", 40)
    'not run: A (3 cells): its weights are …'
    """
    width = text_width() if width is None else width
    if not width or len(text) <= width:
        return text
    return (
        textwrap.wrap(text, max(width - 2, 1), break_long_words=False, break_on_hyphens=False)[0].rstrip(",;:") + " …"
    )
