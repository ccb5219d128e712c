"""Published numbers: the tables of the papers as data, digits as printed.

A table is a YAML file. Its *rows* are methods and its *columns* are what is measured, whichever way round the paper
prints them. A value is written as it is printed: ``"37.35"``, ``"N/A"``, ``"-"``; ``"**37.35**"`` stands for the
paper's mark of the best value and ``"_37.24_"`` for its mark of the second best (bold and underline, or two colours).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Collection, Sequence
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Literal

import msgspec

from harness.errors import HarnessError, unknown_name
from harness.names import check_name, is_name
from harness.records.loading import convert, read_yaml, yaml_place
from harness.records.tasks import TASKS

Mark = Literal["", "best", "second"]

# Those of `harness.inference.policies`, which cannot be imported without torch; a test compares.
POLICIES = tuple(way + engine for engine in ("", "+onnx1") for way in ("whole", "chop", "x8", "chop+x8"))
METRICS = ("psnr", "ssim", "parameters", "seconds")

_NUMBER = re.compile(r"\d+(\.\d+)?")
CITE_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:._+/-]*")
_COUNT = re.compile(r"(\d{1,3}(?:,\d{3})*|\d+)(\.\d+)?\s*([KkM])")

# Stands in a table's file where a person must still write something; `harness new published` puts it there.
PLACE = "???"


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a column holds.

    `metric`: ``psnr``, ``ssim``, ``parameters`` or ``seconds``.
    `dataset`: Name in the dataset registry; empty where no image is measured.
    `level`: Sigma, quality or scale; None where the row says it.
    `label`: The column's printed heading where dataset, level and metric do not say it (KiT Table 4: ``h = 4``).
    `variant`: Appended to the row's method (``kit-k4`` + ``h4``), for tables whose columns are variants of a method.
    `protocol`: How its numbers are measured, where that is not the part's or the task's way.
    """

    metric: str
    dataset: str = ""
    level: int | None = None
    label: str = ""
    variant: str = ""
    protocol: str = ""


