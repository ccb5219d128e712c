"""What is wrong with a file is told by its bytes, whatever its folder is called."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from harness.assets.datasets.folders import match_files
from harness.assets.datasets.registry import File
from harness.assets.verified import Hashes


@pytest.mark.parametrize(("damaged", "problem"), [(False, "is of a wrong mode"), (True, "is damaged")])
def test_a_file_of_a_wrong_mode_is_not_damaged(tmp_path: Path, damaged: bool, problem: str) -> None:
    folder = tmp_path / "not a readable image"
    folder.mkdir()
    Image.new("RGBA", (8, 8)).save(folder / "a.png")
    if damaged:
        (folder / "a.png").write_bytes(b"nothing")
    wanted = File(name="a.png", bytes=1, sha256="0" * 64, shape=(8, 8, 3), pixels_sha256="0" * 64)
    assert match_files([wanted], folder, "set", Hashes({})).differing == {"a.png": problem}
