"""Which code a stage's results depend on, and its fingerprint.

DVC re-runs a stage when a file it names has changed. Naming the whole package would re-run every network when the
report's template changes; naming files by hand would miss one some day. So the files are found by following imports,
also those inside functions, from the stage's own module, and one stage (`harness stage code`) writes a fingerprint of
them for each of the others to depend on. Comments, docstrings and empty lines are no part of it: mending a sentence
re-runs nothing.

Results import from the module that holds a name, not from a package that loads its names on demand; a package's own
file only passes names on (a test holds that), so importing one of its modules does not make the others a dependency.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.util
import io
import re
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import harness
from harness.files import file_sha256
from harness.methods import Method
from harness.methods.source_loading import installed
from harness.protocols.own import OWN_METRICS, Metric

PACKAGE = Path(harness.__file__).parent

# Imported by results but without influence on them: they find methods, report mistakes, run the command line, describe
# how a run went, count cores, refuse methods that change their process.
WITHOUT_INFLUENCE = frozenset(
    {
        "harness",
        "harness.errors",
        "harness.methods",
        "harness.methods.definitions",
        "harness.methods.plugins",
        "harness.methods.source_loading",
        "harness.cli",
        "harness.cli.main",
        "harness.records.tasks",
        "harness.registries",
        "harness.assets.datasets.defining",
        "harness.process_state",
        "harness.records.runs",
    }
)


# The module that each kind of stage runs; a method's runs `harness.run.restore`, its cost `harness.run.cost`.
ROOTS = {"inputs": "harness.assets.inputs", "measure": "harness.run.measure", "render": "harness.report.render"}


@functools.cache
def _module_file(name: str) -> Path | None:
    """File of a module of this package, or None if there is no such module (the name is a function or class)."""
    base = PACKAGE.parent.joinpath(*name.split("."))
    for file in (base / "__init__.py", base.with_suffix(".py")):
        if file.is_file():
            return file
    return None


class _Syntax:
    """What counts of a module's syntax, read in one walk.

    Attributes
    ----------
    running, checked : list of import statements
        Those that run, and those that only a type checker reads.
    attributes : set of (str, str)
        Names and what is taken of them, such as ``("harness", "psnr")`` for ``harness.psnr``.
    texts : list of expressions
        Texts; not those inside formatted texts, which Python 3.11 misplaces.
    verbatim : set of int
        Lines of constants of several lines: an empty one inside is part of what the code does.
    docstrings : list of expressions
        As they come.
    """

    def __init__(self, source: str, name: str = "<unknown>") -> None:
        self.running: list[ast.Import | ast.ImportFrom] = []
        self.checked: list[ast.Import | ast.ImportFrom] = []
        self.attributes: set[tuple[str, str]] = set()
        self.texts: list[ast.Constant | ast.JoinedStr] = []
        self.verbatim: set[int] = set()
        self.docstrings: list[ast.Constant] = []
        todo: list[tuple[ast.AST, bool, bool]] = [(ast.parse(source, name), True, False)]
        while todo:
            node, runs, inside = todo.pop()
            if isinstance(node, ast.Import | ast.ImportFrom):
                (self.running if runs else self.checked).append(node)
                continue
            if isinstance(node, ast.Constant | ast.JoinedStr):
                if node.end_lineno != node.lineno:
                    self.verbatim |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
                if not inside and isinstance(getattr(node, "value", ""), str | bytes):
                    self.texts.append(node)
                inside = True
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                if runs:
                    self.attributes.add((node.value.id, node.attr))
                continue
            elif isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
                todo += [(item, runs, inside) for item in node.orelse] + [(item, False, inside) for item in node.body]
                continue
            elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
                first = node.body[0]
                if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                    self.docstrings += [first.value] if isinstance(first.value.value, str) else []
            for field in node._fields:
                value = getattr(node, field, None)
                if isinstance(value, list):
                    todo += [(item, runs, inside) for item in value if isinstance(item, ast.AST)]
                elif isinstance(value, ast.AST) and not isinstance(value, ast.Name | ast.expr_context | ast.operator):
                    todo.append((value, runs, inside))


@functools.cache
def _imports(file: Path) -> frozenset[str]:
    """Names that a file imports anywhere; those relative to its package with a dot in front."""
    found: set[str] = set()
    try:
        syntax = _syntax(file)
    except (SyntaxError, ValueError):
        # A plugin's helper that nothing may ever import; its bytes count (`_code_hash`).
        return frozenset()
    imported = [alias for node in syntax.running if isinstance(node, ast.Import) for alias in node.names]
    whole = {a.asname for a in imported if a.name == "harness"} | {"harness" for a in imported if not a.asname}
    for node in syntax.running:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            module = "." * node.level + (node.module or "")
            # `from harness.networks import panet` imports a module, `from ... import psnr` a function.
            found |= {module} | {f"{module}{'.' * bool(node.module)}{alias.name}" for alias in node.names}
    # `harness.psnr` after `import harness`: the attribute is what imports.
    return frozenset(found | {f"harness.{name}" for of, name in syntax.attributes if of in whole})


@functools.cache
def _syntax(file: Path) -> _Syntax:
    return _Syntax(file.read_text(encoding="utf-8"), str(file))


@functools.cache
def _public_names() -> dict[str, str]:
    """Module that defines each public name, such as ``harness.psnr``."""
    body = ast.parse((PACKAGE / "__init__.pyi").read_text(encoding="utf-8")).body
    found = [(node.module, alias.name) for node in body if isinstance(node, ast.ImportFrom) for alias in node.names]
    return {f"harness.{name}": f"harness.{module}" for module, name in found}


@functools.cache
def _imported_files(file: Path) -> frozenset[Path]:
    """Files of this package that a file imports; of a plugin also what can be edited besides (`_plugin_files`)."""
    names = _imports(file)
    own = {_public_names().get(name, name) for name in names if name.split(".")[0] == "harness"}
    found = {_module_file(name) for name in own - WITHOUT_INFLUENCE}
    if not file.is_relative_to(PACKAGE):
        found |= {imported for name in names for imported in _plugin_files(file, name)}
        # What a package's own file does, it does before any of its modules is imported.
        inside = [folder for folder in file.parents if folder.is_relative_to(_import_folder(file))]
        found |= {folder / "__init__.py" for folder in inside if (folder / "__init__.py").is_file()}
    return frozenset(imported for imported in found if imported is not None)


def _plugin_files(file: Path, name: str) -> Iterator[Path]:
    """List the files behind an import of a plugin's: a module and the packages that it lies in.

    They lie beside the plugin, in its package, or in a package that is run from its sources (``pip install -e``).
    """
    up = len(name) - len(name.lstrip("."))
    parts = name.lstrip(".").split(".")
    if up:
        starts = [file.parents[up - 1] / parts[0]]
    else:
        starts = [file.parent / parts[0], _import_folder(file) / parts[0]]
        starts += [place for place in _places(parts[0]) if not installed(place.parent) or file.is_relative_to(place)]
    for start in starts:
        for length in range(len(parts)):
            inside = start.joinpath(*parts[1 : length + 1])
            yield from (f for f in (inside / "__init__.py", inside.parent / f"{inside.name}.py") if f.is_file())


@functools.cache
def _places(module: str) -> tuple[Path, ...]:
    """Where Python finds a module or package of the top level: its folders, or its file without the suffix."""
    if module in sys.stdlib_module_names or module == "harness":
        return ()
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError):
        return ()
    if spec is None:
        return ()
    if spec.submodule_search_locations is not None:
        return tuple(map(Path, spec.submodule_search_locations))
    return (Path(spec.origin).with_suffix(""),) if spec.has_location and spec.origin else ()


def _import_folder(file: Path) -> Path:
    """Folder that a plugin's package lies in: the first upwards that is no package itself."""
    folder = file.parent
    while (folder / "__init__.py").is_file():
        folder = folder.parent
    return folder


