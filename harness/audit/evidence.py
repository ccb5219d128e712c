"""Evidence beside the published numbers: an audit's outcome, written into a table's file.

Writing is a careful edit of the text that keeps comments and every other line. The file is parsed only to find where a
row's keys begin and end. After the edit it is read again, and everything but the written keys must be what it was;
otherwise the file stays untouched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import yaml

from harness.audit.outcomes import RowAudit
from harness.audit.variants import RANGES
from harness.audit.wording import SUGGESTIVE, accident, headline, percent
from harness.errors import HarnessError
from harness.files import write_text
from harness.records.cells import SAVINGS
from harness.records.loading import convert
from harness.tables.published import AuditedCell, AuditedRow, Row, Table, TablePart, check_table, read_table, table_file
from harness.tables.workspace import Workspace

WRITTEN = ("degradation", "protocol", "saving", "audit")
"""The keys of a row that an audit writes."""

# libyaml's where it is there: a table is long, and the pure one is slow.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def write_audits(workspace: Workspace, name: str, audits: list[RowAudit]) -> list[str]:
    """Write audits into the file of a table.

    A row's protocol, degradation and saving are changed only where another variant matches more cells than the stated
    one (or comes nearer with as many), and where that is no likely accident; otherwise the row stays as it is. Evidence
    for what is stated is written in any case, with how strong it is.

    The audits are of whole rows; what was written is said row by row.
    """
    path = workspace.table_files.get(name) or table_file(name)
    table = read_table(path)
    before = text = path.read_text(encoding="utf-8")
    said = []
    for audit in audits:
        if audit.best is None:
            continue
        if better(audit) and accident(audit) > SUGGESTIVE:
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
    assert audit.best is not None and audit.chance is not None
    own = {part.column_key(column, row) for column in part.columns}
    cells = {c.key: AuditedCell(c.measured, *audit.witnesses[c.key]) for c in audit.cells if c.key in own}
    if not cells:
        return {}
    keys: dict[str, Any] = {}
    if better(audit):
        if audit.best.choices["input"] != (row.degradation or part.degradation):
            keys["degradation"] = audit.best.choices["input"]
        named = {metric: label for metric, label in audit.best.protocols.items() if "(" not in label}
        protocol = {m: p for m, p in {**row.protocol, **named}.items() if p != part.protocol.get(m)}
        if protocol != row.protocol:
            keys["protocol"] = protocol or None
        if audit.saving in SAVINGS and audit.span == "full" and audit.saving != (row.saving or "round"):
            keys["saving"] = audit.saving
    evidence = AuditedRow(
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
        cells=cells,
    )
    keys["audit"] = msgspec.json.decode(msgspec.json.encode(evidence))  # Lists, no tuples: YAML has no word for these.
    return keys


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
    """Set keys of one row in the text of a table's file, and return the edited text; None takes a key out.

    `part` and `line` are the indices of the part, and of the row in it.

    Raises HarnessError: The key begins the row, or its value is an alias.
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
