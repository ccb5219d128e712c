"""Dependencies on code: fine enough that a report never re-runs a network, complete enough to be trusted."""

from __future__ import annotations

import ast
import shutil
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest

from harness.methods import Method, fingerprints, methods
from harness.methods.fingerprints import (
    PACKAGE,
    _distributions,
    code_files,
    code_hashes,
    fingerprint,
    method_packages,
    plain_source,
    stage_code,
)


def names(*roots: str | Path) -> set[str]:
    return {file.relative_to(PACKAGE).as_posix() for file in code_files(*roots)}


def test_measuring_depends_on_metrics_only() -> None:
    found = names("harness.run.measure")
    assert "run/measure.py" in found
    assert "images.py" in found
    assert any(name.startswith("metrics/") for name in found)
    assert any(name.startswith("protocols/") for name in found)
    for folder in ("report/", "tables/", "networks/", "methods/", "inference/", "assets/weights/"):
        assert not [name for name in found if name.startswith(folder)], folder
    assert [name for name in found if name.startswith("run/")] == ["run/measure.py"]
    assert not [name for name in found if name.startswith("cli/")]


def test_restoring_depends_on_its_own_method_only() -> None:
    found = names("harness.run.restore", PACKAGE / "methods" / "identity.py")
    assert "methods/identity.py" in found
    assert not [name for name in found if name.startswith(("report/", "tables/", "protocols/"))]
    # Luma and rounding are part of some inputs; PSNR and SSIM are not.
    assert {"metrics/structural.py", "metrics/signal_noise.py"}.isdisjoint(found)
    assert [name for name in found if name.startswith("methods/")] == ["methods/identity.py"]


