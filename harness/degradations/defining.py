"""A degradation of one's own: a function under a name and a version."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from harness.degradations.kinds import Degradation
from harness.degradations.registry import DEGRADATIONS
from harness.errors import InvalidArgumentError, several, text

Degrade = Callable[..., NDArray[Any]]


class Defined(Degradation, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a function makes of an image.

    Attributes
    ----------
    function : callable
        ``function(reference, level)``, or ``function(reference, level, rng)`` where it draws.
    draws : bool
        Whether it draws random numbers, from the generator that it is given and from no other.
    returns : {"uint8", "float64"}
        The dtype of the input that it makes.
    levels : tuple of int
        The levels that have a meaning; empty: all.
    shrinks : bool
        Whether the input is smaller than the reference by the level, as in super-resolution; the reference is then
        cropped to a multiple.
    to_reference : callable or None
        ``to_reference(image, level)`` makes what a restored image is compared with; None: the image, or its part that
        the scale divides.
    """

    function: Degrade
    draws: bool = False
    returns: Literal["uint8", "float64"] = "uint8"
    levels: tuple[int, ...] = ()
    shrinks: bool = False
    to_reference: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]] | None = None

    @property
    def random(self) -> bool:
        """Whether `degrade` needs a random generator, and so has draws."""
        return self.draws

    @property
    def output(self) -> str:
        """The dtype that `degrade` returns: ``uint8`` or ``float64`` (units of 0..255)."""
        return self.returns

    def scale(self, level: int) -> int:
        """By how much the input is smaller than the reference."""
        return int(level) if self.shrinks else 1

    def _check_level(self, level: int) -> None:
        if self.levels and level not in self.levels:
            known = ", ".join(map(str, self.levels))
            raise InvalidArgumentError(f"degradation '{self.name}' has the levels {known}, and no level {level}")
        if self.shrinks and level < 1:
            raise InvalidArgumentError(f"degradation '{self.name}': scale {level} is not a whole number of 1 or more")

    def _reference(self, image: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
        if self.to_reference is not None:
            made = self._whole(self.to_reference(image.copy(), level), "uint8", "to_reference")
            return np.ascontiguousarray(made)
        height, width = (side // self.scale(level) * self.scale(level) for side in image.shape[:2])
        return image[:height, :width]

    def _degrade(self, reference: NDArray[np.uint8], level: int, rng: np.random.Generator | None) -> NDArray[Any]:
        # A copy: a function that writes into its image must not change the ground truth.
        drawn = [rng] if self.draws else []
        made = self._whole(self.function(reference.copy(), level, *drawn), self.returns, "the function")
        height, width = (side // self.scale(level) for side in reference.shape[:2])
        if made.shape[:2] != (height, width):
            raise InvalidArgumentError(
                f"degradation '{self.name}' made {made.shape[1]}x{made.shape[0]} pixels (width x height) of "
                f"{reference.shape[1]}x{reference.shape[0]}, and not {width}x{height}; with shrinks=True the input is "
                "smaller by the level"
            )
        return made

    def _whole(self, made: Any, dtype: str, whose: str) -> NDArray[Any]:
        """Check what a function returned."""
        if not isinstance(made, np.ndarray) or made.dtype != dtype:
            found = f"an array of {made.dtype}" if isinstance(made, np.ndarray) else f"a {type(made).__name__}"
            raise InvalidArgumentError(
                f"degradation '{self.name}': {whose} returned {found}; it must be an array of {dtype}"
                + (", or name another dtype with output=" if dtype == self.returns else "")
            )
        if made.ndim not in (2, 3) or made.shape[2:] not in ((), (3,)):
            raise InvalidArgumentError(
                f"degradation '{self.name}': {whose} returned shape {made.shape}; it is no image"
            )
        if not np.isfinite(made).all():
            raise InvalidArgumentError(f"degradation '{self.name}': {whose} returned NaN or infinity")
        return made


def degradation(
    name: str,
    *,
    version: int,
    summary: str = "",
    random: bool = False,
    output: Literal["uint8", "float64"] = "uint8",
    levels: tuple[int, ...] = (),
    shrinks: bool = False,
    reference: Callable[[NDArray[np.uint8], int], NDArray[np.uint8]] | None = None,
) -> Callable[[Degrade], Degrade]:
    """Define a degradation of one's own: the decorated function makes a method's input of a reference.

    Parameters
    ----------
    name : str
        Its name: lower-case letters, digits, ``-``.
    version : int
        To be raised with every change that changes what it makes.
    summary : str
        One sentence for readers.
    random : bool
        The function takes a third argument, a ``numpy.random.Generator`` of the image's own, and draws from it.
    output : {"uint8", "float64"}
        The dtype that it returns; floats are in units of 0..255 and may leave that range.
    levels : tuple of int
        The levels that have a meaning; empty: all.
    shrinks : bool
        The input is smaller than the reference by the level.
    reference : callable, optional
        ``reference(image, level)``: what a restored image is compared with; else the image itself.

    Raises
    ------
    HarnessError
        The name is no plain one or taken.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> @harness.degradation("darker", version=1, levels=(2, 4))
    ... def darker(reference, level):
    ...     return reference // level
    >>> harness.degrade(np.full((1, 3), 100, np.uint8), "darker", 4)
    array([[25, 25, 25]], dtype=uint8)
    """
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise InvalidArgumentError(f"degradation '{name}': the version is a whole number of 1 or more, not {version!r}")

    if text(output, f"degradation '{name}': output") not in ("uint8", "float64"):
        raise InvalidArgumentError(f"degradation '{name}': output={output!r}; write 'uint8' or 'float64'")
    text(summary, f"degradation '{name}': summary")
    known = several(levels, f"degradation '{name}': levels")
    if not all(type(level) is int for level in known):
        raise InvalidArgumentError(f"degradation '{name}': levels are whole numbers, not {list(known)}")
    if reference is not None and not callable(reference):
        raise InvalidArgumentError(f"degradation '{name}': reference is a function of image and level")

    def register(function: Degrade) -> Degrade:
        if not callable(function):
            raise InvalidArgumentError(f"degradation '{name}': harness.degradation stands above a function")
        DEGRADATIONS.define(
            Defined(
                name=name,
                version=version,
                summary=summary or f"{name}, a degradation of one's own",
                function=function,
                draws=random,
                returns=output,
                levels=known,
                shrinks=shrinks,
                to_reference=reference,
            )
        )
        return function

    return register
