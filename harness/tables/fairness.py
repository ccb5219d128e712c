"""In what the rows of a table are not alike: input, protocol, saving, self-ensemble, training data, kind of weights.

Rows that stand together are read as a comparison. FFDNet as printed, on unclipped noise, beside a new network on 8-bit
noise is 1.7 dB of unfairness at sigma 50. So every cell carries in what it was made otherwise than those it stands
beside (`harness.tables.diff.Difference`), and every form of a table shows that at the row and explains it below.

What a cell stands beside are the rows of a user's table that print nothing, which are what the table is about; in other
tables, and where nothing is known of those, what most cells of the part have. What is not known is not compared: an
unknown training set, or the weights of a method that names none. A method without weights has none of another kind.
"""

from __future__ import annotations

import contextlib
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from harness.degradations.registry import DEGRADATIONS
from harness.errors import HarnessError
from harness.methods import Method
from harness.tables.diff import CellResult, Difference
from harness.tables.measurements import Measurement
from harness.tables.published import Row, Table
from harness.tables.requests import Request, is_of_images
from harness.training.recipe import recipe

Line = tuple[int, int]
"""A row: index of its part, and of the row in it."""

SHORT = {
    "input": "input",
    "protocol": "protocol",
    "saving": "saving",
    "policy": "ensemble",
    "training data": "data",
    "weights": "weights",
}
"""What stands at a row, by the kind of a difference."""

ENSEMBLE, SINGLE = "x8", "single"
RELEASED, RELEASED_IMAGES, TRAINED = "released", "released images", "trained here"

_BESIDE = {"own rows": "the table's own rows", "most rows": "most rows"}

_VALUES = {
    ENSEMBLE: "the mean over the eight flips and transposes of the image (self-ensemble)",
    SINGLE: "the image as it is",
    RELEASED: "released by the authors",
    RELEASED_IMAGES: "unknown (the images are those that the authors released)",
}

_SENTENCES = {
    "input": "another input: {own}; {beside}: {others}",
    "protocol": "compared under {own}; {beside}: under {others}",
    "saving": "restored pixels kept as '{own}'; {beside}: '{others}'",
    "policy": "restored from {own}; {beside}: from {others}",
    "training data": "trained on {own}; {beside}: on {others}",
    "weights": "weights: {own}; {beside}: {others}",
}


class Footnote(msgspec.Struct, frozen=True):
    """A difference that rows of a table share.

    `mark`: A letter, which stands at the rows.
    `rows`: The rows, with how many of their numbers, if not all.
    """

    mark: str
    difference: Difference
    rows: tuple[str, ...]
    text: str


def with_differences(table: Table, results: Sequence[CellResult], methods: Mapping[str, Method]) -> list[CellResult]:
    """Give every cell in what it was made otherwise than the cells of its part that it stands beside.

    `methods`: Methods known here: they say what their weights are.
    """
    facts = [_facts(table, result, methods) for result in results]
    printed = {_line(result.request) for result in results if result.request.printed is not None}
    common: dict[tuple[str, ...], Counter[str]] = {}
    own: dict[tuple[str, ...], Counter[str]] = {}
    for result, of_cell in zip(results, facts, strict=True):
        # Rows without a printed value are what a user's own table is about.
        about = not table.paper and bool(printed) and _line(result.request) not in printed
        for kind, value in of_cell.items():
            key = _key(result.request, kind)
            common.setdefault(key, Counter())[value] += 1
            if about:
                own.setdefault(key, Counter())[value] += 1

    def differences(result: CellResult, of_cell: dict[str, str]) -> tuple[Difference, ...]:
        found = []
        for kind, value in of_cell.items():
            key = _key(result.request, kind)
            counts = own.get(key) or common[key]
            others = max(counts, key=lambda each: (counts[each], each == _stated(table, result.request, kind)))
            if value != others:
                beside = "own rows" if key in own else "most rows"
                found.append(Difference(kind, value, others, beside))  # type: ignore[arg-type]
        return tuple(found)

    return [
        msgspec.structs.replace(result, differs=differences(result, of_cell))
        for result, of_cell in zip(results, facts, strict=True)
    ]


