"""Which source files a module's results depend on, read from its import statements.

DVC re-runs a stage when a file it names has changed. Naming the whole package would re-run every network when the
report's template changes; naming files by hand would miss one some day. So the files are found by following imports,
also those inside functions, from the stage's own module. Results therefore import from the module that holds a name,
not from a package that loads its names on demand; a package's own file only passes names on (a test holds that), so
importing one of its modules does not make the others a dependency.
"""

from __future__ import annotations

import ast
import functools
import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import harness

PACKAGE = Path(harness.__file__).parent

# Imported by results but without influence on them: they find methods, report mistakes, run the command line.
WITHOUT_INFLUENCE = frozenset({"harness", "harness.errors", "harness.methods", "harness.cli", "harness.tasks"})


@functools.cache
def _module_file(name: str) -> Path | None:
    """File of a module of this package, or None if there is no such module (the name is a function or class)."""
    base = PACKAGE.parent.joinpath(*name.split("."))
    for file in (base / "__init__.py", base.with_suffix(".py")):
        if file.is_file():
            return file
    return None


@functools.cache
def _imports(file: Path) -> frozenset[str]:
    """Names of the modules of this package that a file imports anywhere."""
    found: set[str] = set()
    for node in _running(ast.parse(file.read_text(encoding="utf-8"), str(file))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            # `from harness.networks import panet` imports a module, `from ... import psnr` a function.
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(name for name in found if name.split(".")[0] == "harness" and _module_file(name) is not None)


def _running(node: ast.AST) -> Iterator[ast.AST]:
    """Walk a module's syntax without the blocks that only a type checker runs."""
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and isinstance(child.test, ast.Name) and child.test.id == "TYPE_CHECKING":
            continue
        yield from _running(child)


def code_files(*roots: str | Path) -> list[Path]:
    """List the source files of this package that modules depend on, themselves included.

    Parameters
    ----------
    *roots : str or path
        Module names such as ``harness.stages.measure``, or files of plugins.

    Returns
    -------
    list of path
        Absolute, sorted, without those that have no influence on results (`WITHOUT_INFLUENCE`).
    """
    todo: list[Path] = []
    for root in roots:
        file = root if isinstance(root, Path) else _module_file(root)
        if file is None:
            raise ModuleNotFoundError(f"no module '{root}' in this package")
        todo.append(file)
    seen: set[Path] = set()
    while todo:
        file = todo.pop()
        if file in seen:
            continue
        seen.add(file)
        for name in _imports(file):
            if name not in WITHOUT_INFLUENCE:
                todo.append(_module_file(name))  # type: ignore[arg-type]
    return sorted(seen)


def fingerprint(files: Iterable[Path]) -> str:
    """Hash the contents of files (not their places or times)."""
    digest = hashlib.sha256()
    for content in sorted(hashlib.sha256(Path(file).read_bytes()).digest() for file in files):
        digest.update(content)
    return digest.hexdigest()
