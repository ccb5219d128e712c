"""Evidence beside the published numbers: written into a table's file, and measured again.

Writing is a careful edit of the text that keeps comments and every other line. The file is parsed only to find where a
row's keys begin and end. After the edit it is read again, and everything but the written keys must be what it was;
otherwise the file stays untouched.
"""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

import msgspec
import yaml

from harness.audit.images import Bench
from harness.audit.measuring import set_values, ssim_mask
from harness.audit.outcomes import RowAudit
from harness.audit.variants import PSNR_READINGS, SSIM_READINGS, Finish, Making, NoiseDraw, set_readings
from harness.audit.wording import SUGGESTIVE, accident, headline, percent
from harness.errors import HarnessError
from harness.files import write_text
from harness.records.cells import SAVINGS
from harness.records.loading import convert
from harness.tables.published import AuditedCell, AuditedRow, Row, Table, TablePart, check_table, read_table, table_file
from harness.tables.workspace import Workspace

WRITTEN = ("degradation", "protocol", "saving", "audit")
"""The keys of a row that an audit writes."""

# libyaml's where it is there: the pure one takes a second for a long table.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

RANGES = {"full": "0..255", "studio": "16..235"}


class EvidenceCheck(msgspec.Struct, frozen=True):
    """A cell's stored number and what is measured now, of the whole set or of the witness image."""

    key: str
    stored: float
    measured: float
    whole: bool


def check_evidence(
    bench: Bench, part: TablePart, row: Row, whole: bool | None = None, only: Container[str] | None = None
) -> list[EvidenceCheck]:
    """Measure again what a row's evidence says.

    Parameters
    ----------
    bench : Bench
        Where images come from.
    part : TablePart
        The row's part.
    row : Row
        With evidence.
    whole : bool, optional
        Whether to measure whole sets; by default where the method is no network. Otherwise the smallest image of each
        set.
    only : container of str, optional
        Cells that are checked; all where nothing is given.

    Raises
    ------
    NotAvailableError
        A dataset or the weights are not here.
    """
    audit = row.audit
    assert audit is not None
    scheme, _, seed = audit.noise.partition("/")
    noise = NoiseDraw(scheme, int(seed)) if scheme else NoiseDraw()
    making = Making(audit.degradation, audit.method, audit.policy, noise, ())
    finish = Finish(audit.saving, next(span for span, name in RANGES.items() if name == audit.range))
    everything = bench.light(audit.method) if whole is None else whole
    checked = []
    for column in part.columns:
        key = part.column_key(column, row)
        cell = audit.cells.get(key)
        if cell is None or (only is not None and key not in only):
            continue
        level = column.level if column.level is not None else (row.level or 0)
        source = bench.source(part.task, audit.datasets.get(column.dataset, column.dataset), level, making, here=True)
        wanted = set_readings(column.metric, same_size=False)
        index = [reading.label for reading in wanted].index(audit.protocol[column.metric])
        # The averages of a set go through the readings of one image in the same order.
        single = index % len(PSNR_READINGS if column.metric == "psnr" else SSIM_READINGS)
        images = source.images if everything else [cell.image]
        source.measure([column.metric], images, [finish], ssim_mask([single]))
        values = source.values(column.metric, finish, images)
        measured = float(values[0, single])
        if everything:
            measured = float(set_values(column.metric, values, source.pixels(), wanted)[index])
        checked.append(EvidenceCheck(key, cell.measured if everything else cell.value, measured, everything))
    return checked


