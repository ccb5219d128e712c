"""The JSON Schema of table files takes every table that the harness takes, and no broken one."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from harness.cli.initialising import initialise
from harness.methods.fingerprints import PACKAGE
from harness.tables import published
from harness.tables.schema import SCHEMA_FILE, SCHEMA_LINE, schema_text, table_schema

FILES = sorted((PACKAGE / "tables").glob("*/*.yaml"))
BROKEN = [
    (("source: nowhere\n", ""), "'source' is a required property"),
    (("metod: jpeg", "metod: jpeg"), "'metod' was unexpected"),
    (('"27.77"', "27.77"), "27.77 is not of type 'string'"),
    (("level: 10", "level: ten"), "'ten' is not valid"),
    (("kind: benchmark", "kind: bench"), "'bench' is not one of"),
]
TABLE = """
name: doe-table1
paper: doe
title: A table
source: nowhere
kind: benchmark
parts:
  - task: jpeg
    columns: [{metric: psnr, dataset: live1, level: 10}]
    rows:
      - {name: JPEG, method: jpeg, values: ["27.77"]}
"""


def problems(plain: object) -> list[str]:
    """What a validator of JSON Schema, as editors have one, finds wrong."""
    validator = pytest.importorskip("jsonschema").Draft202012Validator
    schema = table_schema()
    validator.check_schema(schema)
    return [error.message for error in validator(schema).iter_errors(plain)]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_table_of_the_package_fits(file: Path) -> None:
    assert problems(yaml.safe_load(file.read_text())) == []


@pytest.mark.parametrize(("change", "message"), BROKEN)
def test_what_is_wrong_does_not(change: tuple[str, str], message: str) -> None:
    text = TABLE.replace("method: jpeg", "metod: jpeg") if change[0] == change[1] else TABLE.replace(*change)
    found = problems(yaml.safe_load(text))
    assert any(message in text for text in found), found
    assert problems(yaml.safe_load(TABLE)) == []


def test_every_key_is_explained_and_no_other_is_taken() -> None:
    """Each struct of the format, with the words of its docstring."""
    for name, definition in table_schema()["$defs"].items():
        fields = getattr(published, name).__struct_fields__
        assert set(definition["properties"]) == set(fields) and not definition["additionalProperties"]
        assert all(about.get("description") for about in definition["properties"].values()), name


def test_editors_find_it_beside_the_tables(tmp_path: Path) -> None:
    initialise(tmp_path)
    file = tmp_path / "tables" / SCHEMA_LINE.partition("$schema=")[2]
    assert file.name == SCHEMA_FILE and file.read_text() == schema_text()