def method_packages(method: Method) -> list[str]:
    """Name the installed packages (distributions) that a method's own code imports, that of a plugin included."""
    own = [file for file in method_code(method) if not file.is_relative_to(PACKAGE) or file == method.source_file]
    return _packages(own, method.module)


def _packages(files: Iterable[Path], module: str = "") -> list[str]:
    imported = {module, *(name for file in files for name in _imports(file))}
    return _distributions({name.split(".")[0] for name in imported} - {"harness", ""} - sys.stdlib_module_names)


def _distributions(modules: set[str]) -> list[str]:
    """Name the installed distributions that modules come from, as `importlib.metadata.packages_distributions` does.

    That reads every file list and every name for it, a quarter of what a light stage takes.
    """
    from importlib.metadata import distributions

    path = re.compile(rf"^(?:{'|'.join(map(re.escape, modules))})(?:/|\.py,)", re.MULTILINE)
    found = set()
    for distribution in distributions() if modules else ():
        declared = (distribution.read_text("top_level.txt") or "").split()
        if modules.intersection(declared) or (not declared and path.search(distribution.read_text("RECORD") or "")):
            found.add(distribution.metadata["Name"])
    return sorted(found)


def code_files(*roots: str | Path) -> list[Path]:
    """List the source files of this package that modules depend on, themselves included.

    Parameters
    ----------
    *roots : str or path
        Module names such as ``harness.run.measure``, or files of plugins.

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
        todo += _imported_files(file)
    return sorted(seen)


def code_hashes(files: Iterable[Path]) -> list[str]:
    """Hash what files do: their source without comments, docstrings and empty lines.

    Returns
    -------
    list of str
        A SHA-256 for each file, sorted, for a plugin's file with its path below the folder of its package. Those of
        this package follow what files contain and not where they lie: a module that is moved outdates nothing. What is
        imported from this package stands in the hash by its content.
    """
    hashes = []
    for file in files:
        plugin = "" if file.is_relative_to(PACKAGE) else f"{file.relative_to(_import_folder(file)).as_posix()} "
        hashes.append(f"{plugin}{_code_hash(file)}")
    return sorted(hashes)


@functools.cache
def _code_hash(file: Path) -> str:
    if file.suffix != ".py":
        return file_sha256(file)
    try:
        body, imported = _body(file)
    except (SyntaxError, ValueError):
        return file_sha256(file)
    told = sorted(f"{_source_of(module, name)} {name} as {alias}" for module, name, alias in imported)
    return hashlib.sha256("\n".join([body, *told]).encode()).hexdigest()


@functools.cache
def _body(file: Path) -> tuple[str, tuple[tuple[str, str, str], ...]]:
    """Split a file into its plain source without what it imports from this package, and that: module, name, alias."""
    lines = file.read_text(encoding="utf-8").split("\n")
    syntax = _syntax(file)
    imported: list[tuple[str, str, str]] = []
    for node in (*syntax.running, *syntax.checked):
        if isinstance(node, ast.ImportFrom) and not node.level and (node.module or "").split(".")[0] == "harness":
            found = [(node.module or "", alias.name, alias.asname or alias.name) for alias in node.names]
        elif isinstance(node, ast.Import) and all(alias.name.split(".")[0] == "harness" for alias in node.names):
            found = [(alias.name, "", alias.asname or "") for alias in node.names]
        else:
            continue
        imported += found
        last = lines[(node.end_lineno or node.lineno) - 1].encode()
        before = lines[node.lineno - 1].encode()[: node.col_offset]
        after = last[node.end_col_offset or 0 :].strip()
        if before.strip() or (after and not after.startswith(b"#")):
            continue  # other code on its line counts as it is written
        first = lines[node.lineno - 1]
        # A block may hold nothing else, and must still be one.
        lines[node.lineno - 1] = first[: len(first) - len(first.lstrip())] + "pass"
        for number in range(node.lineno, node.end_lineno or node.lineno):
            lines[number] = ""
    text = _plain(lines, syntax)
    return "".join(line for line in text.splitlines(keepends=True) if line.strip() != "pass"), tuple(imported)


def _source_of(module: str, name: str) -> str:
    """Hash of the file that an imported name comes from, without what that imports; empty where it has no influence."""
    whole = f"{module}.{name}" if name and _module_file(f"{module}.{name}") else module
    file = None if {module, whole} & WITHOUT_INFLUENCE - {"harness"} or whole == "harness" else _module_file(whole)
    return "" if file is None else hashlib.sha256(_body(file)[0].encode()).hexdigest()


def fingerprint(files: Iterable[Path]) -> str:
    """Hash `code_hashes` into one text."""
    return hashlib.sha256("\n".join(code_hashes(files)).encode()).hexdigest()


def plain_source(source: str) -> str:
    """Take comments, docstrings, trailing blanks and empty lines out of Python source.

    Text is cut and not parsed and written again, because the latter differs between versions of Python.
    """
    return _plain(source.split("\n"), _Syntax(source))


def _plain(lines: list[str], syntax: _Syntax) -> str:
    _cut_comments(lines, syntax)
    verbatim = set(syntax.verbatim)
    for text in syntax.docstrings:
        start, end = text.lineno, text.end_lineno or text.lineno
        before = lines[start - 1].encode()[: text.col_offset]
        after = lines[end - 1].encode()[text.end_col_offset or 0 :]
        if not before.strip() and not after.strip():
            lines[start - 1 : end] = [""] * (end - start + 1)
            verbatim -= set(range(start, end + 1))
    kept = [line.rstrip() for row, line in enumerate(lines, 1) if row in verbatim or line.strip()]
    return "\n".join(kept) + "\n"


def _cut_comments(lines: list[str], syntax: _Syntax) -> None:
    """Cut off what begins with a sharp sign that is in no text."""
    within: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for text in syntax.texts:
        first, last = text.lineno, text.end_lineno or text.lineno
        start, end = text.col_offset, text.end_col_offset or 0
        if first == last:
            within[first].append((start, end))
        elif text not in syntax.docstrings and any("#" in line for line in lines[first - 1 : last]):
            # Between the pieces of one text there may be comments, too.
            for token in tokenize.generate_tokens(io.StringIO("\n".join(lines)).readline):
                if token.type == tokenize.COMMENT:
                    row, column = token.start
                    lines[row - 1] = lines[row - 1][:column]
            return
        else:
            for row in range(first, last + 1):
                within[row].append((start if row == first else 0, end if row == last else sys.maxsize))
    for row, line in enumerate(lines):
        if "#" in line:
            spans = within.get(row + 1, ())
            for place in re.finditer("#", line):
                at = len(line[: place.start()].encode())
                if not any(start <= at < end for start, end in spans):
                    lines[row] = line[: place.start()]
                    break


def stage_code(methods: Mapping[str, Method]) -> dict[str, list[Path]]:
    """List the files behind every kind of stage: ``inputs``, ``measure``, ``render``, and each method by name.

    Parameters
    ----------
    methods : mapping
        Methods by name; a method's entry is ``method-<name>``.
    """
    found = {kind: kind_code(kind) for kind in ROOTS}
    for name, method in methods.items():
        found[f"method-{name}"] = method_code(method)
        if method.network is not None:
            found[f"cost-{name}"] = cost_code(method)
    return found


def kind_code(kind: str) -> list[Path]:
    """List the files behind a kind of stage."""
    return code_files(ROOTS[kind]) + sorted((PACKAGE / "report/templates").glob("*.j2") if kind == "render" else ())


def cost_code(method: Method) -> list[Path]:
    """List the files that the counted cost of a method's network depends on."""
    source = method.source_file
    return code_files("harness.run.cost", *([source] if source else []))


