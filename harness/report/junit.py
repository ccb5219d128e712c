"""Results as JUnit XML, which CI servers show: a suite for each table, a test case for each cell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from xml.etree import ElementTree

from harness.errors import printable
from harness.tables.diff import CellResult, as_record, measured_text


def junit_text(tables: Mapping[str, Sequence[CellResult]], failing: Collection[str], *, here: bool = False) -> str:
    """Write results as JUnit XML.

    A cell fails if its verdict is one of `failing`, is skipped if it was not run, and passes otherwise: a number beside
    which nothing is printed (`measured`) does, and one that cannot be compared.

    `tables`: The cells of each table, by the table's name.
    `failing`: Verdicts that fail.
    `here`: Whether a number that was not measured here but read from the results in git fails, too.
    """
    root = ElementTree.Element("testsuites")
    counts = Counter[str]()
    for name, results in tables.items():
        suite = ElementTree.SubElement(root, "testsuite", name=_xml(name))
        of_suite = Counter(_add(suite, name, results, failing, here))
        _count(suite, of_suite)
        counts += of_suite
    _count(root, counts)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _count(element: ElementTree.Element, counts: Counter[str]) -> None:
    element.set("tests", str(counts.total()))
    element.set("failures", str(counts["failure"]))
    element.set("errors", "0")
    element.set("skipped", str(counts["skipped"]))


def _add(
    suite: ElementTree.Element, table: str, results: Sequence[CellResult], failing: Collection[str], here: bool
) -> list[str]:
    """Add the cells of a table; give the outcome of each."""
    outcomes = []
    seen = Counter[tuple[str, str]]()
    for result in results:
        asked = result.request
        name = "/".join(str(part) for part in (asked.dataset, asked.level, asked.metric) if part)
        place = (f"{table}.{asked.row}", name)
        seen[place] += 1
        if seen[place] > 1:  # columns may differ in the method alone, and parts of a table repeat rows
            name = f"{name} ({asked.method or 'no method'}, {seen[place]})"
        case = ElementTree.SubElement(suite, "testcase", classname=_xml(place[0]), name=_xml(name))
        record = as_record(result)
        measured = measured_text(result) or "nothing"
        text = f"published {record['printed'] or 'nothing'}, measured {measured}: {result.verdict}"
        reason = result.judgement.reason
        printed = asked.printed is not None
        recorded = here and printed and bool(result.recorded)
        if printed and (result.verdict in failing or recorded):
            outcome = "failure"
            if recorded and result.verdict not in failing:
                reason = f"not measured here, but recorded at revision {result.recorded}"
        else:
            outcome = "skipped" if result.verdict == "not run" else "passed"
        outcomes.append(outcome)
        if outcome == "passed":
            ElementTree.SubElement(case, "system-out").text = _xml(f"{text}{'; ' if reason else ''}{reason}")
            continue
        told = ElementTree.SubElement(case, outcome, message=_xml(reason or text))
        if outcome == "failure":
            told.set("type", result.verdict)
        told.text = _xml(text)
    return outcomes


def _xml(text: str) -> str:
    """Keep what XML 1.0 can hold; names of rows and reasons may come from strangers' files."""
    return printable(text).replace("\ufffe", "?").replace("\uffff", "?")
