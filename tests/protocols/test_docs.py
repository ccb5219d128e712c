from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.degradations import DEGRADATIONS
from harness.protocols import LUMAS, METRICS

PAGE = Path(__file__).parents[2] / "docs" / "protocols.md"
VERSIONS = (
    {name: made.version for name, made in DEGRADATIONS.items() if name != "pairs"}
    | {name: part.version for name, part in METRICS.items()}
    | {name: part.version for name, part in LUMAS.items() if name}
)


@pytest.mark.parametrize("name", VERSIONS)
def test_the_page_lists_every_name_with_its_version(name: str) -> None:
    if not PAGE.is_file():
        pytest.skip("docs/ is not beside tests/")
    rows = [line.split("|") for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    versions = [cells[2].strip() for cells in rows if name in re.findall(r"`([^`]+)`", cells[1]) and len(cells) > 3]
    assert str(VERSIONS[name]) in versions