class CellNote(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is special about one cell of a row.

    `note`: Shown with the cell.
    `suspect`: Why the printed value is probably a misprint.
    `reconstructed`: How the value was read from a scrambled print, with the raw text.
    `readings`: Other readings of the value, by source, where extractions differ.
    `incomparable`: Why the printed value was made by something else than what is measured here.
    `protocol`: The protocol of this cell, where it differs from its row's.
    `saving`: How the restored pixels behind this cell were kept, where it differs from its row's.
    """

    note: str = ""
    suspect: str = ""
    reconstructed: str = ""
    readings: dict[str, str] = {}
    incomparable: str = ""
    protocol: str = ""
    saving: str = ""


class AuditedCell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A cell's measured number under the audited variant.

    `measured`: Of the whole set.
    `image`: Its smallest image.
    `value`: That image's value: what can be checked in seconds.
    """

    measured: float
    image: str
    value: float


class AuditedRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the protocol audit found for a row (`harness audit TABLE --row ROW --write` writes it).

    `protocol`: Protocol by metric, of the variant that explains the most.
    `degradation`, `method`, `policy`: How its restored images are made.
    `datasets`: Variants of datasets that stand in for the columns' own, such as ``{kodak24: kodak24-crop500}``.
    `noise`: Scheme and seed of random inputs, such as ``independent/0``.
    `saving`, `range`: How the samples were kept (``round``, ``truncate``, ``unrounded``, ``raw``), and ``16..235``
        where they were clipped to the range of luma.
    `digits`, `printed_digits`: Digits that it explains, of those printed.
    `whole_cells`, `cell_count`: Cells all of whose digits it explains, of those that could be evaluated.
    `admitted`: Dimensions that the numbers leave open in part, with the values they admit; dimensions that make no
        difference to a printed digit are not listed.
    `tried`, `distinct`, `as_good`, `decoys`, `fooled`: How surprising that is, see `harness.audit.outcomes.Chance`.
    `cells`: Measured numbers by cell, see `Part.column_key`.
    """

    protocol: dict[str, str]
    degradation: str
    method: str
    policy: str
    digits: int
    printed_digits: int
    whole_cells: int
    cell_count: int
    tried: int
    distinct: int
    as_good: int
    decoys: int
    fooled: int
    cells: dict[str, AuditedCell]
    datasets: dict[str, str] = {}
    noise: str = ""
    saving: str = "round"
    range: str = "0..255"
    admitted: dict[str, tuple[str, ...]] = {}


class Row(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One method's printed values.

    `name`: As printed, without the citation.
    `values`: One a column, as printed.
    `level`: The row's level, where rows and not columns carry it (super-resolution).
    `system`: What other tables call the system behind the row, where this one prints another name: the same number then
        counts once.
    `cite`: BibTeX keys of the row's paper with commas between, for `harness table TABLE --style paper`.
    `method`: Harness method that makes this row; empty where there is none (then `not_run` says why).
    `images`: By dataset, the method that reads the images of it which the row's authors released: those cells are
        measured on them, and not on what `method` makes.
    `policy`: Inference policy (``whole``, ``chop``, ``x8``, ``whole+onnx1`` …); empty for the method's own default.
    `saving`: How the restored pixels were kept (``round``, ``truncate``, ``unrounded``); empty for the method's own
        rule.
    `source_digits`: By metric, how many digits the source of the row's numbers prints, where the paper filled them up
        with a zero: ``{ssim: 3}`` says that ``0.8850`` was printed as 0.885 there. It is a verdict of its own, see
        `harness.tables.verdicts`.
    `fitted`: By metric, why the choice behind the row's protocol or input explains only the numbers that it was made
        on; a number that comes out under it `fits` and is not counted as reproduced.
    `degradation`: Where the row's input was made differently from the part's default.
    `protocol`: Protocols by metric, where they differ from the part's.
    `evidence`: Why we believe in `degradation` and `protocol`: what was measured.
    `audit`: What the protocol audit found, and how surprising that is.
    `incomparable`: Why the printed row was made by something else than what is measured here.
    `not_run`: Why no method makes this row.
    `lacks` ({"code", "server", "weights"}): What it would take: a program that nobody has published, a benchmark's own
        server, or weights.
    `attributes`: Printed properties of the row that are no measurements (ticks of an ablation, training data).
    `note`: Shown with the row.
    `cells`: What is special about single cells, by column key (see `Part.column_key`).
    """

    name: str
    values: tuple[str, ...] = ()
    level: int | None = None
    system: str = ""
    cite: str = ""
    method: str = ""
    images: dict[str, str] = {}
    policy: str = ""
    saving: str = ""
    source_digits: dict[str, Literal[3]] = {}
    fitted: dict[str, str] = {}
    degradation: str = ""
    protocol: dict[str, str] = {}
    evidence: str = ""
    audit: AuditedRow | None = None
    incomparable: str = ""
    not_run: str = ""
    lacks: Literal["code", "server", "weights"] = "code"
    attributes: dict[str, str] = {}
    note: str = ""
    cells: dict[str, CellNote] = {}


class TablePart(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rows under one heading; most tables have one part, RNAN Table 8 has five.

    `task`: Restoration task of every cell; empty where nothing is restored.
    `columns`: In the printed order.
    `rows`: In the printed order.
    `title`: Heading of the part.
    `degradation`: How the input is made; empty for the task's default.
    `protocol`: The columns' protocol by metric name, such as ``{psnr: psnr, ssim: ssim-gauss}``.
    """

    task: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    title: str = ""
    degradation: str = ""
    protocol: dict[str, str] = {}

    @property
    def default_degradation(self) -> str:
        """How the input of a row is made that says nothing."""
        return self.degradation or TASKS[self.task].degradation

    def column_key(self, column: Column, row: Row) -> str:
        """Name a cell within its part, such as ``live1/10/psnr`` or ``parameters``."""
        level = column.level if column.level is not None else row.level
        parts = (column.dataset, "" if level is None else str(level), column.variant, column.protocol or column.metric)
        return "/".join(p for p in parts if p)


class Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A table: published, or a user's own.

    `name`: Such as ``panet-table3``.
    `paper`: Such as ``panet``; empty for a user's own table.
    `title`: Caption, in our words.
    `source`: Paper, number, and where the digits were read.
    `parts`: See `TablePart`.
    `methods_as` ({"rows", "columns"}): How the paper prints it.
    `kind` ({"benchmark", "ablation", "cost"}): ``ablation`` rows need networks trained under one budget; ``cost``
        tables hold parameters and times.
    `notes`: Remarks on the whole table.
    """

    name: str
    paper: str
    title: str
    source: str
    parts: tuple[TablePart, ...]
    methods_as: Literal["rows", "columns"] = "rows"
    kind: Literal["benchmark", "ablation", "cost"] = "benchmark"
    notes: tuple[str, ...] = ()

    def cell_count(self) -> int:
        """Count the printed cells, those without a number (N/A, -) included."""
        return sum(len(part.columns) * len(part.rows) for part in self.parts)

    def number_count(self) -> int:
        """Count the printed cells that hold a number."""
        return sum(
            published_number(value) is not None for part in self.parts for row in part.rows for value in row.values
        )


def select(table: Table, *, row: str | Sequence[str] = (), dataset: str | Sequence[str] = ()) -> Table:
    """Keep rows (by their printed names, any case), datasets, or both; several also with commas between their names.

    Raises HarnessError: The table has no such row or dataset (the nearest ones are named), or these rows nothing on
        these datasets.
    """
    rows = _chosen(row, {r.name for part in table.parts for r in part.rows}, f"row of {table.name}")
    known = {column.dataset for part in table.parts for column in part.columns if column.dataset}
    datasets = _chosen(dataset, known, f"dataset of {table.name}")
    parts = []
    for part in table.parts:
        kept = [i for i, column in enumerate(part.columns) if not datasets or column.dataset.lower() in datasets]
        lines = tuple(
            msgspec.structs.replace(r, values=tuple(r.values[i] for i in kept) if r.values else ())
            for r in part.rows
            if not rows or r.name.lower() in rows
        )
        if lines and kept:
            parts.append(msgspec.structs.replace(part, columns=tuple(part.columns[i] for i in kept), rows=lines))
    if not parts:
        raise HarnessError(f"{table.name} has nothing of {', '.join(rows)} on {', '.join(datasets)}")
    return msgspec.structs.replace(table, parts=tuple(parts))


def _chosen(wanted: str | Sequence[str], known: Collection[str], kind: str) -> tuple[str, ...]:
    """Find names, lower-case, in texts that hold one or several; a comma may also be part of a printed name."""
    names = {name.lower() for name in known}
    found: dict[str, None] = {}
    for text in (wanted,) if isinstance(wanted, str) else wanted:
        for name in (text,) if text.lower() in names else text.split(","):
            if name.strip().lower() in names:
                found[name.strip().lower()] = None
            elif text:
                raise unknown_name(kind, name.strip(), known)
    return tuple(found)


class PublishedNumber(msgspec.Struct, frozen=True):
    """A printed number: its value, the weight of its last printed digit, and the paper's mark.

    `value` and `unit` are exact decimals: ``37.35`` has unit ``0.01``; ``1,494K`` is 1494000 with unit 1000.
    `source_unit` is the weight of the last digit that the number's source prints, where the last one here is a zero
    that was filled up (`Row.source_digits`).
    """

    text: str
    value: Decimal
    unit: Decimal
    mark: Mark
    source_unit: Decimal | None = None


def published_number(printed: str) -> PublishedNumber | None:
    """Read a printed value.

    `printed`: As written in a table file, such as ``"**0.9239**"``, ``"1,494K"``, ``"5.7M"``, ``"N/A"``.
    Returns: None where the paper prints no number (``N/A``, ``-``, nothing).
    Raises HarnessError: The text is neither a number nor one of the papers' signs for "none".
    """
    text, mark = printed.strip(), ""
    for fence, name in (("**", "best"), ("_", "second")):
        if len(text) > 2 * len(fence) and text.startswith(fence) and text.endswith(fence):
            text, mark = text[len(fence) : -len(fence)], name
            break
    if text in ("", "N/A", "-", "–"):
        return None
    count = _COUNT.fullmatch(text)
    if count:
        digits = Decimal(count[1].replace(",", "") + (count[2] or ""))
        last = Decimal(1).scaleb(-len((count[2] or ".")[1:]))
        times = 1_000_000 if count[3] == "M" else 1000
        return PublishedNumber(text, digits * times, last * times, mark)  # type: ignore[arg-type]
    if not _NUMBER.fullmatch(text):
        raise HarnessError(f"'{printed}' is not a printed number, 'N/A' or '-'")
    value = Decimal(text)
    exponent = value.as_tuple().exponent
    unit = Decimal(1).scaleb(exponent if isinstance(exponent, int) else 0)
    return PublishedNumber(text, value, unit, mark)  # type: ignore[arg-type]


def read_table(path: Path) -> Table:
    """Read and check one table file.

    Raises HarnessError: A key, task, dataset count or value is wrong; the message says which row.
    """
    plain = read_yaml(path)
    # An anchor or a key cannot hide a place: what is looked through is what YAML made of the text.
    if PLACE in _texts(plain):
        lines = [n for n, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), 1) if PLACE in line]
        told = ", ".join(map(str, lines[:8])) + (", …" if len(lines) > 8 else "")
        raise HarnessError(
            f"{path}, line{'s' * (len(lines) > 1)} {told}: something is still to be written where '{PLACE}' stands"
        )
    return check_table(convert(plain, Table, str(path)), str(path))


