"""What it takes to measure a printed number: public files, a user's files, training, or more than is known here.

This is read off the registries, so it is the same on every machine, whatever was fetched or computed there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from harness.assets.datasets.registry import dataset
from harness.assets.weights.registry import public_name, released_file
from harness.methods import Method
from harness.tables.requests import COUNTED, Request

Reach = Literal["public", "supplied", "training", "none"]
REACHES: tuple[Reach, ...] = ("public", "supplied", "training", "none")

MEANINGS: dict[Reach, str] = {
    "public": "public files, pinned by checksum",
    "supplied": "images or weights that you supply",
    "training": "no weights were released: it must be trained",
    "none": "out of reach: no code, no released weights, or a benchmark's own server",
}


def reaches(asked: Iterable[Request], methods: Mapping[str, Method]) -> list[Reach]:
    """Say for each cell of a table what it takes to measure it.

    `asked`: Every cell of the table: a mean takes what the cells of its row take.
    """
    asked = list(asked)
    # Cells share their sets and files: each record is read once.
    of_dataset, of_file = functools.cache(_dataset), functools.cache(_file)
    found = [_reach(request, methods.get(request.method), of_dataset, of_file) for request in asked]
    rows: dict[tuple[int, int], list[Reach]] = {}
    for request, reach in zip(asked, found, strict=True):
        if request.dataset:
            rows.setdefault((request.part, request.line), []).append(reach)
    return [
        _worst(rows.get((request.part, request.line), ["none"])) if request.averages else reach
        for request, reach in zip(asked, found, strict=True)
    ]


def _reach(
    request: Request, method: Method | None, of_dataset: Callable[[str], Reach], of_file: Callable[[str], Reach]
) -> Reach:
    if request.metric == COUNTED and not request.reason:
        return "public"
    if method is None or request.metric == COUNTED or not request.dataset:
        return "none"
    if request.group is None:
        return "training" if request.missing is not None and request.missing.kind == "training" else "none"
    if method.origin == "trained":
        return "training"
    name = method.loads(request.task, request.level, request.dataset)
    if name is None:
        return of_dataset(request.dataset)
    if not method.released:
        return _worst([of_dataset(request.dataset), of_file(name)])
    images, _, _ = name.partition("/")
    return _worst([of_dataset(request.dataset), of_dataset(images) if images in method.released else "none"])


def _dataset(name: str) -> Reach:
    record = dataset(name)
    if record.supply == "derived":
        return _dataset(record.base)
    return "supplied" if record.supply == "user" else "public"


def _file(name: str) -> Reach:
    file = released_file(public_name(name))
    if file is None:
        return "none"
    return "public" if file.at else "supplied"


def _worst(found: list[Reach]) -> Reach:
    return max(found, key=REACHES.index)
