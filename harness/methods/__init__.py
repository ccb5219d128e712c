"""Methods: anything that restores an image, found by name.

A method is a function `build(task, level)` under the decorator `method` (`build(task, level, dataset)` where the
authors trained a model for each set: `Method.weights_for`). It returns the callable that restores:

>>> from harness.methods import method
>>> @method("my-net", tasks=["denoise-rgb"], title="MyNet", paper="Doe et al., 2026")
... def build(task, level):
...     return lambda batch: batch

The callable takes a float32 tensor (B, C, H, W) in [0, 1] and returns a floating-point one of the same shape
(super-resolution: times the scale). With ``on="array"`` it takes a float64 array (H, W) or (H, W, 3) in [0, 1] and
returns a numpy array of floats; it is called in several threads. The input of unclipped noise tasks leaves [0, 1]; what
is returned is clipped and rounded to 8 bits, as the papers' programs do, and refused where it lies far outside
(`harness.run.apply`). With
``on="images"`` the callable takes the names of a dataset and of an image and returns the path of the restored image,
or its pixels, uint8 or floats in 0..255. A method leaves what all code of its process shares as it found it
(`harness.process_state`).

Methods are found in this package, in installed packages through the entry-point group ``harness.methods`` (each entry
point names a module or function), and in the folders that ``params.yaml`` lists under ``methods``.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from harness.errors import (
    HarnessError,
    InvalidArgumentError,
    Missing,
    NotAvailableError,
    missing_package,
    paths,
    text,
    unknown_name,
)
from harness.methods.plugins import (
    Plugin,
    importing,
    installed_plugins,
    names_of,
    plugins_in,
    refused,
)
from harness.names import check_name
from harness.process_state import environment_kept, left_alone
from harness.records.cells import SAVINGS
from harness.records.tasks import TASKS
from harness.records.workspace import IMPORT_SECONDS

Build = Callable[..., Callable[..., Any]]
Origin = Literal["none", "released", "trained"]


@dataclass(frozen=True)
class Method:
    """A registered method.

    Attributes
    ----------
    name : str
        Name in tables, pipelines and on the command line: lower-case letters, digits, ``-``.
    tasks : tuple of str
        Tasks it can do.
    build : callable
        ``build(task, level)`` returns the restoring callable; it may raise `NotAvailableError` when weights cannot be
        had, and the cells of that level are then `not run` with its reason. With `weights_for` it is
        ``build(task, level, dataset)``.
    network : callable or None
        ``network(task, level)`` makes the network without weights, for counting parameters and multiply-adds.
    title, paper, url, licence : str
        For readers.
    origin : {"none", "released", "trained"}
        Where the weights come from; "none" for a method without weights.
    weights : tuple of str
        Names in the weights registry that `build` may load; they are fetched before the method runs. A trained
        method has no such names, its weights come from its own runs (`harness.records.training_runs`).
    weights_for : dict
        Model by dataset, where the authors trained one for each set: a file of `weights`, or any name that says which.
        On a dataset without one the method is not run: no model of another set stands in for it.
    file : callable or None
        ``file(task, level)`` names what `build` loads, as ``set/file`` of the weights registry, or a set of `released`
        images (then it is ``file(task, level, dataset)``); empty, or a name that is not there, where nothing was
        released. Not needed where `weights_for` says it. This tells what a number takes without building anything.
    rgb_range : float or None
        Largest sample value that the released program feeds the network. Where `network` is named it says so itself
        (`harness.networks.ranges`), and this is None.
    released : tuple of str
        Names in the dataset registry: images the authors restored and released, likewise.
    on : {"tensor", "array", "images"}
        What the callable takes: a tensor, an array, or the names of a dataset and an image, for which it returns the
        path of an image restored elsewhere.
    saving : {"round", "truncate", "unrounded"}
        How its output is kept: the authors' programs mostly round to 8 bits, some truncate
        (`harness.records.cells.Group`).
    extra : str
        The package extra it needs (``pip install restoration-harness[bm3d]``).
    policy : str
        Inference policy used where a table row names none.
    chop : dict
        Tiling rule of the policy ``chop`` by task, a name in `harness.inference.chop`.
    random : bool
        The method draws random numbers; it is then seeded per image.
    depends : tuple of path
        Files and folders whose change must run the method again (its own weights, its images).
    checked : str
        What the network was held to, such as ``the authors' outputs``; for docs/systems.md.
    recipes : dict
        Name of the recipe (`harness.training.recipe`) that trains the network, by task.
    trained : frozenset of (task, level)
        Which of a trained method's runs a workspace makes or has; filled in by `Workspace.methods`.
    module : str
        Module it was defined in, for the fingerprint of its code.
    """

    name: str
    tasks: tuple[str, ...]
    build: Build
    network: Callable[[str, int], Any] | None = None
    title: str = ""
    paper: str = ""
    url: str = ""
    licence: str = ""
    origin: Origin = "none"
    weights: tuple[str, ...] = ()
    weights_for: Mapping[str, str] = field(default_factory=dict)
    file: Callable[..., str] | None = None
    rgb_range: float | None = None
    released: tuple[str, ...] = ()
    on: Literal["tensor", "array", "images"] = "tensor"
    saving: Literal["round", "truncate", "unrounded"] = "round"
    extra: str = ""
    policy: str = "whole"
    chop: Mapping[str, str] = field(default_factory=dict)
    random: bool = False
    depends: tuple[Path, ...] = ()
    checked: str = ""
    recipes: Mapping[str, str] = field(default_factory=dict)
    trained: frozenset[tuple[str, int]] = frozenset()
    module: str = field(default="", compare=False)

    def loads(self, task: str, level: int, dataset: str) -> str | None:
        """Name what `build` loads for a cell: see `file`; None for a method that needs no file."""
        if self.weights_for:
            found = self.weights_for.get(dataset, "")
            return f"{self.weights[0]}/{found}" if found else ""
        if self.file is None:
            return None
        return self.file(task, level, dataset) if self.released else self.file(task, level)

    @property
    def source_file(self) -> Path | None:
        """The file that defines the method, or None for one made in an interactive session."""
        module = sys.modules.get(self.module)
        file = getattr(module, "__file__", None)
        return Path(file) if file else None


_ON = ("tensor", "array", "images")

# Modules of this package that define no method.
_NOT_METHODS = ("checkpoint", "fingerprints", "plugins", "released", "thin", "trained")

_registry: dict[str, Method] = {}
_broken: dict[str, str] = {}
_loaded: set[str] = set()
# What files in a folder define, which is a project's own: another project of this process may use the name for another.
_in_folders: dict[Path, dict[str, Method]] = {}
# Environment variables that a plugin set while it was imported, by the functions that build its methods.
_environments: dict[Callable[..., Any], dict[str, str | None]] = {}


def method(
    name: str,
    tasks: Sequence[str],
    *,
    network: Callable[[str, int], Any] | None = None,
    title: str = "",
    paper: str = "",
    url: str = "",
    licence: str = "",
    origin: Origin = "none",
    weights: Sequence[str] = (),
    weights_for: Mapping[str, str] | None = None,
    file: Callable[..., str] | None = None,
    rgb_range: float | None = None,
    released: Sequence[str] = (),
    on: Literal["tensor", "array", "images"] = "tensor",
    saving: Literal["round", "truncate", "unrounded"] = "round",
    extra: str = "",
    policy: str = "whole",
    chop: Mapping[str, str] | None = None,
    random: bool = False,
    depends: Sequence[str | Path] = (),
    checked: str = "",
    recipes: Mapping[str, str] | None = None,
) -> Callable[[Build], Build]:
    """Register the decorated `build(task, level)` under a name; the arguments are the attributes of `Method`.

    Raises
    ------
    HarnessError
        The name is taken or has other characters than lower-case letters, digits and ``-``; a task is unknown.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> @harness.method("half-gray", tasks=["denoise-gray"], on="array")
    ... def build(task, level):
    ...     return lambda image: (image + 0.5) / 2
    >>> harness.restore(np.zeros((1, 2)), "half-gray", "denoise-gray", 50)
    array([[63.75, 63.75]])
    """
    check_name(name, "method")
    for kind, others in (("weights", () if origin == "trained" else weights), ("dataset", released)):
        for other in others:
            check_name(other, kind, f"method '{name}'")
    if not isinstance(tasks, list | tuple | set | frozenset) or not tasks:
        raise InvalidArgumentError(f"method '{name}': tasks must be a list of task names, such as ['denoise-rgb']")
    for task in tasks:
        if text(task, f"method '{name}': a task") not in TASKS:
            raise unknown_name("task", task, TASKS)
    for what, value, known in (("on", on, _ON), ("saving", saving, SAVINGS), ("origin", origin, get_args(Origin))):
        if text(value, f"method '{name}': {what}") not in known:
            raise unknown_name(what, value, known)
    for what, said in (("title", title), ("paper", paper), ("url", url), ("licence", licence), ("policy", policy)):
        text(said, f"method '{name}': {what}")
    own_files = paths(depends, f"method '{name}': depends")

    def register(build: Build) -> Build:
        if not callable(build):
            raise HarnessError(f"method '{name}': harness.method stands above a function, build(task, level)")
        module = getattr(build, "__module__", "") or ""
        taken = _registry.get(name)
        if taken is not None and taken.module != module:
            raise HarnessError(
                f"method name '{name}' of {module} is taken by {taken.module}; choose another name for one of them"
            )
        _registry[name] = Method(
            name=name,
            tasks=tuple(tasks),
            build=build,
            network=network,
            title=title or name,
            paper=paper,
            url=url,
            licence=licence,
            origin=origin,
            weights=tuple(weights),
            weights_for=dict(weights_for or {}),
            file=file,
            rgb_range=rgb_range,
            released=tuple(released),
            on=on,
            saving=saving,
            extra=extra,
            policy=policy,
            chop=dict(chop or {}),
            random=random,
            depends=own_files,
            checked=checked,
            recipes=dict(recipes or {}),
            module=module,
        )
        return build

    return register


def methods(folders: Iterable[Path] = (), import_seconds: float = IMPORT_SECONDS) -> dict[str, Method]:
    """Find every method: built in, installed, and in `folders`; by name, sorted.

    A plugin that cannot be imported does not stop the others; `broken_plugins` tells which and why. One that hangs, or
    would end this process, is found out in another one (`harness.methods.plugins`).

    Parameters
    ----------
    folders : iterable of path
        Folders with modules of methods.
    import_seconds : float
        Seconds that the import of a plugin may take.
    """
    folders = list(folders)
    _load_builtin()
    _import_plugins(folders, import_seconds)
    return dict(sorted(_known(folders).items()))


def try_plugins(folders: Iterable[Path] = (), import_seconds: float = IMPORT_SECONDS) -> None:
    """Try the import of every plugin that was not tried yet, in another process; nothing is imported here."""
    refused(
        [*installed_plugins(), *(plugin for folder in folders for plugin in _plugins_of(Path(folder)))], import_seconds
    )


def get_method(name: str, folders: Iterable[Path] = (), import_seconds: float = IMPORT_SECONDS) -> Method:
    """Look a method up by name; an unknown name raises HarnessError with the nearest known ones.

    Only the plugin that defines it is imported, so that no other one can reach what the method computes.
    """
    folders = list(folders)
    _load_builtin()
    if name not in _known(folders):
        _import_plugins(folders, import_seconds, name)
    if found := _known(folders).get(name):
        return found
    known = methods(folders, import_seconds)
    error = unknown_name("method", name, known)
    if _broken:
        error = InvalidArgumentError(f"{error} (plugins that could not be loaded: {'; '.join(_broken.values())})")
    raise error


def _known(folders: Iterable[Path]) -> dict[str, Method]:
    """Give the methods that a project with these folders has, of those that were imported."""
    found = dict(_registry)
    for folder in folders:
        found |= _in_folders.get(Path(folder).resolve(), {})
    return found


def registered() -> set[str]:
    """Names of the methods that were defined so far in this process."""
    return set(_registry)


def broken_plugins() -> dict[str, str]:
    """Return why each plugin that failed could not be imported, by entry point or file."""
    return dict(_broken)


def build_method(chosen: Method, task: str, level: int, dataset: str = "") -> Callable[..., Any]:
    """Make the restoring callable of a method, turning a plugin's own errors into one sentence.

    Parameters
    ----------
    chosen : Method
        The method.
    task, level : str, int
        What it is to do.
    dataset : str
        What it is to do it on; it matters to a method with a model for each set alone.

    Raises
    ------
    NotAvailableError
        The weights or the extra package of this (task, level) are not here, or no model was released for the dataset.
    HarnessError
        The method does not do this task, its `build` failed, or it changes what all methods of a process share.
    """
    if task not in chosen.tasks:
        raise HarnessError(f"method '{chosen.name}' does not do '{task}'; it does {', '.join(chosen.tasks)}")
    if chosen.weights_for and dataset not in chosen.weights_for:
        models = ", ".join(f"{name} ({file})" for name, file in chosen.weights_for.items())
        raise NotAvailableError(
            f"{chosen.title} has a model for each of {models}, and none for {dataset or 'a set without a name'}; "
            "the model of another set would make another number",
            Missing("weights", chosen.name),
        )
    try:
        # What a plugin sets in the environment holds while it is imported and built, and for no other method.
        with left_alone(f"method '{chosen.name}'"), environment_kept(_environments.get(chosen.build)):
            restore = chosen.build(task, level, *([dataset] if chosen.weights_for else []))
    except NotAvailableError as error:
        # What a released method lacks, if it names nothing else, is a model for this task and level.
        error.missing = error.missing or (Missing("weights", chosen.name) if chosen.origin == "released" else None)
        raise
    except HarnessError:
        raise
    except ImportError as error:
        if chosen.extra:
            raise NotAvailableError(
                f"the package '{error.name}' is not installed; pip install 'restoration-harness[{chosen.extra}]'",
                missing_package(error),
            ) from None
        raise HarnessError(f"method '{chosen.name}': {error}") from error
    except Exception as error:
        raise HarnessError(
            f"method '{chosen.name}' could not be built for {task} at level {level}: "
            f"{type(error).__name__}: {error} ({chosen.source_file or chosen.module})"
        ) from error
    if not callable(restore):
        raise HarnessError(
            f"method '{chosen.name}': build must return a callable, it returned {type(restore).__name__}"
        )
    return restore


def _load_builtin() -> None:
    for info in pkgutil.iter_modules(__path__):
        name = f"{__name__}.{info.name}"
        if name not in _loaded and info.name not in _NOT_METHODS:
            _loaded.add(name)
            importlib.import_module(name)


def _plugins_of(folder: Path) -> list[Plugin]:
    if not folder.is_dir():
        raise HarnessError(f"{folder}: no such folder; params.yaml names it under 'methods'")
    return list(plugins_in(folder))


def _import_plugins(folders: Iterable[Path], limit: float, only: str = "") -> None:
    """Import the plugins that were not imported yet; with `only`, those that may define the method of that name."""
    folders = list(folders)
    plugins = [*installed_plugins(), *(plugin for folder in folders for plugin in _plugins_of(Path(folder)))]
    plugins = [plugin for plugin in plugins if plugin.key not in _loaded]
    left_out = refused(plugins, limit)
    for plugin in plugins:
        names = names_of(plugin) if only else None
        if names is not None and only not in names:
            continue
        _loaded.add(plugin.key)
        if plugin in left_out:
            _broken[plugin.what] = f"{plugin.what}: {left_out[plugin]}"
        else:
            _import_plugin(plugin, folders, limit)


def _import_plugin(plugin: Plugin, folders: Iterable[Path], limit: float) -> None:
    before, known = dict(_registry), _known(folders)
    # A name may be taken by a method of the same project.
    _registry.update(known)
    try:
        with environment_kept() as changed, importing(plugin, limit):
            plugin.load()
    except HarnessError as error:
        _broken[plugin.what] = f"{plugin.what}: {error}"
    except (Exception, SystemExit) as error:
        _broken[plugin.what] = f"{plugin.what}: {type(error).__name__}: {error}"
    defined = {name: found for name, found in _registry.items() if name not in known}
    _registry.clear()
    _registry.update(before)
    if plugin.what in _broken:
        return
    _environments.update({found.build: changed for found in defined.values()})
    if plugin.kind == "file":
        _in_folders.setdefault(Path(plugin.name).parent.resolve(), {}).update(defined)
    else:
        _registry.update(defined)