def _texts(plain: object) -> set[str]:
    """Collect the texts of plain values."""
    if isinstance(plain, dict):
        return set().union(*map(_texts, plain.values()))
    if isinstance(plain, list):
        return set().union(*map(_texts, plain))
    return {plain} if isinstance(plain, str) else set()


def check_table(table: Table, where: str) -> Table:
    """Check what the types cannot: numbers of values, and every name; return the table.

    Names end up in paths and command lines of the pipelines, so a table from elsewhere must not hold others than known
    or plain ones.
    """
    check_name(table.name, "table name", where)
    for index, part in enumerate(table.parts):
        _check_names(part, where, index)
        if part.task and part.task not in TASKS:
            place = yaml_place(where, "parts", index, "task")
            raise HarnessError(f"{place}: {unknown_name('task', part.task, TASKS)}")
        for line, row in enumerate(part.rows):
            at = ("parts", index, "rows", line)
            if row.values and len(row.values) != len(part.columns):
                raise HarnessError(
                    f"{yaml_place(where, *at, 'values')}: row '{row.name}' has {len(row.values)} values for "
                    f"{len(part.columns)} columns"
                )
            for number, value in enumerate(row.values):
                try:
                    published_number(value)
                except HarnessError as error:
                    place = yaml_place(where, *at, "values", number)
                    raise HarnessError(f"{place}: row '{row.name}': {error}") from None
            if row.cite and not all(map(CITE_KEY.fullmatch, row.cite.split(","))):
                raise HarnessError(
                    f"{yaml_place(where, *at, 'cite')}: row '{row.name}': cite '{row.cite}' holds no BibTeX keys; "
                    "write keys of letters, digits and : . _ + / -, with commas and no blanks between"
                )
            keys = {part.column_key(column, row) for column in part.columns}
            for key in row.cells:
                if key not in keys:
                    place = yaml_place(where, *at, "cells", key)
                    raise HarnessError(f"{place}: row '{row.name}': {unknown_name('cell', key, keys)}")
    return table


