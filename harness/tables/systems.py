"""The systems of the papers' tables: what each was checked against, where its weights are, which numbers it reaches."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from harness.assets.weights.registry import public_name, released_file, weight_set
from harness.methods import Method
from harness.tables.collected import TableResults, place_of
from harness.tables.counting import Number, number_of
from harness.tables.diff import CellResult, lacks
from harness.tables.measurements import NotRun
from harness.tables.reach import REACHES, Reach, reaches
from harness.tables.requests import requests


class System(msgspec.Struct, frozen=True):
    """One system, over every table that prints it.

    `methods`: Harness methods that make its rows; none where nobody has its code.
    `checked`: What its network was held to.
    `weights`: Each set of files, and how it is held.
    `inference`: How it is applied to an image.
    `measured`: Different printed numbers that were measured.
    `open`: Different printed numbers that were not, by what they take (`harness.tables.reach`).
    `reasons`: Why the numbers that nothing here can make cannot be made.
    """

    name: str
    tables: tuple[str, ...]
    methods: tuple[str, ...]
    checked: str
    weights: tuple[str, ...]
    inference: str
    measured: int
    open: dict[Reach, int]
    reasons: tuple[str, ...]

    @property
    def numbers(self) -> int:
        """All different printed numbers."""
        return self.measured + sum(self.open.values())


def systems(tables: Iterable[TableResults], methods: Mapping[str, Method]) -> list[System]:
    """Describe every system of the tables, in the order of their first rows.

    `tables`: The tables with what was measured; ablations, whose rows are variants of one network, are left out.
    """
    found: dict[str, list[tuple[CellResult, Reach]]] = {}
    for item in tables:
        if item.table.kind == "ablation":
            continue
        asked = requests(item.table, methods)
        of_place = dict(zip(map(place_of, asked), reaches(asked, methods), strict=True))
        for result in item.results:
            if result.request.printed is not None:
                cell = (result, of_place[place_of(result.request)])
                found.setdefault(_plain(result.request.system).casefold(), []).append(cell)
    return [_system(cells, methods) for cells in found.values()]


def _plain(name: str) -> str:
    """Take off what a paper adds to the name of its own system."""
    return name.removesuffix(" (ours)")


def _system(cells: list[tuple[CellResult, Reach]], methods: Mapping[str, Method]) -> System:
    asked = [result.request for result, _ in cells]
    known = [methods[name] for name in dict.fromkeys(r.method for r in asked) if name in methods]
    measured: set[Number | None] = set()
    reach_of: dict[Number | None, Reach] = {}
    for result, reach in cells:
        number = number_of(result)
        if result.verdict != "not run":
            measured.add(number)
        reach_of[number] = min(reach_of.get(number, reach), reach, key=REACHES.index)
    # A number that was measured needs nothing, whatever its copies say.
    left = [reach for number, reach in reach_of.items() if number not in measured]
    files: dict[str, None] = {}
    for request in asked:
        method = methods.get(request.method)
        if method is not None and method.origin == "released" and request.dataset and request.task in method.tasks:
            name = method.loads(request.task, request.level, request.dataset)
            files.update({public_name(name): None} if name else {})
    return System(
        name=_plain(asked[0].system),
        tables=tuple(dict.fromkeys(r.table for r in asked)),
        methods=tuple(method.name for method in known),
        checked="; ".join(dict.fromkeys(method.checked for method in known if method.checked)),
        weights=(*_weights(files), *(["trained here"] if any(m.origin == "trained" for m in known) else [])),
        inference=", ".join(dict.fromkeys(_POLICIES.get(r.group.policy, r.group.policy) for r in asked if r.group)),
        measured=len(measured),
        open={reach: left.count(reach) for reach in REACHES},
        reasons=_reasons([result for result, reach in cells if reach == "none"]),
    )


_POLICIES = {"whole": "whole images", "chop": "the authors' tiles", "x8": "self-ensemble of eight"}


def _weights(names: Iterable[str]) -> list[str]:
    """Say for each set that is loaded how many of its files are held how."""
    images = [name for name in names if "/" not in name]
    lines = [f"released images: {', '.join(images)}"] if images else []
    for where in dict.fromkeys(name.partition("/")[0] for name in names if released_file(name)):
        record = weight_set(where)
        pins = {True: "by SHA-256", False: "by git blob id"}
        held = [pins[bool(file.sha256)] if file.at else "that you supply" for file in record.files]
        counts = ", ".join(f"{held.count(how)} {how}" for how in dict.fromkeys(held))
        sources = f" ({', '.join(record.repositories)})" if record.repositories else ""
        lines.append(f"`{where}`: {counts}{sources}")
    return lines


def _reasons(results: list[CellResult]) -> tuple[str, ...]:
    return tuple(
        dict.fromkeys(
            f"{lacks(result)}: {result.measured.reason}"
            for result in results
            if isinstance(result.measured, NotRun) and lacks(result) != "cells"
        )
    )


def markdown(found: Iterable[System]) -> str:
    """Write the systems as Markdown: one table, and below it why some numbers are out of reach."""
    found = list(found)
    heads = ("system", "network checked against", "weights", "inference", "measured", *REACHES)
    lines = [heads, (":--",) * 4 + ("--:",) * (len(heads) - 4)]
    for system in found:
        lines.append(
            (
                system.name,
                system.checked,
                "<br>".join(system.weights),
                system.inference,
                f"{system.measured} of {system.numbers}",
                *(str(system.open[reach] or "") for reach in REACHES),
            )
        )
    text = "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
    of_reason: dict[str, list[str]] = {}
    for system in found:
        for reason in system.reasons:
            of_reason.setdefault(reason, []).append(system.name)
    out = [f"- **{', '.join(names)}**: {reason}" for reason, names in of_reason.items()]
    return "\n".join([text, "", "## Out of reach", "", *out]) + "\n"