def write_audits(workspace: Workspace, name: str, audits: list[RowAudit]) -> list[str]:
    """Write audits into the file of a table.

    A row's protocol, degradation and saving are changed only where another variant matches more cells than the stated
    one (or comes nearer with as many), and where that is no likely accident; otherwise the row stays as it is. Evidence
    for what is stated is written in any case, with how strong it is.

    Parameters
    ----------
    workspace : Workspace
        Knows the user's own tables.
    name : str
        The table.
    audits : list of RowAudit
        Of whole rows.

    Returns
    -------
    list of str
        What was written, row by row.
    """
    path = workspace.table_files.get(name) or table_file(name)
    table = read_table(path)
    before = text = path.read_text(encoding="utf-8")
    said = []
    for audit in audits:
        if audit.best is None:
            continue
        # What would replace the stated variant on evidence that is as likely an accident is not written.
        if better(audit) and (audit.chance is None or accident(audit) > SUGGESTIVE):
            said.append(
                f"{audit.row}: left as it is; what comes nearer ({headline(audit)}) may be an accident "
                f"({percent(accident(audit))})"
            )
            continue
        part = table.parts[audit.part]
        for line, row in enumerate(part.rows):
            if row.name == audit.row:
                text = edit_row(text, audit.part, line, _row_keys(part, row, audit))
        stated = audit.stated.choices if audit.stated is not None else {}
        changed = [
            f"{name} {stated.get(name, '?')} → {value}"
            for name, value in audit.best.choices.items()
            if better(audit) and stated.get(name) != value
        ]
        said.append(f"{audit.row}: " + ("; ".join(changed) or "as stated; evidence written"))
    if not said:
        return [f"{path.name}: nothing to write"]
    if text != before:
        _check_edit(path, text, table)
        write_text(path, text)
    return said


def better(audit: RowAudit) -> bool:
    """Whether the best variant matches more cells than the stated one, or as many and comes nearer in the rest."""
    return audit.best is not None and (
        audit.stated is None or (audit.best.whole, audit.best.digits) > (audit.stated.whole, audit.stated.digits)
    )


def _row_keys(part: TablePart, row: Row, audit: RowAudit) -> dict[str, Any]:
    """Say which keys of a row are written, and what; nothing where the row has none of the audited cells."""
    own = {part.column_key(column, row) for column in part.columns}
    evidence = _evidence(audit, own)
    if not evidence.cells:
        return {}
    keys: dict[str, Any] = {}
    assert audit.best is not None
    if better(audit):
        if audit.best.choices["input"] != (row.degradation or part.degradation):
            keys["degradation"] = audit.best.choices["input"]
        named = {metric: label for metric, label in audit.best.protocols.items() if "(" not in label}
        protocol = {m: p for m, p in {**row.protocol, **named}.items() if p != part.protocol.get(m)}
        if protocol != row.protocol:
            keys["protocol"] = protocol or None
        if audit.saving in SAVINGS and audit.span == "full" and audit.saving != (row.saving or "round"):
            keys["saving"] = audit.saving
    keys["audit"] = msgspec.json.decode(msgspec.json.encode(evidence))  # Lists, no tuples: YAML has no word for these.
    return keys


def _evidence(audit: RowAudit, keys: set[str]) -> AuditedRow:
    """Make of an audit what is stored beside a row with these cells (rows at several scales are several lines)."""
    assert audit.best is not None and audit.chance is not None
    return AuditedRow(
        protocol=audit.best.protocols,
        degradation=audit.best.choices["input"],
        method=audit.best.choices["method"],
        policy=audit.policy,
        datasets=audit.datasets,
        noise=audit.noise,
        saving=audit.saving,
        range=RANGES[audit.span],
        digits=audit.best.digits,
        printed_digits=audit.digits,
        whole_cells=audit.best.whole,
        cell_count=len(audit.cells),
        admitted={d.name: tuple(d.admitted) for d in audit.dimensions if len(d.admitted) > 1},
        tried=audit.chance.tried,
        distinct=audit.chance.distinct,
        as_good=audit.chance.as_good,
        decoys=audit.chance.decoys,
        fooled=audit.chance.fooled,
        cells={c.key: AuditedCell(c.measured, *audit.witnesses[c.key]) for c in audit.cells if c.key in keys},
    )


def _check_edit(path: Path, text: str, before: Table) -> None:
    try:
        after = check_table(convert(yaml.load(text, Loader=_LOADER), Table, str(path)), str(path))
    except yaml.YAMLError as error:
        raise HarnessError(f"{path}: the edit would not be valid YAML ({error}); nothing was written") from None

    def unwritten(table: Table) -> Any:
        plain = msgspec.to_builtins(table)
        for row in (row for part in plain["parts"] for row in part["rows"]):
            for key in WRITTEN:
                row.pop(key, None)
        return plain

    if unwritten(after) != unwritten(before):
        raise HarnessError(f"{path}: the edit would have changed more than {', '.join(WRITTEN)}; nothing was written")