def _check_names(part: TablePart, where: str, index: int) -> None:
    """Check that datasets, metrics, degradations, protocols, policies, saving rules and methods are known or plain."""
    from harness.assets.datasets.registry import dataset_names
    from harness.degradations.registry import degradation
    from harness.protocols.definitions import protocol
    from harness.protocols.own import OWN_METRICS
    from harness.records.cells import SAVINGS

    def protocol_family(name: str, where: str) -> str:
        try:
            return protocol(name).family
        except HarnessError as error:
            raise HarnessError(f"{where}: {error}") from None

    datasets = dataset_names()
    for position, column in enumerate(part.columns):
        at = ("parts", index, "columns", position)
        for kind, name, known in (
            ("metric", column.metric, (*METRICS, *OWN_METRICS)),
            ("dataset", column.dataset, ("", *datasets)),
        ):
            if name not in known:
                raise HarnessError(f"{yaml_place(where, *at, kind)}: {unknown_name(kind, name, known)}")
        if column.protocol:
            place = yaml_place(where, *at, "protocol")
            if protocol_family(column.protocol, place) != column.metric:
                raise HarnessError(
                    f"{place}: '{column.protocol}' is no protocol of '{column.metric}'; correct one of them"
                )
        if column.variant:
            check_name(column.variant, "variant", where)
    degradations = {part.degradation, *(row.degradation for row in part.rows)} - {""}
    protocols = {*part.protocol.values(), *(name for row in part.rows for name in row.protocol.values())}
    protocols |= {column.protocol for column in part.columns} - {""}
    protocols |= {cell.protocol for row in part.rows for cell in row.cells.values()} - {""}
    try:
        for name in sorted(degradations):
            degradation(name)
        for name in sorted(protocols):
            protocol(name)
    except HarnessError as error:
        raise HarnessError(f"{where}: {error}") from None
    for line, row in enumerate(part.rows):
        at = ("parts", index, "rows", line)
        for name in (*([row.method] if row.method else []), *row.images.values()):
            check_name(name, "method name", yaml_place(where, *at) if not is_name(name) else where)
        of_columns = {column.dataset for column in part.columns}
        for name in row.images:
            if name not in of_columns:
                place = yaml_place(where, *at, "images", name)
                raise HarnessError(f"{place}: row '{row.name}': {unknown_name('dataset', name, of_columns)}")
        savings = [row.saving, *(cell.saving for cell in row.cells.values())]
        for kind, name, names in (("policy", row.policy, POLICIES), *(("saving rule", s, SAVINGS) for s in savings)):
            if name and name not in names:
                raise HarnessError(f"{yaml_place(where, *at)}: row '{row.name}': {unknown_name(kind, name, names)}")


