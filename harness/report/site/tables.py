"""Pages of tables: as printed with what was measured, cell by cell, and under one protocol; with the forms to take."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

from harness.errors import HarnessError
from harness.protocols.own import better_of
from harness.report import one_protocol as one_protocol_report
from harness.report import plots
from harness.report.grid import (
    evidence,
    grids,
    prints_numbers,
    reasons_not_run,
    recorded_text,
    remarks,
    summary,
    unlike,
)
from harness.report.render import forms
from harness.report.site.contents import Contents, cell_record, number_facts, telling_making_facts, was_measured
from harness.report.site.pages import FORMS, Pages, one_protocol_page, table_page
from harness.tables import one_protocol
from harness.tables.collected import CellPosition, TableResults, place_of
from harness.tables.counting import count
from harness.tables.diff import CellResult
from harness.tables.measurements import Measurement
from harness.tables.ordering import orderings
from harness.tables.requests import is_of_images

# Measured marks need a contest: with fewer measured cells "best" says nothing.
_FEWEST_FOR_MARKS = 3


def write_table(pages: Pages, contents: Contents, item: TableResults) -> list[str]:
    """Write the pages and forms of a table; return notes on what could not be shown."""
    table, results = item.table, item.results
    marks = measured_marks(results)
    records = [
        cell_record(item, result) | {"id": index, "mark": marks.get(place_of(result.request), "")}
        for index, result in enumerate(results)
    ]
    tell_reasons_once(records)
    by_place = {place_of(result.request): record for result, record in zip(results, records, strict=True)}
    page = table_page(table.name)
    texts = forms(table, results)
    pages.write_forms(page, texts)
    one, notes = _write_one_protocol(pages, contents, item)
    compared = [result for result in results if result.request.printed is not None]
    pages.write(
        page,
        "table.html.j2",
        table=table,
        grids=grids(table, results),
        by_place=defaultdict(dict, by_place),
        records=records,
        details=_details(contents, item, records),
        counts=count(results).places,
        shown=Counter(result.verdict for result in results),
        published=prints_numbers(results),
        unlike=unlike(results),
        total=len(compared),
        summary=summary(table, results),
        remarks=remarks(results),
        not_run=reasons_not_run(results),
        evidence=evidence(results),
        charts=plots.level_charts(table, results) + plots.cost_charts(table, results),
        orderings=[ordering.text for ordering in orderings(table, results)],
        tex=texts["tex"],
        forms=FORMS,
        recorded=recorded_text(results),
        has_marks=bool(marks),
        one_protocol=one,
    )
    return notes


def tell_reasons_once(records: Iterable[dict[str, Any]]) -> None:
    """Add to each record of a cell `tells`: the id of the record of its row that is the first with the same reason."""
    first: dict[tuple[str, str], int] = {}
    for record in records:
        record["tells"] = first.setdefault((record["row"], record["reason"]), record["id"])


def _details(contents: Contents, item: TableResults, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What a page shows of a cell that is pointed at; each text is stored once and referred to by its number.

    Returns
    -------
    dict
        ``texts``; ``cells``: label, text, label, text … of every number; ``makings``: a heading, then the same, of
        every different way to make one; ``made``: which of them each number has, -1 where none is known.
    """
    texts: dict[str, int] = {}

    def numbers(words: Iterable[str]) -> tuple[int, ...]:
        return tuple(texts.setdefault(word, len(texts)) for word in words)

    cells, made = [], []
    makings: dict[tuple[int, ...], int] = {}
    for result, record in zip(item.results, records, strict=True):
        cells.append(numbers(chain.from_iterable(number_facts(item, result, record))))
        if result.request.group is None:
            made.append(-1)
            continue
        cell = (result.request.group, result.request.level)
        ran = was_measured(contents, cell)
        head = "What made it" if ran else "What would make it"
        making = numbers([head, *chain.from_iterable(telling_making_facts(contents, cell, result, ran=ran))])
        made.append(makings.setdefault(making, len(makings)))
    return {"texts": list(texts), "cells": cells, "makings": list(makings), "made": made}


def _write_one_protocol(pages: Pages, contents: Contents, item: TableResults) -> tuple[str, list[str]]:
    """Write a table whose rows have own protocols under that of the columns; return the page, if any, and notes."""
    table = item.table
    apart: dict[str, list[str]] = {}
    for result in item.results:
        asked = result.request
        measured = is_of_images(asked.metric) and isinstance(result.measured, Measurement)
        if measured and asked.protocol != asked.column_protocol:
            rows = apart.setdefault(asked.protocol, [])
            rows += [] if asked.row in rows else [asked.row]
    if not apart:
        return "", []
    try:
        cells = one_protocol.one_protocol(contents.workspace, table, one_protocol.COLUMN)
    except (HarnessError, OSError) as error:
        return "", [f"{table.name} under one protocol: {error}"]
    page = one_protocol_page(table.name)
    pages.write_forms(page, one_protocol_report.forms(table, cells))
    pages.write(
        page,
        "one_protocol.html.j2",
        table=table,
        table_page=table_page(table.name),
        grids=one_protocol_report.one_protocol_grids(table, cells),
        protocols=one_protocol_report.protocol_words(cells),
        apart=apart,
        inputs=one_protocol.input_groups(cells),
        changes=one_protocol_report.rank_changes(cells),
        not_run=one_protocol_report.not_run_reasons(cells),
        forms=FORMS,
    )
    return page, []


def measured_marks(results: Iterable[CellResult]) -> dict[CellPosition, str]:
    """Mark the best and the second best measured value of each column.

    Only values measured under one protocol on one dataset at one level, of the same inputs, compete, and only where at
    least three do. Equal values share a mark.
    """
    contests: dict[tuple[Any, ...], dict[CellPosition, float]] = defaultdict(dict)
    for result in results:
        request = result.request
        if isinstance(result.measured, Measurement):
            made_from = request.group.degradation if request.group else ""
            key = (request.part, request.dataset, request.level, request.metric, request.protocol, made_from)
            contests[key][place_of(request)] = result.measured.value
    marks: dict[CellPosition, str] = {}
    for (_, _, _, metric, *_), members in contests.items():
        values = sorted(set(members.values()), reverse=better_of(metric) == "higher")
        if len(members) < _FEWEST_FOR_MARKS or len(values) < 2:
            continue
        for mark, value in zip(("best", "second"), values, strict=False):
            marks |= {place: mark for place, measured in members.items() if measured == value}
    return marks
