"""What a newcomer meets first says what is true: versions, commands, pages of the reference."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import click
import yaml
from click.testing import CliRunner

import harness
from harness.cli import harness as command
from harness.cli.main import MOVED

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
MAKEFILE = (ROOT / "Makefile").read_text()


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def test_one_version_one_licence_one_holder() -> None:
    citation = read("CITATION.cff")
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert {harness.__version__, citation["version"]} == {PROJECT["version"]}
    assert f"## {harness.__version__}" in (ROOT / "CHANGELOG.md").read_text()
    assert citation["license"] == PROJECT["license"] == "MIT"
    holder = citation["authors"][0]["name"]
    assert PROJECT["authors"] == [{"name": holder}]
    licence = (ROOT / "LICENSE").read_text()
    assert licence.startswith("MIT License") and f"Copyright (c) 2026 {holder}\n" in licence


def targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))


def test_the_workflow_and_the_page_call_targets_that_exist() -> None:
    steps = read(".github/workflows/ci.yml")["jobs"]["check"]["steps"]
    called = [step["run"].removeprefix("make ") for step in steps if "run" in step]
    assert called == ["lint", "table", "test", "docs"]
    page = (ROOT / "CONTRIBUTING.md").read_text()
    named = {word for words in re.findall(r"make ((?:[a-z-]+ ?)+)", page) for word in words.split()}
    assert {"lint", "test", "docs", "venv"} <= named & targets()
    assert set(called) <= targets()
    upload = next(step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", ""))
    assert f"site_dir: {upload}\n" in (ROOT / "mkdocs.yml").read_text()


def test_hooks_run_what_lint_runs() -> None:
    """From the environment that `make lint` makes, and from no network."""
    (repository,) = read(".pre-commit-config.yaml")["repos"]
    assert repository["repo"] == "local"
    for hook in repository["hooks"]:
        assert hook["language"] == "system"
        command = hook["entry"].removeprefix(".venv/bin/").split()
        assert f"@{' '.join(word for word in command if word != '--fix')}" in MAKEFILE


def test_every_page_and_every_public_name_is_in_the_reference() -> None:
    listed = (ROOT / "mkdocs.yml").read_text()
    for page in (ROOT / "docs").glob("*.md"):
        assert re.search(rf" {page.name}$", listed, re.MULTILINE), page.name
    names = re.findall(r"^::: harness\.(\S+)$", (ROOT / "docs/index.md").read_text(), re.MULTILINE)
    for name in harness.__all__:
        defined = getattr(harness, name)
        assert f"{defined.__module__}.{name}".removeprefix("harness.") in names


def test_links_of_the_pages_lead_somewhere() -> None:
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "README.md"):
        for link in re.findall(r"\]\(([^)#]+)", (ROOT / name).read_text(encoding="utf-8")):
            assert link.startswith("https://") or (ROOT / link).exists(), f"{name}: {link}"


def test_a_user_sees_few_commands_and_options() -> None:
    """At most 20 names and, of `train`, 18 options; every listed command exists and has help of its own."""
    context = click.Context(command)
    shown = CliRunner().invoke(command, ["--help"]).output.partition("Options:")[2].split("\n")
    names = [line.split()[0] for line in shown if re.match(r"  [a-z]+  ", line)]
    assert 10 < len(names) <= 20 and {"repro", "new", "check"} <= set(names) and "stage" not in names
    for old, now in MOVED.items():
        told = CliRunner().invoke(command, [old])
        assert f"is now 'harness {now}'" in str(told.exception)
        told = CliRunner().invoke(command, [*now.split(), "-h"])
        assert told.exit_code == 0, told.output
    train = command.get_command(context, "train")
    assert train is not None
    assert len([option for option in train.params if isinstance(option, click.Option)]) <= 18

    def every(group: click.Group, path: tuple[str, ...]) -> None:
        for name in group.list_commands(context):
            found = group.get_command(context, name)
            assert found is not None and found.help, (*path, name)
            if isinstance(found, click.Group):
                every(found, (*path, name))

    every(command, ())
