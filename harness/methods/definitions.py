"""Tasks, degradations, metrics and datasets from outside this package, loaded before anything that names them is read.

They are found as methods are: in installed packages through the entry-point groups ``harness.tasks``,
``harness.degradations``, ``harness.metrics`` and ``harness.datasets``, and in the folders that ``params.yaml`` lists
under ``plugins``; a file there may define several, of any kind. Their import is tried in another process first
(`harness.methods.plugins`). A project's own are known as long as it is the project that a process works in.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.methods.plugins import Plugin, defined_first, importing, installed_plugins, plugins_in, refused
from harness.process_state import environment_kept
from harness.records.workspace import IMPORT_SECONDS
from harness.registries import REGISTRIES, Registry, added, put_in, take_out

GROUPS = ("harness.tasks", "harness.degradations", "harness.metrics", "harness.datasets")

# Those that hold what plugins may add to.
_HOLDERS = {
    "task": "harness.records.tasks",
    "degradation": "harness.degradations.registry",
    "metric": "harness.protocols.own",
    "dataset": "harness.assets.datasets.defining",
}

# What each plugin defined, by its state (a changed file is another one), and why one could not be loaded.
_defined: dict[str, dict[tuple[str, str], tuple[object, str]]] = {}
_broken: dict[str, str] = {}
# Where each definition comes from, for readers: a file, or a package and its version.
_from: dict[tuple[str, str], str] = {}


def load_definitions(folders: Iterable[Path] = (), import_seconds: float = IMPORT_SECONDS) -> None:
    """Make known what installed packages and these folders define, and forget what other folders did.

    A plugin that cannot be imported does not stop the others; `broken_definitions` tells which and why.

    Parameters
    ----------
    folders : iterable of path
        Folders with modules.
    import_seconds : float
        Seconds that the import of one may take.
    """
    plugins = [plugin for group in GROUPS for plugin in installed_plugins(group)]
    # A package may announce one module under several groups.
    plugins = list({plugin.key: plugin for plugin in plugins}.values())
    plugins += [plugin for folder in folders for plugin in plugins_in(folder)]
    if not plugins and not _defined:
        return
    for kind in _HOLDERS:
        registry_of(kind)
    _broken.clear()
    _from.clear()
    take_out(name for found in _defined.values() for name in found)
    defined_first.clear()
    left_out = refused([plugin for plugin in plugins if plugin.state not in _defined], import_seconds)
    for plugin in plugins:
        if plugin in left_out:
            _broken[plugin.what] = f"{plugin.what}: {left_out[plugin]}"
        elif plugin.state in _defined:
            put_in(_defined[plugin.state])
        else:
            _load(plugin, import_seconds)
        if plugin.what not in _broken:
            defined_first.append(plugin)
            came = plugin.name if plugin.kind == "file" else f"package {plugin.version}"
            _from.update(dict.fromkeys(_defined[plugin.state], came))
    _know_datasets()


def _know_datasets() -> None:
    """Note what the images of each dataset are made with, so that a fetch knows whether to make them again."""
    registry = registry_of("dataset")
    registry.known_by.clear()
    if registry.files:
        from harness.methods.fingerprints import made_with, read_again

        read_again()
        for name, made in registry.items():
            if source := registry.source(name):
                facts = sorted(made_with(source, made.depends, times=True).items())
                registry.known_by[name] = hashlib.sha256(repr(facts).encode()).hexdigest()


def origin_of(kind: str, name: str) -> str:
    """Say where a definition comes from: ``built in``, a file, ``package NAME VERSION``, or ``typed in``."""
    if name in registry_of(kind).built_in:
        return "built in"
    return _from.get((kind, name), "typed in")


def registry_of(kind: str) -> Registry[Any]:
    """Give what is known of a kind: ``task``, ``degradation``, or the ``metric`` or ``dataset`` of plugins."""
    importlib.import_module(_HOLDERS[kind])
    return REGISTRIES[kind]


def broken_definitions() -> dict[str, str]:
    """Return why each plugin that failed could not be imported, by entry point or file."""
    return dict(_broken)


def _load(plugin: Plugin, limit: float) -> None:
    before = added()
    try:
        with environment_kept(), importing(plugin, limit):
            plugin.load()
    except HarnessError as error:
        _broken[plugin.what] = f"{plugin.what}: {error}"
    except (Exception, SystemExit) as error:
        _broken[plugin.what] = f"{plugin.what}: {type(error).__name__}: {error}"
    now = added()
    found = {name: now[name] for name in now if name not in before}
    if plugin.what in _broken:
        take_out(found)
    else:
        _defined[plugin.state] = found
