"""docs/reliability.md lists faults that tests inject: its rows are held to the tests, and the guards to its rows."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict

from mutations import GUARDS, ROOT

SECTION = (ROOT / "docs/reliability.md").read_text(encoding="utf-8").split("\n## Faults, ")[1].split("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in SECTION.splitlines()
    if line.startswith("|") and not line.startswith(("| fault |", "|---"))
]


def defined() -> dict[str, set[str]]:
    """Files that define a test, by the test's name; a test that is always skipped is none."""
    found: dict[str, set[str]] = defaultdict(set)
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                marks = [ast.unparse(decorator) for decorator in node.decorator_list]
                if not any(mark.partition("(")[0] in ("pytest.mark.skip", "pytest.mark.xfail") for mark in marks):
                    found[node.name].add(file.relative_to(ROOT / "tests").as_posix())
    return found


def test_every_row_has_a_cause_a_place_and_a_test_of_its_own() -> None:
    assert [row for row in ROWS if len(row) != 4 or not all(row)] == []
    (told,) = re.findall(r"^(\d+) faults\.", SECTION, re.MULTILINE)
    assert int(told) == len(ROWS) >= 80
    tests = defined()
    for fault, made, _, test in ROWS:
        file, _, name = test.strip("`").rpartition("::")
        files = {file} & tests[name] if file else tests[name]
        assert len(files) == 1, f"{fault}: {test} is in {sorted(files) or 'no file'}"
        assert made.lower() not in ("likewise", "same", "the same"), f"{fault}: where is it made?"
    for place, column in enumerate(("fault", "test")):
        twice = [text for text, count in Counter(row[3 * place] for row in ROWS).items() if count > 1]
        assert not twice, f"one {column} in two rows: {twice}"


def test_every_guard_is_of_a_fault_on_the_page() -> None:
    listed = {row[3].strip("`").rpartition("::")[2] for row in ROWS}
    unlisted = sorted({guard.test for guard in GUARDS if guard.test.rpartition("::")[2] not in listed})
    assert not unlisted