def metric_facts(metric: Metric) -> dict[str, str]:
    """List what a plugin's metric measures with: a hash of its code, versions of packages, hashes of its files."""
    return made_with(OWN_METRICS.source(metric.name), metric.depends, metric.packages)


def read_again() -> None:
    """Forget what was read of source files: they may have been edited since, as beside a notebook."""
    for cached in (_imports, _syntax, _imported_files, _places, installed, _code_hash, _body):
        cached.cache_clear()


def made_with(
    source: Path | None, depends: Iterable[Path], packages: Iterable[str] = (), times: bool = False
) -> dict[str, str]:
    """List what a plugin's function works with: a hash of its file's code, versions of packages, hashes of files.

    Of the files in a folder their times count where `times` says so: what is made again for nothing changes no row.
    """
    from importlib.metadata import PackageNotFoundError, version

    files = code_files(source) if source is not None else []
    found = {"code": fingerprint(files)} if files else {}
    outside = [file for file in files if not file.is_relative_to(PACKAGE)]
    for package in sorted({*_packages(outside), *packages}):
        try:
            found[f"package {package}"] = version(package)
        except PackageNotFoundError:
            found[f"package {package}"] = "absent"
    folder = source.parent if source is not None else Path()
    return found | {f"file {path.as_posix()}": _state(folder / path, times) for path in depends}


def _state(path: Path, times: bool) -> str:
    """Hash a file; of a folder the names and sizes of its files, which may be gigabytes."""
    if not path.is_dir():
        return file_sha256(path, "absent")
    files = []
    for file in path.rglob("*"):
        if file.is_file():
            about = file.stat()
            when = f" {about.st_mtime_ns}" if times else ""
            files.append(f"{file.relative_to(path).as_posix()} {about.st_size}{when}")
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()


def method_code(method: Method) -> list[Path]:
    """List the files that a method's restored images depend on."""
    source = method.source_file
    return code_files("harness.run.restore", *([source] if source else []))
