"""The kinds of degradation: from ground truth to the reference that is measured against, and to a method's input."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.degradations.colour import rgb2gray
from harness.degradations.jpeg import jpeg
from harness.degradations.matlab_noise import matlab_awgn
from harness.degradations.mosaic import bayer_mosaic
from harness.degradations.noise import awgn
from harness.degradations.resize import imresize, modcrop
from harness.errors import InvalidArgumentError
from harness.metrics.checks import check_image
from harness.metrics.luminance import luma_of
from harness.metrics.quantization import to_uint8


class Degradation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What turns a ground-truth image into an input, under one name and version.

    Attributes
    ----------
    name : str
        Name in task records, rows and pipelines.
    version : int
        Rises whenever a change of the code changes its output.
    level_name : str
        What a level is: ``sigma`` in units of 0..255, ``quality`` 1..100, ``scale`` 1, 2, …; empty where the only
        level is 0.
    summary : str
        One sentence for readers.
    evidence : str
        What was measured that ties it to published inputs or numbers; empty for variants that only audits use.
    """

    name: str
    version: int
    summary: str
    evidence: str = ""

    level_name: ClassVar[str] = ""

    @property
    def random(self) -> bool:
        """Whether `degrade` needs a random generator, and so has draws."""
        return False

    @property
    def output(self) -> str:
        """The dtype that `degrade` returns: ``uint8`` or ``float64`` (units of 0..255)."""
        return "uint8"

    def scale(self, level: int) -> int:
        """By how much the input is smaller than the reference (1 except for super-resolution)."""
        return 1

    def reference(self, image: NDArray[Any], level: int) -> NDArray[np.uint8]:
        """Make of a ground-truth image what a restored image is compared with.

        Parameters
        ----------
        image : ndarray
            ``(H, W, 3) uint8`` RGB or ``(H, W) uint8`` gray ground truth.
        level : int
            Level of the task.

        Returns
        -------
        ndarray of uint8
            The same image, its gray or luma version, or its part that a scale divides.

        Raises
        ------
        InvalidArgumentError
            The image is not uint8, or the level has no meaning here.
        """
        self._check(image, level)
        return self._reference(image, level)

    def degrade(self, reference: NDArray[Any], level: int, rng: np.random.Generator | None = None) -> NDArray[Any]:
        """Make the input of a restoration method.

        Parameters
        ----------
        reference : ndarray
            What `reference` returned.
        level : int
            Level of the task.
        rng : numpy.random.Generator, optional
            From `harness.degradations.noise_generator`; needed where `random` is true.

        Returns
        -------
        ndarray
            uint8 or float64 in units of 0..255, see `output`.

        Raises
        ------
        InvalidArgumentError
            The image is not uint8, the level has no meaning here, or the generator is missing.
        """
        self._check(reference, level)
        if self.random and rng is None:
            raise InvalidArgumentError(
                f"degradation '{self.name}' is random; give it a generator from noise_generator(…)"
            )
        return self._degrade(reference, level, rng)

    def _check(self, image: NDArray[Any], level: int) -> None:
        check_image(image)
        if image.dtype != np.uint8:
            raise InvalidArgumentError(f"degradation '{self.name}' starts from 8-bit images, not {image.dtype}")
        self._check_level(level)

    def _check_level(self, level: int) -> None:
        if level != 0:
            raise InvalidArgumentError(f"degradation '{self.name}' has one level only, 0, and no level {level}")

    def _reference(self, image: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
        return image

    def _degrade(self, reference: NDArray[np.uint8], level: int, rng: np.random.Generator | None) -> NDArray[Any]:
        raise NotImplementedError


class Noise(Degradation, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """White Gaussian noise.

    Attributes
    ----------
    stored : {"float", "clipped", "8bit", "truncated"}
        ``"float"``: as drawn; ``"clipped"``: float64, clipped to 0..255; ``"8bit"``: rounded and clipped to uint8;
        ``"truncated"``: clipped, and the fraction dropped, to uint8.
    gray : {"", "rgb2gray", "luma"}
        How a colour ground truth becomes gray; empty: it stays in colour. Gray images stay as they are.
    drawn : {"independent", "matlab-seed-0"}
        Whether each image has a stream of its own for each draw, or the one field of MATLAB's ``randn('seed', 0)``.
    """

    stored: Literal["float", "clipped", "8bit", "truncated"]
    gray: Literal["", "rgb2gray", "luma"] = ""
    drawn: Literal["independent", "matlab-seed-0"] = "independent"

    level_name: ClassVar[str] = "sigma"

    @property
    def random(self) -> bool:
        """Whether `degrade` needs a random generator, and so has draws."""
        return self.drawn == "independent"

    @property
    def output(self) -> str:
        """The dtype that `degrade` returns: ``uint8`` or ``float64`` (units of 0..255)."""
        return "float64" if self.stored in ("float", "clipped") else "uint8"

    def _check_level(self, level: float) -> None:
        if not 0 <= level < float("inf"):
            raise InvalidArgumentError(f"degradation '{self.name}': sigma {level} is not a number of 0 or more")

    def _reference(self, image: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
        if self.gray == "rgb2gray":
            return rgb2gray(image)
        return luma_of(image, "uint8") if self.gray == "luma" else image

    def _degrade(self, reference: NDArray[np.uint8], level: int, rng: np.random.Generator | None) -> NDArray[Any]:
        if self.drawn == "independent":
            assert rng is not None
            noisy = awgn(reference, level, rng)
        else:
            single = matlab_awgn(reference, level)
            # Units of 0..255 are exact where the sample stays float; MATLAB makes 8 bits of single precision.
            noisy = (
                single.astype(np.float64) * 255
                if self.output == "float64"
                else (single * np.float32(255)).astype(float)
            )
        if self.stored == "clipped":
            return np.clip(noisy, 0, 255, out=noisy)
        if self.stored == "float":
            return noisy
        return to_uint8(noisy, "round" if self.stored == "8bit" else "truncate")


class Mosaic(Degradation, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Bayer colour filter array.

    Attributes
    ----------
    pattern : {"GRBG", "RGGB", "BGGR", "GBRG"}
        Filters of the 2x2 cell, row by row.
    """

    pattern: Literal["GRBG", "RGGB", "BGGR", "GBRG"]

    def _degrade(self, reference: NDArray[np.uint8], level: int, rng: np.random.Generator | None) -> NDArray[Any]:
        return bayer_mosaic(reference, self.pattern)


class Jpeg(Degradation, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Baseline JPEG there and back.

    Attributes
    ----------
    source : {"y8", "y-truncated", "rgb2gray", "rgb"}
        What of a colour image is encoded: its luma rounded or truncated to 8 bits, its full-range gray, or itself.
    """

    source: Literal["y8", "y-truncated", "rgb2gray", "rgb"]

    level_name: ClassVar[str] = "quality"

    def _check_level(self, level: int) -> None:
        if level != int(level) or not 1 <= level <= 100:
            raise InvalidArgumentError(
                f"degradation '{self.name}': JPEG quality {level} is not a whole number in 1..100"
            )

    def _reference(self, image: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
        if self.source == "rgb" or image.ndim == 2:
            return image
        if self.source == "rgb2gray":
            return rgb2gray(image)
        return luma_of(image, "uint8") if self.source == "y8" else to_uint8(luma_of(image), "truncate")

    def _degrade(self, reference: NDArray[np.uint8], level: int, rng: np.random.Generator | None) -> NDArray[Any]:
        return jpeg(reference, level)


class Bicubic(Degradation, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """MATLAB's bicubic reduction with antialiasing of the ground truth cropped to a multiple of the scale.

    A gray image (Set14's ``bridge``) becomes RGB with three equal channels where colour images are reduced, as the
    authors' programs do; its luma is then 16..235. Released weights prove it: LapSRN's Set14 x2 is 33.09 dB so, printed
    33.08, and 32.99 otherwise.

    Attributes
    ----------
    border : {"replicate", "symmetric"}
        Border rule of `imresize`.
    source : {"rgb", "y8"}
        Whether the colour image or its rounded luma is reduced (and is the reference).
    stored : {"uint8", "float64"}
        Whether the result is 8-bit (rounded after each axis) or float64.
    """

    border: Literal["replicate", "symmetric"]
    source: Literal["rgb", "y8"] = "rgb"
    stored: Literal["uint8", "float64"] = "uint8"

    level_name: ClassVar[str] = "scale"

    @property
    def output(self) -> str:
        """The dtype that `degrade` returns: ``uint8`` or ``float64`` (units of 0..255)."""
        return self.stored

    def scale(self, level: int) -> int:
        """By how much the input is smaller than the reference: the level itself."""
        return int(level)

    def _check_level(self, level: int) -> None:
        if level != int(level) or level < 1:
            raise InvalidArgumentError(f"degradation '{self.name}': scale {level} is not a whole number of 1 or more")

    def _reference(self, image: NDArray[np.uint8], level: int) -> NDArray[np.uint8]:
        cropped = modcrop(image, level)
        if self.source == "y8":
            return luma_of(cropped, "uint8")
        return cropped if cropped.ndim == 3 else np.repeat(cropped[:, :, None], 3, axis=2)

    def _degrade(self, reference: NDArray[np.uint8], level: int, rng: np.random.Generator | None) -> NDArray[Any]:
        return imresize(reference.astype(self.stored, copy=False), 1 / level, border=self.border)


class Pairs(Degradation, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing is made: the dataset holds an input for each ground truth."""

    def _degrade(self, reference: NDArray[np.uint8], level: int, rng: np.random.Generator | None) -> NDArray[Any]:
        raise InvalidArgumentError(
            "the inputs of paired data are read, not made; take read_input(image_id) of the dataset"
        )
