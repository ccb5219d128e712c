"""What a CI server gets: exit statuses, JUnit XML, a summary in Markdown, and the workflow of `harness init`."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

from harness.cli.initialising import initialise
from harness.cli.main import main
from harness.report.junit import junit_text
from harness.tables.collected import collect
from harness.tables.diff import CellResult
from harness.tables.workspace import Workspace

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/ci.md").read_text(encoding="utf-8")


def status(*words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(list(words))
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARNESS_MIRROR", raising=False)
    monkeypatch.setenv("HARNESS_OFFLINE", "1")
    initialise(Path())
    return tmp_path


def test_exit_statuses(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Every line of the table in docs/ci.md."""
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    tried: set[tuple[str, str]] = set()

    def expect(code: int, *words: str, of: str = "") -> None:
        assert status(*words) == code, (words, capsys.readouterr())
        tried.add((str(code), of or f"`{words[0]}`"))

    expect(0, "tables", of="every command")
    # Nothing is measured here.
    expect(1, "diff", "embedded")
    expect(2, "diff", "embeded", of="every command")
    expect(2, "diff", "embedded", "--bogus", of="every command")
    monkeypatch.setattr("harness.run.reproduction.make_tables", lambda *_, **__: "")
    expect(1, "repro", "embedded", "--strict")
    monkeypatch.setattr("harness.run.reproduction.make_tables", lambda *_, **__: "a stage failed: x")
    expect(2, "repro", "embedded", of="every command")

    (workspace / "methods/wrong.py").write_text(
        "from harness.methods import method\n"
        "@method('wrong', tasks=['denoise-rgb'])\n"
        "def build(task, level):\n    return lambda batch: batch * float('nan')\n"
    )
    expect(1, "check", "wrong")
    expect(0, "check", "bicubic", of="every command")
    expect(1, "pipeline", "--check", of="`pipeline --check`")  # the method has come since
    counts = workspace / "page.md"
    counts.write_text((ROOT / "README.md").read_text(encoding="utf-8").replace("| match:", "| matched:"))
    expect(1, "tables", "--write-counts", str(counts), "--check", of="`tables --check`")

    expect(0, "datasets", "fetch", "embedded", of="every command")
    expect(0, "datasets", "verify", of="every command")
    image = next(path for path in (workspace / "data/datasets/embedded").rglob("*") if path.suffix == ".png")
    image.unlink()
    image.write_bytes(b"cut off")
    expect(1, "datasets", "verify", "embedded", of="`datasets verify`")
    expect(0, "datasets", "fetch", "derained-umrl", of="every command")
    expect(2, "datasets", "fetch", "derained-umrl", "--strict", of="`datasets fetch --strict`")
    expect(2, "weights", "fetch", "aindnet", "--strict", of="`weights fetch --strict`")
    (workspace / "empty").mkdir()
    assert status("export", "check-crate", "empty") in (1, 2)

    shutil.rmtree(workspace / ".dvc")
    expect(1, "doctor")

    def interrupted(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("harness.run.reproduction.make_tables", interrupted)
    expect(130, "repro", "embedded", of="every command")
    # The page promises no status that is not tried, and of kinds of checks one of each line.
    for code, of, _ in rows:
        names = re.findall(r"`[^`]+`", of) or [of]
        if "revalidate" not in of:  # tests/test_end_to_end.py
            assert any((code, name) in tried for name in names), (code, of)
    assert {code for code, _ in tried} <= {code for code, _, _ in rows}


def test_the_reader_of_a_pipe_may_go(workspace: Path) -> None:
    command = f"set -o pipefail; {sys.executable} -m harness tables | head -n 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.count("\n") == 1 and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def recorded() -> list[CellResult]:
    """A published table, as the results in git have it."""
    workspace = Workspace(ROOT)
    return collect(workspace, ["panet-table3"], here=False)[0].results


def cases(text: str) -> Iterator[ElementTree.Element]:
    root = ElementTree.fromstring(text.encode())
    assert root.tag == "testsuites"
    for suite in root:
        found = suite.findall("testcase")
        told = {key: int(suite.get(key, "")) for key in ("tests", "failures", "errors", "skipped")}
        counted = {key: sum(case.find(tag) is not None for case in found) for key, tag in TAGS.items()}
        assert told == {"tests": len(found), "errors": 0, **counted}
        yield from found
    assert len({(case.get("classname"), case.get("name")) for case in root.iter("testcase")}) == int(
        root.get("tests", "")
    )


TAGS = {"failures": "failure", "skipped": "skipped"}


def outcome(case: ElementTree.Element) -> str:
    return next((tag for tag in TAGS.values() if case.find(tag) is not None), "passed")


@pytest.mark.parametrize(
    ("failing", "here"), [(["off"], False), (["close", "off"], False), (["off", "not run"], False), (["off"], True)]
)
def test_a_cell_is_a_test_case(recorded: list[CellResult], failing: list[str], here: bool) -> None:
    assert {"match", "close", "not run"} <= {result.verdict for result in recorded}
    found = list(cases(junit_text({"panet-table3": recorded}, failing, here=here)))
    for result, case in zip(recorded, found, strict=True):
        fails = result.verdict in failing or (here and result.recorded)
        wanted = "failure" if fails else "skipped" if result.verdict == "not run" else "passed"
        assert outcome(case) == wanted, result
        assert case.get("classname") == f"panet-table3.{result.request.row}"
        element = case.find(wanted)
        if element is not None and not (here and result.recorded):
            assert element.get("message") == result.judgement.reason
        assert result.request.printed is not None and result.request.printed.text in "".join(case.itertext())


def test_rows_of_ones_own_pass_and_strange_names_are_kept_out(recorded: list[CellResult]) -> None:
    from msgspec.structs import replace

    first = next(result for result in recorded if result.verdict == "match")
    name = 'Net <b> & "x" \x1b[31m\x00\ufffe'
    own = replace(
        first,
        request=replace(first.request, row=name, printed=None),
        judgement=replace(first.judgement, verdict="measured", reason=""),
    )
    text = junit_text({"mine": [own, own]}, ["off", "not run"], here=True)
    found = list(cases(text))
    assert [outcome(case) for case in found] == ["passed", "passed"]
    assert 'Net <b> & "x" \\x1b[31m\\x00?' in str(found[0].get("classname"))


def test_the_file_is_written_where_the_command_fails(workspace: Path) -> None:
    assert status("diff", "panet-table3", "--junit", "cells.xml", "--strict") == 1
    found = list(cases((workspace / "cells.xml").read_text()))
    assert {outcome(case) for case in found} == {"skipped"} or {outcome(case) for case in found} == {"failure"}


def test_the_summary_is_a_markdown_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert status("report", "--summary", "--format", "md", "--table", "panet-table3,embedded") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| table ") and set(lines[1]) <= set("|-: ")
    assert [line.split("|")[1].strip() for line in lines[2:4]] == ["panet-table3", "embedded"]
    assert len({line.count("|") for line in lines}) == 1


@pytest.mark.slow
def test_the_workflow_of_a_workspace_runs(tmp_path: Path) -> None:
    """Its commands in their order, as a runner gives them to bash, but for what is installed."""
    with contextlib.chdir(tmp_path):
        initialise(Path())
        main_words = ["new", "table", "mine", "--task", "jpeg", "--dataset", "embedded-gray", "--level", "10"]
        assert status(*main_words, "--published", "embedded:JPEG") == 0
        assert status("pipeline") == 0
    workflow = yaml.safe_load((tmp_path / ".github/workflows/tables.yml").read_text())
    assert workflow["concurrency"]["group"] == "tables-${{ github.ref }}"
    steps = workflow["jobs"]["tables"]["steps"]
    cached = next(step["with"] for step in steps if "actions/cache@" in step.get("uses", ""))
    assert cached["path"].split() == ["data", "work", ".dvc/cache"] and "github.sha" in cached["key"]
    commands = [step["run"] for step in steps if "run" in step]
    assert [command for command in commands if not command.startswith(("harness", "echo"))] == [
        command for command in commands if command.startswith("pip install")
    ]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HARNESS_")}
    given, summary = tmp_path / ".env", tmp_path / ".summary"
    scripts = tmp_path / ".bin"
    scripts.mkdir()
    (scripts / "harness").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m harness "$@"\n')
    (scripts / "harness").chmod(0o755)
    environment |= {
        "PATH": f"{scripts}{os.pathsep}{environment['PATH']}",
        "GITHUB_ENV": str(given),
        "GITHUB_STEP_SUMMARY": str(summary),
    }
    for command in commands:
        if command.startswith("pip install"):
            continue
        if given.is_file():
            environment |= dict(line.split("=", 1) for line in given.read_text().splitlines())
        bash = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", command]
        done = subprocess.run(bash, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
    assert environment["TABLES"].split() == ["embedded", "mine"]
    found = list(cases((tmp_path / "results/junit.xml").read_text()))
    assert {outcome(case) for case in found} <= {"passed", "skipped"} and len(found) > 20
    assert "| mine" in summary.read_text() and "| embedded" in summary.read_text()
    assert (tmp_path / "results/site/index.html").is_file()