# --- the text of a table's file


def edit_row(text: str, part: int, line: int, keys: dict[str, Any]) -> str:
    """Set keys of one row in the text of a table's file.

    Parameters
    ----------
    text : str
        The file.
    part, line : int
        Indices of the part, and of the row in it.
    keys : dict
        Values by key; None takes a key out.

    Returns
    -------
    str
        The edited text.

    Raises
    ------
    HarnessError
        The key begins the row, or its value is an alias.
    """
    for key, value in keys.items():
        root: Any = yaml.compose(text, Loader=_LOADER)
        parts = next(node for name, node in root.value if name.value == "parts")
        rows = next(node for name, node in parts.value[part].value if name.value == "rows")
        row = rows.value[line]
        text = _edit_flow(text, row, key, value) if row.flow_style else _edit_block(text, row, key, value)
    return text


def _edit_flow(text: str, row: Any, key: str, value: Any) -> str:
    """Set a key of a row that is written in one line."""
    for name, known in row.value:
        if name.value != key:
            continue
        start, end = name.start_mark.index, known.end_mark.index
        if known.start_mark.index < start:
            raise HarnessError(f"'{key}' of this row is an alias (*…); write its value out, then write again")
        if value is None:
            # With the comma before it; the first key of a row is its name and stays.
            return text[: text.rindex(",", 0, start)] + text[end:]
        return text[:start] + f"{key}: {_flow(value)}" + text[end:]
    if value is None:
        return text
    end = row.end_mark.index - 1
    return text[:end] + f", {key}: {_flow(value)}" + text[end:]


def _edit_block(text: str, row: Any, key: str, value: Any) -> str:
    """Set a key of a row that is written in block style, a key a line."""
    lines = text.splitlines(keepends=True)
    names = [name.value for name, _ in row.value]
    new = [] if value is None else _block(key, value, row.start_mark.column)
    if key in names:
        name = row.value[names.index(key)][0]
        if lines[name.start_mark.line][: name.start_mark.column].strip() == "-":
            raise HarnessError(f"'{key}' is the first key of its row; put another key before it, then write again")
        return "".join([*lines[: name.start_mark.line], *new, *lines[_end(lines, row, key) :]])
    # Behind the last key, but before `cells`, which is long.
    is_long = "cells" in names[1:]
    end = row.value[names.index("cells")][0].start_mark.line if is_long else _end(lines, row, names[-1])
    return "".join([*lines[:end], *new, *lines[end:]])


def _end(lines: list[str], row: yaml.MappingNode, key: str) -> int:
    """Number of the line behind a key's value; comments above the next key belong to that, as do empty lines."""
    starts: dict[str, int] = {name.value: name.start_mark.line for name, _ in row.value}
    first = starts[key] + 1
    mark = next(value for name, value in row.value if name.value == key).end_mark
    # The mark of a block stands where the next one begins, and that of an alias where its anchor does.
    end = mark.line + any(line[: mark.column].strip() for line in lines[mark.line : mark.line + 1])
    end = max(first, min((line for line in starts.values() if line >= first), default=end))

    def is_outside(line: str) -> bool:
        plain = line.lstrip()
        return not plain or (plain[0] == "#" and len(line) - len(plain) <= row.start_mark.column)

    while end > first and is_outside(lines[end - 1]):
        end -= 1
    return end


def _flow(value: Any) -> str:
    """Write a value in one line."""
    line = yaml.dump(value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True).strip()
    return line.removesuffix("...").strip()


def _block(key: str, value: Any, indent: int) -> list[str]:
    """Write a key in block style; small mappings and lists in one line each."""
    pad = " " * indent
    if key != "audit":
        return [f"{pad}{key}: {_flow(value)}\n"]
    lines = [f"{pad}{key}:\n"]
    for name, item in value.items():
        if name == "cells":
            lines.append(f"{pad}  cells:\n")
            lines += [f"{pad}    {cell}: {_flow(about)}\n" for cell, about in item.items()]
        else:
            lines.append(f"{pad}  {name}: {_flow(item)}\n")
    return lines
