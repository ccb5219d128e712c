"""Writing an audit's outcome into a table's file: a careful edit of the text that keeps comments and every other line.

The file is parsed only to find where a row's keys begin and end. After the edit it is read again, and everything but
the written keys must be what it was; otherwise the file stays untouched.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from harness.audit.evidence import evidence
from harness.audit.outcomes import RowAudit
from harness.audit.wording import SUGGESTIVE, accident, headline, percent
from harness.errors import HarnessError
from harness.files import write_text
from harness.records.cells import SAVINGS
from harness.tables.published import Row, Table, TablePart, check_table, read_table, table_file
from harness.tables.workspace import Workspace

WRITTEN = ("degradation", "protocol", "saving", "audit")
"""The keys of a row that an audit writes."""


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
        if doubtful(audit):
            said.append(
                f"{audit.row}: left as it is; what comes nearer ({headline(audit)}) may be an accident "
                f"({percent(accident(audit))})"
            )
            continue
        part = table.parts[audit.part]
        for line, row in enumerate(part.rows):
            if row.name != audit.row:
                continue
            keys = row_keys(part, row, audit)
            if keys is None:
                continue
            text = edit_row(text, audit.part, line, keys)
        changed = _changes(part, audit)
        said.append(f"{audit.row}: " + ("; ".join(changed) if changed else "as stated; evidence written"))
    if not said:
        return [f"{path.name}: nothing to write"]
    if text != before:
        _write_checked(path, text, table)
    return said


def row_keys(part: TablePart, row: Row, audit: RowAudit) -> dict[str, Any] | None:
    """Say which keys of a row are written, and what; None where the row has none of the audited cells."""
    own = {part.column_key(column, row) for column in part.columns}
    found = evidence(audit, own)
    if not found.cells:
        return None
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
    keys["audit"] = msgspec.json.decode(msgspec.json.encode(found))  # Lists, no tuples: YAML has no word for these.
    return keys


def better(audit: RowAudit) -> bool:
    """Whether the best variant matches more cells than the stated one, or as many and comes nearer in the rest."""
    return audit.best is not None and (
        audit.stated is None or (audit.best.whole, audit.best.digits) > (audit.stated.whole, audit.stated.digits)
    )


def doubtful(audit: RowAudit) -> bool:
    """Whether the best variant would replace the stated one on evidence that is as likely an accident."""
    return better(audit) and (audit.chance is None or accident(audit) > SUGGESTIVE)


def _changes(part: TablePart, audit: RowAudit) -> list[str]:
    assert audit.best is not None
    if not better(audit):
        return []
    stated = audit.stated.choices if audit.stated is not None else {}
    return [
        f"{name} {stated.get(name, '?')} → {value}"
        for name, value in audit.best.choices.items()
        if stated.get(name) != value
    ]


def _write_checked(path: Path, text: str, before: Table) -> None:
    from harness.records.loading import convert

    after = check_table(convert(_load(text, path), Table, str(path)), str(path))
    if _without(after) != _without(before):
        raise HarnessError(f"{path}: the edit would have changed more than {', '.join(WRITTEN)}; nothing was written")
    write_text(path, text)


def _without(table: Table) -> Any:
    plain = msgspec.to_builtins(table)
    for part in plain["parts"]:
        for row in part["rows"]:
            for key in WRITTEN:
                row.pop(key, None)
    return plain


def _load(text: str, path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise HarnessError(f"{path}: the edit would not be valid YAML ({error}); nothing was written") from None


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
    """
    for key, value in keys.items():
        text = _edit_key(text, part, line, key, value)
    return text


def _edit_key(text: str, part: int, line: int, key: str, value: Any) -> str:
    row = _row_node(text, part, line)
    entry = next(((k, v) for k, v in row.value if k.value == key), None)
    if row.flow_style:
        return _edit_flow(text, row, entry, key, value)
    indent = row.start_mark.column
    if entry is not None:
        start = entry[0].start_mark.index - entry[0].start_mark.column
        end = _end_of_entry(text, row, entry[0])
        if _first_of_item(text, entry[0]):
            raise HarnessError(f"'{key}' is the first key of its row; put another key before it, then write again")
        return text[:start] + _block(key, value, indent) + text[end:]
    if value is None:
        return text
    # Behind the last key, but before `cells`, which is long.
    end = _end_of_entry(text, row, row.value[-1][0])
    for known, _ in row.value[1:]:
        if known.value == "cells":
            end = known.start_mark.index - known.start_mark.column
    return text[:end] + _block(key, value, indent) + text[end:]