def test_imports_inside_functions_count(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text("def build(task, level):\n    from harness.images import read_image\n    return read_image\n")
    assert {PACKAGE / "images.py", plugin} <= set(code_files(plugin))


@pytest.mark.parametrize(
    "text",
    [
        "from harness import imresize\n",
        "import harness\nharness.imresize\n",
        "import harness as h\ndef build(task, level):\n    return h.imresize\n",
        "import harness.images\nharness.imresize\n",
    ],
)
def test_public_names_count(text: str, tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(text)
    assert PACKAGE / "degradations" / "resize.py" in code_files(plugin)
    assert PACKAGE / "metrics" / "structural.py" not in code_files(plugin)


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text(text)


def test_a_plugins_helpers_count(tmp_path: Path) -> None:
    """Those beside it, and those of its own package; files of one name in two folders are told apart."""
    files = {
        "pkg/__init__.py": "",
        "pkg/method.py": "from .nets import a\nfrom pkg.other import b\nimport numpy\n",
        "pkg/nets/__init__.py": "",
        "pkg/nets/a.py": "from .. import b\n",
        "pkg/b.py": "x = 1\n",
        "pkg/other/b.py": "x = 2\n",
        "mine.py": "import _helper, yaml\n",
        "_helper.py": "x = 1\n",
    }
    _write(tmp_path, files)
    found = code_files(tmp_path / "pkg/method.py")
    wanted = {"pkg/__init__.py", "pkg/method.py", "pkg/nets/__init__.py", "pkg/nets/a.py", "pkg/b.py", "pkg/other/b.py"}
    assert {file.relative_to(tmp_path).as_posix() for file in found} == wanted
    hashes = code_hashes([tmp_path / "pkg/b.py", tmp_path / "pkg/other/b.py", tmp_path / "_helper.py"])
    assert [text.split()[0] for text in hashes] == ["_helper.py", "b.py", "pkg/b.py"]
    # Without a package's file the folder is not part of the name, and both count.
    (tmp_path / "b.py").write_text("x = 3\n")
    assert len(set(code_hashes([tmp_path / "b.py", tmp_path / "pkg/other/b.py"]))) == 2
    assert set(code_files(tmp_path / "mine.py")) == {tmp_path / "mine.py", tmp_path / "_helper.py"}
    module = ModuleType("mine")
    module.__file__ = str(tmp_path / "mine.py")
    sys.modules["mine"] = module
    try:
        packages = method_packages(Method("mine", ("jpeg",), lambda task, level: None, module="mine"))  # type: ignore
    finally:
        del sys.modules["mine"]
    assert "PyYAML" in packages and "numpy" not in packages


def test_a_package_that_is_run_from_its_sources_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after `pip install -e`: of what is installed the version counts, of sources every file, in any package."""
    files = {
        "sources/ournet/method.py": "from ournet.network import A\nfrom . import near\n",
        "sources/ournet/network.py": "import lib.deep.layer\nimport installed.inner\nx = 1\n",
        "sources/ournet/near.py": "def later():\n    import ournet.broken\n",
        "sources/ournet/broken.py": "x = (\n",
        "more/lib/__init__.py": "",
        "more/lib/deep/__init__.py": "from .. import beside\n",
        "more/lib/deep/layer.py": "",
        "more/lib/beside.py": "",
        "site/installed/inner.py": "",
        "site/installed-1.0.dist-info/METADATA": "",
        "site/announced/method.py": "import announced.network\nimport installed.inner\n",
        "site/announced/network.py": "",
    }
    _write(tmp_path, files)
    for folder in ("sources", "more", "site"):
        monkeypatch.syspath_prepend(tmp_path / folder)
    fingerprints.read_again()

    def found(file: str) -> set[str]:
        return {path.relative_to(tmp_path).as_posix() for path in code_files(tmp_path / file)}

    of_lib = {f"more/lib/{name}.py" for name in ("__init__", "deep/__init__", "deep/layer", "beside")}
    own = {f"sources/ournet/{name}.py" for name in ("method", "network", "near", "broken")}
    assert found("sources/ournet/method.py") == own | of_lib
    # A plugin's own package counts wherever it lies; another that is installed beside it does not.
    assert found("site/announced/method.py") == {"site/announced/method.py", "site/announced/network.py"}
    # No file is so broken that no fingerprint can be made.
    assert len(code_hashes(code_files(tmp_path / "sources/ournet/method.py"))) == 8


@pytest.mark.parametrize("modules", [set(), {"yaml", "no_such_module"}, {"numpy", "PIL", "torch", "click", "py"}])
def test_modules_come_from_the_packages_that_python_names(modules: set[str]) -> None:
    known = packages_distributions()
    assert _distributions(modules) == sorted({package for name in modules for package in known.get(name, ())})


def test_unknown_module() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"harness\.nothing"):
        code_files("harness.nothing")


def test_fingerprint_follows_contents_not_places(tmp_path: Path) -> None:
    first, second = tmp_path / "one/a.py", tmp_path / "two/a.py"
    for path in (first, second):
        path.parent.mkdir()
        path.write_text("x = 1\n")
    assert code_hashes([first]) == code_hashes([second])
    other = tmp_path / "three/a.py"
    other.parent.mkdir()
    other.write_text("x = 2\n")
    assert fingerprint([first]) == fingerprint([second]) != fingerprint([other])


SOURCE = '''"""Docstring."""

import os  # a comment


class A:
    """Docstring
    of two lines."""

    text = "# no comment"

    def f(self):
        """Docstring."""
        # a comment
        return """not a
docstring"""
'''

PLAIN = '''import os
class A:
    text = "# no comment"
    def f(self):
        return """not a
docstring"""
'''


def test_comments_and_docstrings_are_no_code() -> None:
    assert plain_source(SOURCE) == PLAIN
    assert plain_source(SOURCE.replace("Docstring", "Mended")) == PLAIN
    assert plain_source(SOURCE.replace("# no comment", "# other")) != PLAIN
    assert plain_source(SOURCE.replace("not a", "is a")) != PLAIN
    assert plain_source(SOURCE.replace("not a\n", "not a\n\n")) != PLAIN
    assert plain_source('def f(): "text"; return 1\n') == 'def f(): "text"; return 1\n'


SHARPS = [
    ('x = "é#" # é', 'x = "é#"'),
    ("x = f'#{1}#'  # no # more", "x = f'#{1}#'"),
    ('x = {"#": b"#"}["#"]#', 'x = {"#": b"#"}["#"]'),
    ('x = ("#"  # one\n  "#"  # two\n)  # three', 'x = ("#"\n  "#"\n)'),
    ('x = """#\n#""" + "#"  # end', 'x = """#\n#""" + "#"'),
    ('"""Title # no.\n\nMore # no.\n"""  # end\nx = 1', "x = 1"),
]


@pytest.mark.parametrize(("source", "plain"), SHARPS)
def test_a_sharp_sign_in_a_text_is_no_comment(source: str, plain: str) -> None:
    assert plain_source(f"{source}\n") == f"{plain}\n"


def test_every_kind_of_stage_is_followed() -> None:
    found = stage_code(methods())
    assert {"inputs", "measure", "render", "method-jpeg", "method-panet", "cost-panet"} <= set(found)
    names_of = {
        kind: {file.relative_to(PACKAGE).as_posix() for file in files if file.is_relative_to(PACKAGE)}
        for kind, files in found.items()
    }
    assert "report/templates/table.md.j2" in names_of["render"]
    assert "networks/panet.py" in names_of["method-panet"]
    assert "networks/panet.py" not in names_of["method-dncnn"]
    assert "networks/dncnn.py" in names_of["method-dncnn"]


def test_a_moved_module_outdates_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its importers name another path and, sorted anew, stand in another order; what they do is the same."""
    package = tmp_path / "harness"

    def write(files: dict[str, str]) -> list[str]:
        shutil.rmtree(package, ignore_errors=True)
        for name, text in files.items():
            (package / name).parent.mkdir(parents=True, exist_ok=True)
            (package / name).write_text(text)
        for cached in (fingerprints._module_file, fingerprints._syntax, fingerprints._body, fingerprints._code_hash):
            cached.cache_clear()
        return code_hashes(package.rglob("*.py"))

    monkeypatch.setattr(fingerprints, "PACKAGE", package)
    body = "\n\ndef f():\n    {}\n    return g() + h()\n"
    g, h = "def g():\n    return 1\n", "def h():\n    return 2\n"
    before = write({"a.py": "from harness.b import g\n" + body.format("from harness.c import h"), "b.py": g, "c.py": h})
    moved = {"a.py": "from harness.z.b import g\n" + body.format("from harness.c import h"), "z/b.py": g, "c.py": h}
    assert write(moved) == before
    swapped = {"a.py": "from harness.b import g\n" + body.format("from harness.c import h"), "b.py": h, "c.py": g}
    assert write(swapped) != before
    renamed = {
        "a.py": "from harness.b import g as h\n" + body.format("from harness.c import h as g"),
        "b.py": g,
        "c.py": h,
    }
    assert write(renamed) != before
    for cached in (fingerprints._module_file, fingerprints._syntax, fingerprints._body, fingerprints._code_hash):
        cached.cache_clear()


def test_package_files_only_pass_names_on() -> None:
    """Importing a module of a package does not count the package's own file, so that file must decide nothing."""
    for file in PACKAGE.glob("*/__init__.py"):
        if file.parent.name == "methods":  # the registry itself; it finds methods and decides nothing else
            continue
        for node in ast.parse(file.read_text()).body:
            passes_on = isinstance(node, ast.Import | ast.ImportFrom | ast.Expr | ast.Assign | ast.AnnAssign | ast.If)
            lazy = isinstance(node, ast.FunctionDef) and node.name in ("__getattr__", "__dir__")
            assert passes_on or lazy, f"{file}, line {node.lineno}"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("import harness; SCALE = 2\n", "import harness; SCALE = 3\n"),
        ("if True: from harness import psnr\n", "if False: from harness import psnr\n"),
        ("A = 1\n\x0c\nimport harness\nB = 1\n", "A = 1\n\x0c\nimport harness\nB = 2\n"),
    ],
)
def test_code_beside_an_import_counts(tmp_path: Path, one: str, other: str) -> None:
    hashes = set()
    for number, text in enumerate((one, other)):
        file = tmp_path / f"{number}.py"
        file.write_text(text)
        hashes.add(fingerprints._body(file)[0])
    assert len(hashes) == 2


def test_what_runs_where_no_type_checker_does_is_followed(tmp_path: Path) -> None:
    (tmp_path / "helper.py").write_text("A = 1\n")
    file = tmp_path / "mine.py"
    file.write_text("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import other\nelse:\n    import helper\n")
    assert fingerprints._imports(file) >= {"helper"} and "other" not in fingerprints._imports(file)
