"""Whether a matched digit lasts: records of cells that were restored again in other ways (`harness.audit.digits`)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath

import msgspec

from harness.files import write_json, write_text
from harness.records.loading import load_json
from harness.tables.published import published_number
from harness.tables.verdicts import is_match

DATA = PurePosixPath("docs/digits.json")
PAGE = PurePosixPath("docs/digits.md")


class Lasting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One matched cell, restored again in other ways.

    `table`, `row`, `key`, `printed`, `protocol`: Which cell.
    `values`: Its value by the name of the way.
    `moved`: Samples whose 8-bit value is another than in double precision, by way.
    `samples`: How many there are.
    `gap`: Largest difference of a way from double precision, in gray levels.
    `near`: Samples that lie within the gap of a rounding edge.
    `interval`: Least and largest PSNR that those samples allow; None for SSIM.
    `bound`: Error bound of double precision in gray levels, where the network has one.
    `undecided`: Samples whose exact 8-bit value that bound leaves open.
    `versions`: What computed it.
    """

    table: str
    row: str
    key: str
    printed: str
    protocol: str
    values: dict[str, float]
    moved: dict[str, int]
    samples: int
    gap: float
    near: int
    interval: tuple[float, float] | None
    bound: float | None
    undecided: int | None
    versions: dict[str, str]

    @property
    def place(self) -> tuple[str, str, str, str]:
        """What only one record of a collection has."""
        return self.table, self.row, self.key, self.versions.get("torch", "")

    @property
    def unit(self) -> float:
        """Unit of the last printed digit."""
        number = published_number(self.printed)
        assert number is not None
        return float(number.unit)

    @property
    def most_moved(self) -> int:
        """Samples that the way which moves most of them moves."""
        return max(self.moved.values(), default=0)

    def keeps(self, value: float) -> bool:
        """Whether a value still rounds to the printed digits."""
        return is_match(value - float(self.printed), self.unit)

    @property
    def changed(self) -> list[str]:
        """The ways under which the printed digit is another."""
        return [way for way, value in self.values.items() if not self.keeps(value)]

    @property
    def certain(self) -> bool | None:
        """Whether the digit holds for every choice of the samples near an edge; None where no interval is known."""
        return None if self.interval is None else all(map(self.keeps, self.interval))


class Digits(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The form of docs/digits.json."""

    cells: tuple[Lasting, ...] = ()


def merged(known: Iterable[Lasting], new: Iterable[Lasting]) -> Digits:
    """Put new records in the place of those of the same cell and version of torch."""
    by_place = {cell.place: cell for cell in (*known, *new)}
    return Digits(tuple(by_place[place] for place in sorted(by_place)))


def read_digits(root: Path) -> Digits:
    """Read the records of a workspace; none where nothing was written.

    Raises HarnessError: The file is no such record.
    """
    path = root / DATA
    return load_json(path, Digits) if path.is_file() else Digits()


def write_digits(root: Path, new: Iterable[Lasting]) -> list[Path]:
    """Write records beside those that are known, and the page that is made of them."""
    write_json(root / DATA, merged(read_digits(root).cells, new))
    # As it is read again, with the keys in the file's order: the page follows from the file alone.
    write_text(root / PAGE, page(read_digits(root)))
    return [root / DATA, root / PAGE]


def summary(cells: Sequence[Lasting]) -> str:
    """Say in one line what became of cells."""
    held = sum(not cell.changed for cell in cells)
    bounded = [cell for cell in cells if cell.certain is not None]
    text = f"{held} of {len(cells)} matched numbers keep their printed digits in every way that was tried"
    if bounded:
        certain = sum(cell.certain is True for cell in bounded)
        text += f"; {certain} of their {len(bounded)} PSNRs keep them whichever way the samples near an edge fall"
    return text


def lasting_text(cell: Lasting) -> str:
    """Say what is known of one cell's digits, as ``harness audit --digits`` and ``harness why`` print it."""
    parts = [
        f"another digit with {', '.join(cell.changed)}" if cell.changed else f"holds with {', '.join(cell.values)}",
        f"{cell.most_moved:,} of {cell.samples:,} samples are saved otherwise than in double precision, and "
        f"{cell.near:,} lie within {cell.gap:.2g} gray levels of an edge",
    ]
    if cell.interval is not None:
        beyond = "" if cell.certain else ", which is more than the printed digit allows"
        parts.append(f"PSNR {_interval(cell)} whichever way those fall{beyond}")
    if cell.bound is not None:
        parts.append(f"double precision is off by {cell.bound:.1g} at most: {cell.undecided:,} samples stay open")
    return "; ".join(parts)


def _interval(cell: Lasting) -> str:
    """Write an interval with as many digits as tell its ends apart."""
    assert cell.interval is not None
    low, high = cell.interval
    decimals = 4 if high <= low else min(12, max(4, 1 - math.floor(math.log10(high - low))))
    return f"{low:.{decimals}f}" if high <= low else f"{low:.{decimals}f} to {high:.{decimals}f}"


_INTRODUCTION = """\
<!-- Written by `harness audit TABLE --digits --write`; do not edit. -->
# Digits that last

{summary}.

A network's output is a long sum in floating point, and its order is another one with other threads, batches, kernels
or versions of a library. The output then differs in its last bits, and a sample beside a rounding edge is saved as the
next gray level. `harness audit TABLE --digits` restores the images of a table's matched numbers again:
{ways}.

- *moved*: samples, of all, that one of these rounds to another 8-bit value than double precision; the most of any.
  Where a row keeps unrounded pixels, this says what rounding would do, and the interval takes the whole gap.
- *near*: samples that lie nearer to an edge than the largest difference of any of these from double precision, the
  *gap* (in gray levels). They could fall either way elsewhere.
- *interval*: where PSNR lies whichever way each of those falls. SSIM has none: it was only tried.
- *open*: for ARCNN double precision itself has an error bound, from the magnitudes of all products; these samples it
  leaves open, and of all others the 8-bit value of the exact network, in real numbers, is known.

What this does not show: other processors and GPUs, whose differences may be larger than the gap; a changed library
version, but for those in the last column; a network whose rows are not listed.
"""


def page(digits: Digits) -> str:
    """Render docs/digits.md."""
    cells = digits.cells
    ways = ", ".join(dict.fromkeys(way for cell in cells for way in cell.values))
    told = summary(cells) if cells else "Nothing was tried yet"
    lines = [_INTRODUCTION.format(summary=told, ways=ways)]
    for (table, row), of_row in groupby(cells, key=lambda cell: (cell.table, cell.row)):
        lines += ["", f"## {table}, {row}", ""]
        lines += ["| cell | printed | values | digit | moved | near | gap | interval | open | torch |"]
        lines += ["|:--|--:|:--|:--|--:|--:|--:|:--|--:|:--|"]
        for cell in of_row:
            low, high = min(cell.values.values()), max(cell.values.values())
            decimals = max(5, 2 - math.floor(math.log10(cell.unit)))
            ends = dict.fromkeys(f"{value:.{decimals}f}" for value in (low, high))
            digit = f"another with {', '.join(cell.changed)}" if cell.changed else "holds"
            if cell.certain:
                digit = "holds either way"
            interval = _interval(cell) if cell.interval is not None else ""
            undecided = "" if cell.undecided is None else f"{cell.undecided:,}"
            texts = [
                cell.key,
                cell.printed,
                " to ".join(ends),
                digit,
                f"{cell.most_moved:,} of {cell.samples:,}",
                f"{cell.near:,}",
            ]
            texts += [f"{cell.gap:.1g}", interval, undecided, cell.versions.get("torch", "")]
            lines.append(f"| {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"
