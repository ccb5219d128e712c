"""The notebooks of docs/ run from top to bottom, and show what they show."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from notebooks import alike, outputs

FOLDER = Path(__file__).parent.parent / "docs" / "notebooks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.ipynb")), ids=lambda path: path.stem)
def test_a_notebook_shows_what_runs(path: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    shown = [cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert any(shown), "no output is kept: python tests/notebooks.py writes them"
    for number, (kept, found) in enumerate(zip(shown, outputs(notebook), strict=True), 1):
        assert alike(kept, found), f"cell {number}; python tests/notebooks.py {path} writes it anew"