def footnotes(results: Iterable[CellResult]) -> tuple[list[Footnote], dict[Line, list[Footnote]]]:
    """List the differences of a table, each once with the rows that share it; and those of each row.

    `results`: Cells of one table, see `with_differences`.
    """
    cells: dict[tuple[Line, str], int] = Counter()
    shared: dict[Difference, dict[Line, int]] = {}
    names: dict[Line, str] = {}
    metrics: dict[Difference, str] = {}
    for result in results:
        request = result.request
        line = _line(request)
        names[line] = request.row
        if is_of_images(request.metric) and request.dataset:
            cells[line, ""] += 1
            cells[line, request.metric] += 1
        for difference in result.differs:
            of_lines = shared.setdefault(difference, {})
            metrics[difference] = request.metric if difference.kind == "protocol" else ""
            of_lines[line] = of_lines.get(line, 0) + 1
    notes: list[Footnote] = []
    by_line: dict[Line, list[Footnote]] = {}
    for index, (difference, of_lines) in enumerate(shared.items()):
        rows = []
        for line, count in of_lines.items():
            whole = cells[line, metrics[difference]]
            rows.append(names[line] if count == whole else f"{names[line]} ({count} of {whole} numbers)")
        note = Footnote(_mark(index), difference, tuple(dict.fromkeys(rows)), words(difference))
        notes.append(note)
        for line in of_lines:
            by_line.setdefault(line, []).append(note)
    return notes, by_line


def words(difference: Difference) -> str:
    """Say a difference in words."""

    def said(value: str) -> str:
        if difference.kind == "input":
            about = DEGRADATIONS.get(value)
            return f"{value} ({about.summary})" if about is not None else value
        return _VALUES.get(value, value) if difference.kind in ("policy", "weights") else value

    return _SENTENCES[difference.kind].format(
        own=said(difference.own), others=said(difference.others), beside=_BESIDE[difference.beside]
    )


def _mark(index: int) -> str:
    """Number with letters: a to z, then aa, ab and so on."""
    letters = string.ascii_lowercase
    return ("" if index < len(letters) else _mark(index // len(letters) - 1)) + letters[index % len(letters)]


def _line(request: Request) -> Line:
    return request.part, request.line


def _key(request: Request, kind: str) -> tuple[str, ...]:
    """Name what a fact is compared within: the part; protocols are compared with those of like columns."""
    return (str(request.part), kind, *([request.metric, request.column_protocol] if kind == "protocol" else []))


def _stated(table: Table, request: Request, kind: str) -> str:
    """Name what the table states for all its rows: it decides where as many rows have one thing as another."""
    part = table.parts[request.part]
    if kind == "input":
        return part.default_degradation
    return request.column_protocol if kind == "protocol" else ""


def _facts(table: Table, result: CellResult, methods: Mapping[str, Method]) -> dict[str, str]:
    """Say by kind how a cell was made, as far as it is known."""
    request = result.request
    if not is_of_images(request.metric) or not request.dataset:
        return {}
    part = table.parts[request.part]
    row = part.rows[request.line]
    found = {
        "input": request.group.degradation if request.group else row.degradation or part.default_degradation,
        "protocol": request.protocol,
        "saving": request.group.saving if request.group else request.special.saving or row.saving,
        "policy": _policy(request.group.policy if request.group else row.policy),
        "training data": _training_data(row, result, methods),
        "weights": _weights(result, methods),
    }
    return {kind: value for kind, value in found.items() if value}


def _policy(name: str) -> str:
    """Tell averages over flips from the rest: how an image is cut into tiles is no advantage."""
    return (ENSEMBLE if ENSEMBLE in name.split("+") else SINGLE) if name else ""


def _training_data(row: Row, result: CellResult, methods: Mapping[str, Method]) -> str:
    if result.trained_for is not None:
        return result.trained_for.data
    if printed := row.attributes.get("training data"):
        return printed
    name = result.request.method
    # A paper's network that can be trained here as well: its recipe names what the paper trained on.
    method = methods.get(f"{name}-trained")
    if method is not None and result.request.task in method.recipes:
        with contextlib.suppress(HarnessError):
            found = recipe(method.recipes[result.request.task])
            return found.data if found.paper else ""
    return ""


def _weights(result: CellResult, methods: Mapping[str, Method]) -> str:
    request = result.request
    method = methods.get(request.method)
    if not isinstance(result.measured, Measurement):
        # What a paper prints was made with its authors' weights, if with any.
        return RELEASED if request.printed is not None and method is not None and method.origin != "none" else ""
    if method is None:
        return ""
    if method.on == "images":
        return RELEASED_IMAGES if method.released else ""
    if method.origin == "trained":
        return result.origin or TRAINED
    return RELEASED if method.origin == "released" else ""
