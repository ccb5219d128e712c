"""Dependencies on code: fine enough that a report never re-runs a network, complete enough to be trusted."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from harness.pipeline.code import PACKAGE, code_files, fingerprint


def names(*roots: str | Path) -> set[str]:
    return {file.relative_to(PACKAGE).as_posix() for file in code_files(*roots)}


def test_measuring_depends_on_metrics_only() -> None:
    found = names("harness.stages.measure")
    assert "stages/measure.py" in found
    assert "images.py" in found
    assert any(name.startswith("metrics/") for name in found)
    assert any(name.startswith("protocols/") for name in found)
    for folder in ("report/", "tables/", "networks/", "methods/", "pipeline/", "inference/", "weights/"):
        assert not [name for name in found if name.startswith(folder)], folder
    assert "stages/restore.py" not in found
    assert "cli.py" not in found


def test_restoring_depends_on_its_own_method_only() -> None:
    found = names("harness.stages.restore", PACKAGE / "methods" / "identity.py")
    assert "methods/identity.py" in found
    assert not [name for name in found if name.startswith(("report/", "tables/", "protocols/"))]
    # Luma and rounding are part of some inputs; PSNR and SSIM are not.
    assert {"metrics/structural.py", "metrics/signal_noise.py"}.isdisjoint(found)
    assert [name for name in found if name.startswith("methods/")] == ["methods/identity.py"]


def test_imports_inside_functions_count(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("def build(task, level):\n    from harness.images import read_image\n    return read_image\n")
    assert {PACKAGE / "images.py", plugin} <= set(code_files(plugin))


def test_unknown_module() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"harness\.nothing"):
        code_files("harness.nothing")


def test_fingerprint_follows_contents_not_places(tmp_path: Path) -> None:
    first, second = tmp_path / "a.py", tmp_path / "b.py"
    first.write_text("x = 1\n")
    second.write_text("x = 1\n")
    assert fingerprint([first]) == fingerprint([second])
    second.write_text("x = 2\n")
    assert fingerprint([first]) != fingerprint([second])


def test_package_files_only_pass_names_on() -> None:
    """Importing a module of a package does not count the package's own file, so that file must decide nothing."""
    for file in PACKAGE.glob("*/__init__.py"):
        if file.parent.name == "methods":  # the registry itself; it finds methods and decides nothing else
            continue
        for node in ast.parse(file.read_text()).body:
            passes_on = isinstance(node, ast.Import | ast.ImportFrom | ast.Expr | ast.Assign | ast.AnnAssign | ast.If)
            lazy = isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__")
            assert passes_on or lazy, f"{file}, line {node.lineno}"
