"""docs/conformance.md says of the libraries that are installed what they still do."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.protocols.vectors import FOLDER, read_vectors

PAGE = FOLDER.parent / "docs" / "conformance.md"

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="vectors/ and docs/ are not beside harness/")


@pytest.fixture(scope="module")
def libraries() -> Any:
    spec = importlib.util.spec_from_file_location("vectors_libraries", FOLDER / "libraries.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.filterwarnings("ignore")
def test_the_page_names_the_protocol_of_every_call(libraries: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    lines = {line.split(" | ")[0]: line.split(" | ") for line in page.splitlines() if line.startswith("| `")}
    pairs = read_vectors()[::5]
    tried = set()
    for call in libraries.calls():
        if f"## {libraries.named(call.library)}\n" not in page:
            continue  # of another version nothing is claimed
        row = libraries.measured(call, pairs)
        cells = lines[f"| `{call.words}`"]
        stands = cells[1].strip("`")
        miss = next(fit.miss for fit in row.nearest if fit.protocol == stands)
        unit = libraries.UNITS[row.metric]
        # A part of the pairs, and another processor's single precision: never farther than all of them were.
        assert miss <= 1.5 * float(cells[2].removesuffix(unit).strip("*")) + 1e-9, call
        tried.add(call.library)
    assert "skimage" in tried


def test_its_summary_counts_its_lines(libraries: Any) -> None:
    page = PAGE.read_text(encoding="utf-8")
    rows = [line.split(" | ") for line in page.splitlines() if line.startswith("| `")]
    assert f"Of {len(rows)} calls of {page.count(chr(10) + '## ')} libraries" in page
    far = [cells for cells in rows if cells[2].startswith("**")]
    assert f"and {len(far)} equal none" in page and len(far) == page.count("the nearest is")


def test_a_new_library_is_a_line_more(libraries: Any, tmp_path: Path) -> None:
    pairs = read_vectors()[:20]
    row = libraries.measured(libraries.Call("mine", "psnr(x, y)", lambda x, y: 30.0), pairs)
    assert row.grade == "none" and "**" in libraries.line(row)
    text = libraries.page([row])
    assert "Of 1 calls of 1 libraries, 0 equal" in text and "- mine: `psnr(x, y)`: the nearest is `psnr" in text
