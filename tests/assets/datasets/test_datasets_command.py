"""The command `harness datasets`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.assets.places import AssetPaths
from harness.cli.assets import datasets
from harness.errors import CheckFailedError, HarnessError, NotAvailableError

DOCS = Path(__file__).parents[3] / "docs" / "datasets.md"


@pytest.fixture
def run(registry, data):
    def call(*arguments, error=None):
        arguments = list(arguments)
        if arguments[0] != "ls" or "md" not in arguments:
            arguments += ["--data", str(data)]
        result = CliRunner().invoke(datasets, arguments)
        if error is None:
            assert result.exception is None, result.output
        else:
            assert isinstance(result.exception, error), result
        return result

    return call


def test_fetch_complete(run, registry, data):
    registry.fill("tiny", data / "own" / "tiny")
    assert run("fetch", "tiny").stdout == "tiny: complete, 3 images\n"
    assert run("fetch", "tiny").stdout == "tiny: complete, 3 images\n"


def test_fetch_missing_is_no_error_unless_strict(run, data):
    result = run("fetch", "tiny")
    assert result.stdout.startswith(
        "tiny: missing: none of its 3 files could be obtained (HARNESS_MIRROR is not set); "
    )
    plain = json.loads(AssetPaths(data, "datasets", "tiny").manifest.read_text())
    assert plain["status"] == "missing" and plain["reason"] in result.stdout
    result = run("fetch", "tiny", "embedded", "--strict", error=NotAvailableError)
    assert "embedded: complete, 3 images" in result.stdout
    assert str(result.exception) == "1 of 2 datasets cannot be obtained here: tiny"
    assert result.exception.exit_code == 2


def test_fetch_from(run, registry, tmp_path):
    own = registry.fill("tiny", tmp_path / "own")
    assert run("fetch", "tiny", "--from", str(own)).stdout == "tiny: complete, 3 images\n"
    run("fetch", "tiny", "embedded", "--from", str(own), error=HarnessError)
    run("fetch", "tiny", "--from", str(tmp_path / "none"), error=HarnessError)


def test_fetch_needs_a_name(run):
    assert "no dataset is named" in str(run("fetch", error=HarnessError).exception)
    assert "did you mean 'tiny'" in str(run("fetch", "tinny", error=HarnessError).exception)


def test_verify(run, registry, data):
    assert run("verify").stdout == f"no dataset is fetched into {data}\n"
    registry.fill("tiny", data / "own" / "tiny")
    run("fetch", "tiny", "embedded")
    assert run("verify").stdout == "embedded: complete, 3 files\ntiny: complete, 3 files\n"
    path = data / "own" / "tiny" / "2.png"
    content = path.read_bytes()
    path.write_bytes(content[:10])
    (data / "own" / "tiny" / "10.png").write_bytes(bytes(len((data / "own" / "tiny" / "10.png").read_bytes())))
    (data / "datasets" / "tiny" / "1.png").unlink()
    result = run("verify", "tiny", error=CheckFailedError)
    assert result.exception.exit_code == 1
    assert str(result.exception) == "tiny: damaged; run `harness datasets fetch tiny` to repair"
    lines = result.stdout.splitlines()
    assert lines[0] == "tiny: damaged" and len(lines) == 4
    assert lines[1].endswith("1.png: is gone")
    assert lines[2].endswith("10.png: has a wrong checksum")
    assert lines[3].endswith(f"2.png: has 10 bytes instead of {len(content)}")
    registry.fill("tiny", data / "own" / "tiny")
    run("fetch", "tiny")
    assert run("verify", "tiny").stdout == "tiny: complete, 3 files\n"


def test_verify_of_a_missing_set(run):
    assert run("verify", "tiny").stdout == "tiny: missing: not fetched; run `harness datasets fetch tiny`\n"
    run("fetch", "tiny")
    assert run("verify", "tiny").stdout.startswith("tiny: missing: none of its 3 files")


def test_ls(run, registry, data, tmp_path, monkeypatch):
    registry.fill("tiny", tmp_path / "mirror" / "datasets" / "tiny")

    def where():
        return {row["name"]: row["where"] for row in json.loads(run("ls", "--format", "json").stdout)}

    assert where()["tiny"] == "public sources"
    assert where()["embedded"] == "comes with scikit-image"
    assert where()["realblur-j"] == "you supply it"
    assert where()["hide"] == "you supply it, or --archives"
    assert where()["kodak24-crop500"] == "made from kodak24"
    monkeypatch.setenv("HARNESS_MIRROR", str(tmp_path / "mirror"))
    assert where()["tiny"] == "mirror"
    run("fetch", "tiny")
    assert where()["tiny"] == "present"
    lines = run("ls").stdout.splitlines()
    assert lines[0].split() == ["name", "title", "images", "size", "licence", "where"]
    assert next(line for line in lines if line.startswith("tiny")).endswith("present")
    assert next(line for line in lines if line.startswith("gopro-test")).split()[2:4] == ["1111", "pairs"]


def test_show(run):
    text = run("show", "gopro-test").stdout
    assert text.startswith("gopro-test (GoPro): 1,111 pairs\n")
    assert "test/{sequence}/blur/{frame}.* (degraded)" in text and "CC BY 4.0" not in text.splitlines()[0]
    run("fetch", "tiny")
    assert "fetched: missing, none of its 3 files" in run("show", "tiny").stdout


def test_documentation_is_what_the_command_writes(run, monkeypatch):
    monkeypatch.delenv("HARNESS_DATASETS")
    generated = run("ls", "--format", "md").stdout
    assert generated in DOCS.read_text(encoding="utf-8"), (
        "docs/datasets.md is out of date: put the output of `harness datasets ls --format md` into it"
    )


def test_own_record_of_the_documentation(run, registry, data):
    text = DOCS.read_text(encoding="utf-8")
    record = json.loads(text.split("```json\n")[1].split("```")[0])
    registry.write(record)
    assert run("fetch", record["name"]).stdout.startswith(f"{record['name']}: missing: it has no public source")


def test_a_set_in_place_loads_no_heavy_library(run, registry, data):
    """It runs before every table, so it must not pay for libraries that only reading images or downloading needs."""
    registry.fill("tiny", data / "own" / "tiny")
    run("fetch", "tiny")
    code = (
        "import sys\n"
        "from harness.cli.assets import datasets\n"
        f"datasets(['fetch', 'tiny', '--data', {str(data)!r}], standalone_mode=False)\n"
        "print(sorted({'torch', 'pandas', 'scipy', 'skimage', 'h5py', 'requests', 'dvc', 'PIL'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=DOCS.parents[1], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout
