"""Tasks, degradations and metrics from outside this package, loaded before anything that names them is read.

They are found as methods are: in installed packages through the entry-point groups ``harness.tasks``,
``harness.degradations`` and ``harness.metrics``, and in the folders that ``params.yaml`` lists under ``plugins``; a
file there may define several, of any kind. Their import is tried in another process first
(`harness.methods.plugins`). A project's own are known as long as it is the project that a process works in.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from harness.errors import HarnessError
from harness.methods.plugins import Plugin, defined_first, importing, installed_plugins, plugins_in, refused
from harness.process_state import environment_kept
from harness.records.workspace import IMPORT_SECONDS
from harness.registries import REGISTRIES, Registry, added, put_in, take_out

GROUPS = ("harness.tasks", "harness.degradations", "harness.metrics")

# Those that hold what plugins may add to.
_HOLDERS = {
    "task": "harness.records.tasks",
    "degradation": "harness.degradations.registry",
    "metric": "harness.protocols.own",
}

# What each plugin defined, by its state (a changed file is another one), and why one could not be loaded.
_defined: dict[str, dict[tuple[str, str], tuple[object, str]]] = {}
_broken: dict[str, str] = {}


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


def registry_of(kind: str) -> Registry[Any]:
    """Give what is known of a kind: ``task``, ``degradation``, or the ``metric`` of plugins."""
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