def _edit_flow(text: str, row: Any, entry: Any, key: str, value: Any) -> str:
    from yaml import dump

    if entry is not None:
        start, end = entry[0].start_mark.index, entry[1].end_mark.index
        if _is_alias(*entry):
            raise HarnessError(f"'{key}' of this row is an alias (*…); write its value out, then write again")
        if value is None:
            # With the comma before it; the first key of a row is its name and stays.
            start = text.rindex(",", 0, start)
            return text[:start] + text[end:]
    else:
        if value is None:
            return text
        start = end = row.end_mark.index - 1
    flow = dump(value, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True).strip()
    flow = flow.removesuffix("...").strip()
    return text[:start] + (", " if entry is None else "") + f"{key}: {flow}" + text[end:]


def _row_node(text: str, part: int, line: int) -> Any:
    import yaml

    root: Any = yaml.compose(text, Loader=yaml.SafeLoader)
    parts = next(value for name, value in root.value if name.value == "parts")
    rows = next(value for name, value in parts.value[part].value if name.value == "rows")
    return rows.value[line]


def _end_of_entry(text: str, row: Any, key: Any) -> int:
    """Index behind the last line of a key's value: the next key's line, or the end of the row's last line."""
    after = [known for known, _ in row.value if known.start_mark.index > key.start_mark.index]
    if after:
        return _before_comments(text, after[0].start_mark.index - after[0].start_mark.column)
    value = next(v for k, v in row.value if k is key)
    if _is_alias(key, value):
        newline = text.find("\n", key.start_mark.index)
        return len(text) if newline < 0 else newline + 1
    # A block value's end mark lies behind the empty lines and comments that follow it.
    end = value.end_mark.index
    while end > 0 and text[:end].rsplit("\n", 1)[-1].strip() == "" and text[:end].rstrip() != text[:end]:
        end = len(text[:end].rstrip())
    end = _without_trailing_comments(text, end, value.start_mark.index)
    newline = text.find("\n", end)
    return len(text) if newline < 0 else newline + 1


def _without_trailing_comments(text: str, end: int, start: int) -> int:
    """Step back over whole lines of comments at the end of a value."""
    while True:
        begin = text.rfind("\n", start, end) + 1
        if begin <= start or not text[begin:end].lstrip().startswith("#"):
            return end
        end = len(text[:begin].rstrip())


def _before_comments(text: str, index: int) -> int:
    """Step back over comment lines above a key: they belong to it."""
    while True:
        begin = text.rfind("\n", 0, index - 1) + 1
        if begin < index and text[begin:index].lstrip().startswith("#"):
            index = begin
        else:
            return index


def _is_alias(key: Any, value: Any) -> bool:
    """Whether a value stands elsewhere: an alias has the marks of what it names, which comes before it."""
    found: bool = value.start_mark.index < key.start_mark.index
    return found


def _first_of_item(text: str, key: Any) -> bool:
    start = key.start_mark.index
    return text[start - key.start_mark.column : start].strip() == "-"


def _block(key: str, value: Any, indent: int) -> str:
    """Write a key in block style; small mappings and lists in one line each."""
    from yaml import dump

    if value is None:
        return ""
    pad = " " * indent

    def flow(plain: Any) -> str:
        out = dump(plain, default_flow_style=True, width=10**9, sort_keys=False, allow_unicode=True).strip()
        return out.removesuffix("...").strip()

    if key != "audit":
        return f"{pad}{key}: {flow(value)}\n"
    lines = [f"{pad}{key}:"]
    for name, item in value.items():
        if name == "cells":
            lines.append(f"{pad}  cells:")
            lines += [f"{pad}    {cell}: {flow(about)}" for cell, about in item.items()]
        else:
            lines.append(f"{pad}  {name}: {flow(item)}")
    return "\n".join(lines) + "\n"
