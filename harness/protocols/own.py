"""Metrics from outside this package: a function under `metric` is a word of the names of protocols."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.errors import HarnessError, InvalidArgumentError, NotAvailableError, missing_package, paths, several, text
from harness.names import check_name
from harness.registries import Registry

Better = Literal["higher", "lower"]

# What a column of a table may be besides, and what other words of a protocol's name are: no metric is named so.
_RESERVED = frozenset({"psnr", "ssim", "parameters", "seconds", "column", "best"})
_WORDS = re.compile(r"y|y8|yfull|yfull8|yiq|yiq8|crop[0-9]*|pooled")


@dataclass(frozen=True)
class Metric:
    """A metric of the user's, or of another package.

    Attributes
    ----------
    name : str
        The word that protocols' names begin with: ``ms-ssim`` in ``ms-ssim-y-crop``.
    function : callable
        Takes `reference` and `restored`, arrays of ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255,
        and returns a number. Without a reference it takes `restored` alone; of a set, an iterable of pairs (or of
        restored images) that is read image by image.
    version : int
        Rises with every change that changes values.
    better : {"higher", "lower"}
        Which values are better.
    unit, title : str
        Shown beside values; a title stands over columns.
    reference : bool
        Whether it takes the reference.
    of : {"image", "set"}
        Whether each image has a value, or only the whole set.
    range : tuple of float
        The least and the greatest value there may be.
    luma, crop : bool
        Whether a luma and a border go with it in a protocol's name.
    depends : tuple of Path
        Files that it reads, such as weights: their contents are part of what a value is known by.
    packages : tuple of str
        Installed packages (distributions) whose version counts besides those that its file imports.
    facts : callable or None
        Gives more that a value is known by, as texts by name, after the first image was measured.
    """

    name: str
    function: Callable[..., Any]
    version: int
    better: Better
    unit: str = ""
    title: str = ""
    reference: bool = True
    of: Literal["image", "set"] = "image"
    range: tuple[float, float] = (-math.inf, math.inf)
    luma: bool = True
    crop: bool = True
    depends: tuple[Path, ...] = ()
    packages: tuple[str, ...] = ()
    facts: Callable[[], dict[str, str]] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def __call__(self, *images: Any) -> float:
        """Measure; one call at a time, for a function may keep what it computes with.

        Parameters
        ----------
        *images
            What the function takes.

        Raises
        ------
        HarnessError
            The function failed, or returned something else than a number.
        NotAvailableError
            It lacks a package or a file.
        """
        try:
            with self._lock:
                found = self.function(*images)
        except HarnessError:
            raise
        except ImportError as error:
            raise NotAvailableError(f"metric '{self.name}': {error}", missing_package(error)) from None
        except Exception as error:
            raise HarnessError(f"metric '{self.name}' failed: {type(error).__name__}: {error}") from None
        try:
            value = float(found)
        except (TypeError, ValueError, RuntimeError):
            raise HarnessError(
                f"metric '{self.name}' returned {type(found).__name__}, not a number; return one float"
            ) from None
        if math.isnan(value):
            raise HarnessError(f"metric '{self.name}' returned NaN; raise an error that says what the image lacks")
        return value


OWN_METRICS: Registry[Metric] = Registry("metric", ())
"""Metrics that plugins define, by name."""


def metric(
    name: str,
    *,
    version: int,
    better: Better,
    unit: str = "",
    title: str = "",
    reference: bool = True,
    of: Literal["image", "set"] = "image",
    range: tuple[float, float] = (-math.inf, math.inf),
    luma: bool = True,
    crop: bool = True,
    depends: Iterable[str | Path] = (),
    packages: Iterable[str] = (),
) -> Callable[[Callable[..., Any]], Metric]:
    """Define a metric by the function below; tables, `harness.measure` and protocols' names then know it.

    Parameters
    ----------
    name : str
        Lower-case letters, digits and hyphens.
    version, better, unit, title, reference, of, range, luma, crop, depends, packages
        See `Metric`.

    Returns
    -------
    callable
        Makes a `Metric` of a function.

    Raises
    ------
    HarnessError
        The name is taken or means something else in a protocol's name; the version, direction or range is none.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> @harness.metric("worst-error", version=1, better="lower", range=(0, 255))
    ... def worst_error(reference, restored):
    ...     return abs(reference.astype(float) - restored).max()
    >>> harness.measure(np.zeros((8, 8), np.uint8), np.full((8, 8), 3, np.uint8), "worst-error-crop2")
    3.0
    """

    def define(function: Callable[..., Any]) -> Metric:
        made = Metric(
            name, function, version, better, text(unit, f"metric '{name}': unit"),
            text(title, f"metric '{name}': title") or name, reference, of, range, luma, crop,
            paths(depends, f"metric '{name}': depends"),
            several(packages, f"metric '{name}': packages"),
        )  # fmt: skip
        return define_metric(made)

    return define


def define_metric(made: Metric, depth: int = 2) -> Metric:
    """Make a metric known; `depth` counts the calls between the file that defines it and here."""
    words = check_name(made.name, "metric").split("-")
    if not callable(made.function):
        raise InvalidArgumentError(f"metric '{made.name}': harness.metric stands above a function")
    if made.name in _RESERVED or words[0] in ("psnr", "ssim") or any(map(_WORDS.fullmatch, words)):
        raise InvalidArgumentError(
            f"metric '{made.name}': a part of this name means something else in protocols; choose another"
        )
    if isinstance(made.version, bool) or not isinstance(made.version, int) or made.version < 1:
        raise InvalidArgumentError(f"metric '{made.name}': version {made.version!r} is no whole number of 1 or more")
    for what, value, known in (("better", made.better, ("higher", "lower")), ("of", made.of, ("image", "set"))):
        if text(value, f"metric '{made.name}': {what}") not in known:
            raise InvalidArgumentError(f"metric '{made.name}': {what}={value!r}; write '{known[0]}' or '{known[1]}'")
    ends = made.range if isinstance(made.range, tuple | list) and len(made.range) == 2 else ("", "")
    if not all(isinstance(end, int | float) for end in ends) or not ends[0] < ends[1]:
        raise InvalidArgumentError(f"metric '{made.name}': range {made.range!r} is not (least, greatest)")
    return OWN_METRICS.define(made, depth + 1)


def better_of(metric: str) -> Better:
    """Say which values of a column's metric are better: of costs and of some own metrics the lower ones.

    >>> better_of("psnr"), better_of("seconds")
    ('higher', 'lower')
    """
    own = OWN_METRICS.get(metric)
    if own is not None:
        return own.better
    return "lower" if metric in ("parameters", "seconds") else "higher"


def quality(metric: str, value: float) -> float:
    """Give a value such that the larger one is the better one."""
    return value if better_of(metric) == "higher" else -value
