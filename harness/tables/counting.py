"""How many printed numbers there are of each verdict: the one place that counts.

Papers copy each other's rows, so the same number stands in several tables. A *distinct* number is a method's value for
one task, dataset, level and metric as printed; its other places are copies. Distinct numbers come first wherever
numbers are told, and a copy is never counted as another reproduction.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal

import msgspec

from harness.tables.collected import TableResults
from harness.tables.diff import CellResult
from harness.tables.verdicts import VERDICTS, Verdict

Number = tuple[str, str, str, int, str, Decimal]


class Counts(msgspec.Struct, frozen=True):
    """Printed numbers by verdict.

    Attributes
    ----------
    distinct : dict
        Numbers, each once.
    places : dict
        The printed places they stand in.
    """

    distinct: dict[Verdict, int]
    places: dict[Verdict, int]

    @property
    def numbers(self) -> int:
        """All distinct numbers."""
        return sum(self.distinct.values())

    @property
    def all_places(self) -> int:
        """All printed places that hold a number."""
        return sum(self.places.values())

    @property
    def measured(self) -> int:
        """Distinct numbers beside which something was measured."""
        return self.numbers - self.distinct["not run"]

    def text(self) -> str:
        """Say it in one line, distinct numbers first, copies second."""
        parts = [f"{self.distinct['match']} of {self.numbers:,} numbers reproduced"]
        parts += [f"{count} {verdict}" for verdict, count in self.distinct.items() if count and verdict != "match"]
        told = ", ".join(parts)
        if self.all_places != self.numbers:
            told += f" (with copies: {self.places['match']} of {self.all_places:,} printed places)"
        return told


def number_of(result: CellResult) -> Number | None:
    """Name the number that a cell prints, alike in every table that prints it; None where it prints none.

    A row that no method makes goes by its printed name.
    """
    request = result.request
    if request.printed is None:
        return None
    who = request.method or request.row.casefold()
    return who, request.task, request.dataset, request.level, request.metric, request.printed.value


def count(results: Iterable[CellResult]) -> Counts:
    """Count the printed numbers among results, over any number of tables.

    Where the copies of a number have several verdicts, that of what was measured counts, and the worst of them.
    """
    places = dict.fromkeys(VERDICTS, 0)
    found: dict[Number, Verdict] = {}
    order = ("not run", *(verdict for verdict in VERDICTS if verdict != "not run"))
    for result in results:
        number = number_of(result)
        if number is None:
            continue
        places[result.verdict] += 1
        found[number] = max(found.get(number, "not run"), result.verdict, key=order.index)
    distinct = dict.fromkeys(VERDICTS, 0)
    for verdict in found.values():
        distinct[verdict] += 1
    return Counts(distinct, places)


def count_tables(tables: Iterable[TableResults]) -> Counts:
    """Count the printed numbers of several tables."""
    return count(result for table in tables for result in table.results)
