"""The format of table files as a JSON Schema: editors complete keys by it, explain them, and mark what is wrong."""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from harness.files import update_text
from harness.tables import published
from harness.tables.published import Table

SCHEMA_FILE = "table.schema.json"
# The language server that editors use for YAML takes the path from the file's own folder.
SCHEMA_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"


def table_schema() -> dict[str, Any]:
    """Make the JSON Schema (2020-12) of a table file.

    Names of tasks, datasets, methods and protocols are any text in it, because plugins add some; `harness check TABLE`
    knows them all.

    >>> schema = table_schema()
    >>> schema["$ref"], schema["$defs"]["Column"]["properties"]["level"]["description"]
    ('#/$defs/Table', 'Sigma, quality or scale; None where the row says it.')
    """
    schema = msgspec.json.schema(Table)
    for name, definition in schema["$defs"].items():
        about = inspect.getdoc(getattr(published, name)) or ""
        definition["description"] = _plain(re.split(rf"\n\n(?={_NAMES}: )", about)[0])
        for key, text in _attributes(about).items():
            if key in definition["properties"]:
                definition["properties"][key]["description"] = text
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A table of restoration-harness",
        **schema,
    }


_NAMES = r"((?:`[a-z_]+`(?:, )?)+)(?: \([^)]*\))?"


def _attributes(about: str) -> dict[str, str]:
    """Read what a docstring says of each attribute."""
    found: dict[str, str] = {}
    for head, text in re.findall(rf"^{_NAMES}: (.*(?:\n    .*)*)", about, re.MULTILINE):
        found |= dict.fromkeys(re.findall(r"`([a-z_]+)`", head), _plain(text))
    return found


def _plain(text: str) -> str:
    """Take a docstring's text into one line, without the marks of code."""
    return " ".join(text.replace("``", "`").split())


def schema_text() -> str:
    """Write the schema as the text of a file."""
    return json.dumps(table_schema(), indent=1, ensure_ascii=False) + "\n"


def write_schema(folder: Path) -> None:
    """Put the schema beside the tables of a folder, where the first line of their files names it."""
    update_text(folder / SCHEMA_FILE, schema_text())
