"""How many printed numbers there are of each verdict: the one place that counts.

Papers copy each other's rows, so the same number stands in several tables. A *distinct* number is a method's value for
one task, dataset, level and metric as printed; its other places are copies. Distinct numbers come first wherever
numbers are told, and a copy is never counted as another reproduction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from decimal import Decimal

import msgspec

from harness.methods import Method
from harness.tables.collected import TableResults, place_of
from harness.tables.diff import CellResult
from harness.tables.published import published_tables
from harness.tables.reach import REACHES, Reach, reaches
from harness.tables.requests import is_of_images, requests
from harness.tables.verdicts import VERDICTS, Verdict

Number = tuple[str, str, str, int, str, Decimal, str]


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

    def text(self, said: str = "numbers reproduced") -> str:
        """Say it in one line, distinct numbers first, copies second."""
        parts = [f"{self.distinct['match']} of {self.numbers:,} {said}"]
        parts += [f"{count} {verdict}" for verdict, count in self.distinct.items() if count and verdict != "match"]
        told = ", ".join(parts)
        if self.all_places != self.numbers:
            told += f" (with copies: {self.places['match']} of {self.all_places:,} printed places)"
        return told


def number_of(result: CellResult) -> Number | None:
    """Name the number that a cell prints, alike in every table that prints it; None where it prints none.

    A row that no method makes goes by the name of its system.
    """
    request = result.request
    if request.printed is None:
        return None
    who = request.method or request.system.casefold()
    # In a table of one's own a number may stand beside one method twice, kept in two ways.
    saving = request.group.saving if request.group is not None and not request.special.saving else ""
    return who, request.task, request.dataset, request.level, request.metric, request.printed.value, saving


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


WITH_MEASURED: tuple[Verdict, ...] = (*VERDICTS[:-1], "measured", VERDICTS[-1])
"""Verdicts of printed numbers and of one's own, in the order in which they are shown."""


def counts_of(item: TableResults) -> dict[Verdict, int]:
    """Count the places of a table by verdict: printed numbers; of a table that is no paper's its own rows, too."""
    counts = count(item.results).places if item.table.paper else Counter(result.verdict for result in item.results)
    return {verdict: counts.get(verdict, 0) for verdict in WITH_MEASURED}


def count_tables(tables: Iterable[TableResults]) -> Counts:
    """Count the printed numbers of several tables."""
    return count(result for table in tables for result in table.results)


def of_papers(tables: Iterable[TableResults]) -> list[TableResults]:
    """Keep the published tables that come with this project; where there are none, those of any paper."""
    tables = list(tables)
    known = published_tables()
    return [item for item in tables if item.table.name in known] or [item for item in tables if item.table.paper]


# Methods of the four papers' own networks, with their ablations, begin so.
_OWN = {"panet": "PANet", "pa-edsr": "PANet", "rnan": "RNAN", "csnln": "CSNLN", "kit": "KiT"}


def own_paper(result: CellResult) -> str:
    """Name the paper among the four whose own network an image number is of; empty for any other number.

    PA-EDSR is PANet's network for super-resolution.
    """
    method = result.request.method
    paper = next((title for start, title in _OWN.items() if method.startswith(start)), "")
    return paper if is_of_images(result.request.metric) and result.request.printed is not None else ""


class Coverage(msgspec.Struct, frozen=True):
    """How far the papers' numbers were measured, and what the others take.

    Attributes
    ----------
    all : Counts
        Every printed number.
    by_reach : dict
        The same, by what it takes to measure a number (`harness.tables.reach`). Where copies of a number take different
        things, the least of them counts.
    own : Counts
        Image numbers of the papers' own networks: PANet, PA-EDSR, RNAN, CSNLN, KiT, with their ablations.
    own_by_reach : dict
        The same by paper (those that have any), then by what it takes.
    """

    all: Counts
    by_reach: dict[Reach, Counts]
    own: Counts
    own_by_reach: dict[str, dict[Reach, Counts]]


def coverage(tables: Iterable[TableResults], methods: Mapping[str, Method]) -> Coverage:
    """Count the printed numbers of tables by what was measured and by what the others take."""
    tables = list(tables)
    found: dict[Number, Reach] = {}
    results = [result for item in tables for result in item.results]
    for item in tables:
        asked = requests(item.table, methods)
        of_place = dict(zip(map(place_of, asked), reaches(asked, methods), strict=True))
        for result in item.results:
            if (number := number_of(result)) is not None:
                reach = of_place[place_of(result.request)]
                found[number] = min(found.get(number, reach), reach, key=REACHES.index)
    own: dict[str, list[CellResult]] = {paper: [] for paper in _OWN.values()}
    for result in results:
        if paper := own_paper(result):
            own[paper].append(result)

    def by_reach(some: Iterable[CellResult]) -> dict[Reach, Counts]:
        of_number = [(found[number], result) for result in some if (number := number_of(result)) is not None]
        return {reach: count(result for of, result in of_number if of == reach) for reach in REACHES}

    return Coverage(
        all=count(results),
        by_reach=by_reach(results),
        own=count(result for of_paper in own.values() for result in of_paper),
        own_by_reach={paper: by_reach(of_paper) for paper, of_paper in own.items() if of_paper},
    )
