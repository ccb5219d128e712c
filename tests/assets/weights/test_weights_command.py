"""The command `harness weights`, and the generated part of docs/weights.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.assets.kinds import KINDS
from harness.assets.weights.importers import FORMATS, TITLES
from harness.assets.weights.registry import weight_names, weight_set
from harness.cli.assets import weights
from harness.errors import CheckFailedError, HarnessError, NotAvailableError

DOCS = Path(__file__).parents[3] / "docs" / "weights.md"


def run(*arguments: str) -> str:
    result = CliRunner().invoke(weights, list(arguments))
    if result.exception is not None:
        raise result.exception
    return result.stdout


def test_fetch_show_verify(tmp_path: Path, registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    mirror = registry("toy", {"a.npz": ("npz", b"one", True), "b.npz": ("npz", b"two", False)})
    (mirror / "weights/toy/b.npz").unlink()
    monkeypatch.setenv("HARNESS_MIRROR", str(mirror))
    data = ("--data", str(tmp_path / "data"))
    assert "not fetched" in run("ls", *data)
    assert run("fetch", "toy", *data).startswith("toy: partial: b.npz could not be obtained; ask its authors")
    with pytest.raises(NotAvailableError, match="1 of 1 weight sets are not whole: toy"):
        run("fetch", "toy", "--strict", *data)
    assert "partial" in run("ls", *data)
    assert "checksum not known" in run("show", "toy", *data)
    assert json.loads(run("ls", "--format", "json", *data))[0]["state"] == "partial"
    assert run("verify", *data) == "toy: partial, 1 file\n"
    assert run("verify", "toy", *data) == "toy: partial, 1 file\n  b.npz: not here; a NumPy archive, for a test\n"
    (mirror / "weights/toy/a.npz").write_bytes(b"xxx")
    with pytest.raises(CheckFailedError, match="toy: damaged; run `harness weights fetch toy` to repair"):
        run("verify", "toy", *data)


@pytest.mark.parametrize("name", weight_names())
def test_verify_says_what_each_missing_file_is(name: str, tmp_path: Path) -> None:
    head, *lines = run("verify", name, "--data", str(tmp_path)).splitlines()
    assert head == f"{name}: not fetched; run `harness weights fetch {name}`"
    assert TITLES.keys() == FORMATS.keys()
    files = weight_set(name).files
    assert lines == [f"  {file.name}: not here; {TITLES[file.format]}, for {file.makes}" for file in files]


def test_wrong_calls(tmp_path: Path) -> None:
    with pytest.raises(HarnessError, match="no weights are named"):
        run("fetch")
    with pytest.raises(HarnessError, match="--from names the folder of one weight set"):
        run("fetch", "dncnn", "ffdnet", "--from", str(tmp_path))
    with pytest.raises(HarnessError, match="unknown weights 'dnccn'"):
        run("fetch", "dnccn", "--data", str(tmp_path))


def test_data_folder_from_the_environment(
    tmp_path: Path, registry: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARNESS_MIRROR", str(registry("toy", {"a.npz": ("npz", b"one", True)})))
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "mine"))
    run("fetch", "toy")
    assert (tmp_path / "mine/weights/toy/a.npz").exists()


def test_docs_hold_the_registry() -> None:
    text = DOCS.read_text(encoding="utf-8")
    begin, end = "<!-- begin: harness weights ls --format md -->\n", "<!-- end -->"
    assert text.split(begin)[1].split(end)[0].strip() == KINDS["weights"].markdown().strip()
    for name in weight_names():
        assert f"`{name}`" in text