@functools.cache
def published_tables() -> dict[str, Table]:
    """Read the papers' tables, by name, in the order paper, number."""
    return _read_folder("published")


def published() -> dict[str, Table]:
    """Give the papers' tables, by name, in the order paper, number; the dictionary is the caller's own.

    Returns
    -------
    dict
        `Table` by name. A row's `values` are the digits as printed; `published_number` reads one.

    Examples
    --------
    >>> import harness
    >>> part = harness.published()["panet-table3"].parts[0]
    >>> part.columns[0].dataset, part.columns[0].level, part.columns[0].metric
    ('live1', 10, 'psnr')
    >>> part.rows[0].name, part.rows[0].values[0]
    ('JPEG', '27.77')
    """
    return dict(published_tables())


@functools.cache
def own_tables() -> dict[str, Table]:
    """Read the tables of this project, such as the one on the embedded images."""
    return _read_folder("own")


def table_file(name: str) -> Path:
    """Find the file of a table that comes with the package."""
    folder = Path(str(resources.files("harness.tables")))
    return folder / ("published" if name in published_tables() else "own") / f"{name}.yaml"


def _read_folder(name: str) -> dict[str, Table]:
    folder = Path(str(resources.files("harness.tables"))) / name
    tables = [read_table(file) for file in folder.glob("*.yaml")]

    def order(table: Table) -> tuple[str, int]:
        number = re.search(r"(\d+)$", table.name)
        return table.paper, int(number[1]) if number else 0

    return {table.name: table for table in sorted(tables, key=order)}
