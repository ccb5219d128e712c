"""The conformance vectors (the repository's folder ``vectors``), and which protocol a function of anybody's equals."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import json
import math
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError, NotAvailableError

FOLDER = Path(__file__).parents[2] / "vectors"
"""Where they lie in a checkout; they are no part of the installed package."""

EQUAL = 1e-9
"""How far the value of a function in double precision may be from a protocol that it equals, in dB or of SSIM."""


class VectorPair(msgspec.Struct, frozen=True):
    """Two images and what protocols give for them.

    Attributes
    ----------
    id : str
        Its name in the file.
    reference, restored : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8.
    scale : int
        Scale of super-resolution, which says what ``crop`` cuts.
    values : dict
        Protocol name → value in dB or of SSIM, the nearest float64.
    """

    id: str
    reference: NDArray[np.uint8]
    restored: NDArray[np.uint8]
    scale: int
    values: dict[str, float]

    @property
    def gray(self) -> bool:
        """Whether both images are gray, so that every luma is the image itself."""
        return self.reference.ndim == self.restored.ndim == 2


class Fit(msgspec.Struct, frozen=True):
    """How far a function is from a protocol.

    Attributes
    ----------
    protocol : str
        The protocol.
    miss : float
        The largest difference over the pairs, in dB or of SSIM.
    where : str
        The pair of that difference.
    pairs : int
        How many pairs were compared.
    """

    protocol: str
    miss: float
    where: str
    pairs: int


class Tried(msgspec.Struct, frozen=True):
    """What a function gave for the vectors.

    Attributes
    ----------
    fits : list of Fit
        Every protocol of which a pair could be compared, the nearest first.
    refused : dict
        Pair → why the function gave no number for it.
    of_equal : list of float
        What it gave for equal images, each value once.
    """

    fits: list[Fit]
    refused: dict[str, str]
    of_equal: list[float]


def vector_image(entry: dict[str, Any]) -> NDArray[np.uint8]:
    """Decode an image of the files: rows of hexadecimal digits become ``(H, W)`` or ``(H, W, 3)``, uint8."""
    flat = np.frombuffer(bytes.fromhex("".join(entry["rows"])), np.uint8)
    shape = (entry["height"], entry["width"], entry["channels"])
    return flat.reshape(shape[: 2 if shape[2] == 1 else 3])


def read_vectors(folder: Path = FOLDER) -> list[VectorPair]:
    """Read ``pairs.json``.

    Parameters
    ----------
    folder : Path
        The folder ``vectors``.

    Raises
    ------
    NotAvailableError
        It is not there: it comes with the repository, not with the installed package.
    HarnessError
        The file is damaged.
    """
    try:
        content = json.loads((folder / "pairs.json").read_text(encoding="utf-8"))
        images = {name: vector_image(entry) for name, entry in content["images"].items()}
        return [_pair(entry, images) for entry in content["pairs"]]
    except FileNotFoundError:
        raise NotAvailableError(
            f"{folder}: holds no pairs.json; take the folder vectors of the project's repository, or work in a checkout"
        ) from None
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise HarnessError(f"{folder / 'pairs.json'}: damaged ({type(error).__name__}: {error})") from None


def _pair(entry: dict[str, Any], images: dict[str, NDArray[np.uint8]]) -> VectorPair:
    reference, restored = images[entry["reference"]], images[entry["restored"]]
    if "tiled" in entry:
        height, width = entry["tiled"]["height"], entry["tiled"]["width"]
        rows, columns = np.arange(height) % len(reference), np.arange(width) % reference.shape[1]
        reference, restored = reference[rows][:, columns], restored[rows][:, columns]
    values = {name: float(v[2] if isinstance(v, list) else v) for name, v in entry["values"].items()}
    return VectorPair(entry["id"], reference, restored, entry["scale"], values)


def find_function(name: str) -> Callable[..., Any]:
    """Import what ``FILE.py:FUNCTION`` or ``MODULE:FUNCTION`` names.

    As when Python runs them, modules beside the file, or in the current folder, can be imported; the folder stays on
    `sys.path` for what the function imports when it is called.

    Raises
    ------
    HarnessError
        There is no such file, module or function, or importing it failed.

    Examples
    --------
    >>> find_function("math:hypot")(3, 4)
    5.0
    """
    where, _, word = name.rpartition(":")  # a path of Windows has a colon of its own
    of_file = where.endswith(".py")
    sys.path.insert(0, str(Path(where).resolve().parent if of_file else Path.cwd()))
    try:
        if of_file:
            # A file may be called like a module that others need.
            spec = importlib.util.spec_from_file_location(f"_tried_{Path(where).stem}", where)
            assert spec is not None and spec.loader is not None
            module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # dataclasses look there
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(where)
        function = getattr(module, word)
    except Exception as error:
        raise HarnessError(f"'{name}' cannot be imported: {type(error).__name__}: {error}") from None
    if not callable(function):
        raise HarnessError(f"'{name}' is no function; write FILE.py:FUNCTION or MODULE:FUNCTION")
    found: Callable[..., Any] = function
    return found


def try_function(function: Callable[..., Any], pairs: Iterable[VectorPair]) -> Tried:
    """Compare a function with every protocol of the vectors.

    Parameters
    ----------
    function : callable
        Takes `reference` and `restored`, uint8 arrays of ``(H, W)`` or ``(H, W, 3)``, and returns a number. One
        with a parameter `scale` gets that too, and the pairs whose border is cut; one without gets the others.
    pairs : iterable of VectorPair
        From `read_vectors`.

    Examples
    --------
    >>> import numpy as np
    >>> black = np.zeros((2, 2), np.uint8)
    >>> pair = VectorPair("1", black, black + np.uint8(255), 1, {"psnr": 0.0})
    >>> try_function(lambda x, y: 0.5, [pair]).fits
    [Fit(protocol='psnr', miss=0.5, where='1', pairs=1)]
    """
    takes_scale = "scale" in _parameters(function)
    found: dict[str, tuple[float, str, int]] = {}
    refused: dict[str, str] = {}
    of_equal: list[float] = []
    every = [pair for pair in pairs if (pair.scale > 1) == takes_scale]
    names = {name for pair in every for name in pair.values if ("-crop" in name) == takes_scale}
    for pair in every:
        try:
            more = {"scale": pair.scale} if takes_scale else {}
            value = float(function(pair.reference.copy(), pair.restored.copy(), **more))
        except Exception as error:
            refused[pair.id] = f"{type(error).__name__}: {error}"
            continue
        if math.isnan(value):
            refused[pair.id] = "NaN"
            continue
        if np.array_equal(pair.reference, pair.restored):
            of_equal += [] if value in of_equal else [value]
        for name in names:
            wanted = pair.values.get(without_luma(name) if pair.gray else name)
            if wanted is None or math.isinf(wanted):
                continue  # what it gives for equal images is told apart
            off = 0.0 if value == wanted else abs(value - wanted)
            worst, where, count = found.get(name, (-1.0, "", 0))
            found[name] = (*((off, pair.id) if off > worst else (worst, where)), count + 1)
    fits = [Fit(name, *fit) for name, fit in found.items()]
    # Of those that are as near, the one with the most pairs, then the shortest name.
    return Tried(sorted(fits, key=lambda fit: (fit.miss, -fit.pairs, len(fit.protocol))), refused, of_equal)


def without_luma(name: str) -> str:
    """Take the luma out of a protocol's name: what gray images are measured under.

    >>> without_luma("ssim-gauss-y8-crop")
    'ssim-gauss-crop'
    """
    return "-".join(word for word in name.split("-") if word not in ("y", "y8", "yfull", "yfull8", "yiq", "yiq8"))


def _parameters(function: Callable[..., Any]) -> Iterable[str]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # compiled functions may have none to show
        return ()
