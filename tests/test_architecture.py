"""The rooms of the code: what may import what, held by import-linter, and what it does not see."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import shutil
import subprocess
import sys
import tomllib
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"


def modules() -> dict[str, Path]:
    found = {}
    for file in (ROOT / "harness").rglob("*.py"):
        parts = file.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return found


def imports(module: str, known: dict[str, Path]) -> set[str]:
    """Modules of this package that one imports, anywhere in its file."""
    found = set()
    for node in ast.walk(ast.parse(known[module].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {name if name in known else str(node.module) for name in names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & known.keys()) - {module}


def layers() -> list[str]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    assert all("ignore_imports" not in contract for contract in contracts)
    return [room for layer in contracts[0]["layers"] for room in layer.split(" : ")]


def test_no_file_imports_itself_in_a_circle() -> None:
    known = modules()
    try:
        TopologicalSorter({module: imports(module, known) for module in known}).prepare()
    except CycleError as circle:
        raise AssertionError(" -> ".join(circle.args[1])) from None


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = Path(sys.executable).with_name("lint-imports")
    return subprocess.run([command, "--no-cache"], cwd=folder, capture_output=True, text=True, check=False)


def test_an_upward_import_inside_a_function_is_seen(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "harness", tmp_path / "harness", ignore=shutil.ignore_patterns("__pycache__", "*.json"))
    shutil.copyfile(ROOT / "pyproject.toml", tmp_path / "pyproject.toml")
    assert lint(tmp_path).returncode == 0
    with (tmp_path / "harness/metrics/signal_noise.py").open("a") as file:
        file.write("\n\ndef _upwards():\n    from harness.tables.verdicts import judge\n\n    return judge\n")
    refused = lint(tmp_path)
    assert refused.returncode == 1 and "harness.metrics is not allowed to import harness.tables" in refused.stdout


def test_no_two_public_classes_share_a_name() -> None:
    places: dict[str, list[str]] = {}
    for module, file in modules().items():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places.setdefault(node.name, []).append(module)
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def rooms_table() -> str:
    lines = ["| room | holds |", "|---|---|"]
    for room in layers():
        place = ROOT / "harness" / room
        file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
        first = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").splitlines()[0]
        lines.append(f"| `{room}` | {first} |")
    return "\n".join(lines)


def test_the_page_lists_the_rooms() -> None:
    between = re.search("<!-- rooms -->\n(.*)\n<!-- end of rooms -->", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert between is not None and between[1] == rooms_table()


def test_what_benchmarks_and_fuzzers_import_is_there() -> None:
    """Nobody runs them each day: a renamed module or class would be found on the day they are needed."""
    for file in [*(ROOT / "benchmarks").glob("*.py"), *(ROOT / "fuzz").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "harness":
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    found = hasattr(module, alias.name) or importlib.util.find_spec(f"{node.module}.{alias.name}")
                    assert found, f"{file.name}, line {node.lineno}: {node.module} has no {alias.name}"
