"""The protocol object: how a restored image becomes a number, under a name that says it and a version that pins it."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError, unknown_name
from harness.metrics.alignment import Aligned, align, aligned_psnr, aligned_ssim
from harness.metrics.checks import check_image
from harness.metrics.luminance import luma_of
from harness.metrics.signal_noise import crop_border, mse, mse_of_psnr, psnr_of_mse
from harness.metrics.structural import SSIM_WINDOWS, ssim_within
from harness.protocols.own import OWN_METRICS, Better, Metric, better_of


class ProtocolWord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One word of a protocol's name.

    Attributes
    ----------
    name : str
        The word.
    version : int
        Rises whenever a change of the code changes what it yields; docs/protocols.md lists the changes.
    phrase : str
        What it means, as part of a sentence.
    """

    name: str
    version: int
    phrase: str


METRICS = {
    part.name: part
    for part in (
        ProtocolWord("psnr", 1, "PSNR in dB, peak 255, of the mean squared error over all samples"),
        *(
            ProtocolWord(f"ssim-{window.name}", window.version, f"SSIM, {window.description}")
            for window in SSIM_WINDOWS.values()
        ),
    )
}
"""The first part of a name: the metric, for SSIM with its window."""

_MATCHED = "after brightness and a homography are matched, over what both images show (RealBlur's own program)"

ALIGNED = {
    part.name: part
    for part in (
        ProtocolWord("psnr-aligned", 1, f"PSNR in dB, peak 255, {_MATCHED}"),
        ProtocolWord(
            "ssim-aligned", 1, f"SSIM, 11x11 Gaussian window of sigma 1.5, windows inside the image only, {_MATCHED}"
        ),
    )
}
"""Metrics of a pair that is aligned first; they are of the whole colour image and go with no luma and no border."""

_ALL_METRICS = {**METRICS, **ALIGNED}
OWN_METRICS.built_in = frozenset(_ALL_METRICS)

LUMAS = {
    part.name: part
    for part in (
        ProtocolWord("", 1, "of all channels"),
        ProtocolWord("y", 1, "of the unrounded MATLAB luma (16..235)"),
        ProtocolWord("y8", 1, "of the MATLAB luma (16..235) rounded to 8 bits"),
        ProtocolWord("yfull", 1, "of the unrounded full-range luma (rgb2gray, 0..255)"),
        ProtocolWord("yfull8", 1, "of the full-range luma (rgb2gray, 0..255) rounded to 8 bits"),
        ProtocolWord("yiq", 1, "of the unrounded luma of YIQ (0..255; the default of pyiqa's psnry)"),
        ProtocolWord("yiq8", 1, "of the luma of YIQ (0..255) rounded to 8 bits (the default of pyiqa's ssim)"),
    )
}
"""The second part: the luma, empty for all channels."""

_LUMA_ARGUMENTS: dict[str, tuple[Literal["none", "uint8"], Literal["matlab", "full", "yiq"]]] = {
    "y": ("none", "matlab"),
    "y8": ("uint8", "matlab"),
    "yfull": ("none", "full"),
    "yfull8": ("uint8", "full"),
    "yiq": ("none", "yiq"),
    "yiq8": ("uint8", "yiq"),
}

CROP_VERSION = 1
POOLED_VERSION = 1

_CROP = re.compile(r"crop(?:(?P<plus>\+)?(?P<pixels>[1-9][0-9]{0,3}))?")
_GRAMMAR = "<metric>[-<luma>][-<crop>][-pooled]"


class Protocol(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a restored image becomes a number.

    Attributes
    ----------
    metric : str
        A name of `METRICS`: ``psnr``, ``ssim-gauss``, ``ssim-8x8``, …; or of a plugin's (`harness.protocols.own`).
    luma : str
        A name of `LUMAS`; empty: all channels.
    crop_scales : int
        Border to cut, in multiples of the scale (0 or 1).
    crop_pixels : int
        Border to cut beyond that, in pixels.
    aggregation : {"mean", "pooled"}
        How a set's number is made of per-image values: their mean, or (PSNR only) the PSNR of the mean of their mean
        squared errors.
    """

    metric: str
    luma: str = ""
    crop_scales: int = 0
    crop_pixels: int = 0
    aggregation: Literal["mean", "pooled"] = "mean"

    def __post_init__(self) -> None:
        """Refuse combinations that have no name."""
        if self.metric not in _ALL_METRICS and self.metric not in OWN_METRICS:
            raise unknown_name("metric", self.metric, [*_ALL_METRICS, *OWN_METRICS])
        if self.luma not in LUMAS:
            raise unknown_name("luma", self.luma, [name for name in LUMAS if name])
        if self.crop_scales not in (0, 1) or not 0 <= self.crop_pixels <= 9999:
            raise InvalidArgumentError(
                f"a protocol cuts 0 or 1 scales and 0 to 9999 pixels, not {self.crop_scales} and {self.crop_pixels}"
            )
        if self.metric in ALIGNED and (self.luma or self.crop_scales or self.crop_pixels):
            raise InvalidArgumentError(
                f"'{self.metric}' is of the whole colour image; take neither a luma nor a border with it"
            )
        if self.own is not None:
            for what, wanted, goes in (
                ("luma", self.luma, self.own.luma),
                ("border", self.crop_scales or self.crop_pixels, self.own.crop),
            ):
                if wanted and not goes:
                    raise InvalidArgumentError(f"'{self.metric}' says that no {what} goes with it; leave it out")
        if self.aggregation == "pooled" and self.metric != "psnr":
            raise InvalidArgumentError(f"'{self.metric}' cannot be pooled over a set; only psnr has a pooled form")

    @property
    def name(self) -> str:
        """The name, such as ``ssim-gauss-y8-crop``; `protocol` reads it back."""
        return "-".join(word for word in (self.metric, self.luma, self._crop_word, self._aggregation_word) if word)

    @property
    def version(self) -> str:
        """The version, such as ``psnr.1-y.1-crop.1``: a number for each part, so a change shows where it counts."""
        parts = [f"{self.metric}.{(self.own or _ALL_METRICS[self.metric]).version}"]
        if self.luma:
            parts.append(f"{self.luma}.{LUMAS[self.luma].version}")
        if self._crop_word:
            parts.append(f"{self._crop_word}.{CROP_VERSION}")
        if self._aggregation_word:
            parts.append(f"{self._aggregation_word}.{POOLED_VERSION}")
        return "-".join(parts)

    @property
    def unit(self) -> str:
        """``dB`` for PSNR, empty for SSIM, what a plugin's metric says."""
        if self.own is not None:
            return self.own.unit
        return "dB" if self.metric.startswith("psnr") else ""

    @property
    def own(self) -> Metric | None:
        """The plugin's metric behind it; None for those of this package."""
        return OWN_METRICS.get(self.metric)

    @property
    def family(self) -> str:
        """The metric as columns of tables name it: ``psnr``, ``ssim``, or a plugin's own name."""
        return self.metric if self.own is not None else self.metric.split("-")[0]

    @property
    def better(self) -> Better:
        """Which values are better: ``higher`` or ``lower``."""
        return better_of(self.family)

    @property
    def of_set(self) -> bool:
        """Whether only the whole set has a value, and no single image."""
        return self.own is not None and self.own.of == "set"

    @property
    def _crop_word(self) -> str:
        if self.crop_scales:
            return f"crop+{self.crop_pixels}" if self.crop_pixels else "crop"
        return f"crop{self.crop_pixels}" if self.crop_pixels else ""

    @property
    def _aggregation_word(self) -> str:
        return "pooled" if self.aggregation == "pooled" else ""

    def border(self, scale: int = 1) -> int:
        """Pixels that are cut off all four sides at a scale."""
        return self.crop_scales * scale + self.crop_pixels

    def describe(self) -> str:
        """Say in one sentence what is measured.

        Examples
        --------
        >>> from harness.protocols import protocol
        >>> protocol("psnr-y-crop").describe()
        'PSNR in dB, peak 255, of the mean squared error over all samples; of the unrounded MATLAB luma (16..235); \
a border of scale pixels is cut; the mean of per-image values.'
        """
        if self.metric in ALIGNED:
            return f"{ALIGNED[self.metric].phrase}; of all channels; the mean of per-image values."
        if self.own is not None:
            unit = f" in {self.own.unit}" if self.own.unit else ""
            words = [f"{self.own.title}{unit} ({self.own.better} is better)", LUMAS[self.luma].phrase]
        else:
            words = [METRICS[self.metric].phrase, LUMAS[self.luma].phrase]
        if self.own is None and self.metric != "psnr" and not self.luma:
            whole = SSIM_WINDOWS[self.metric.removeprefix("ssim-")].across_channels
            words[1] = "of the colour image as one volume" if whole else "the mean over the channels"
        if self.crop_scales:
            plus = f" + {self.crop_pixels}" if self.crop_pixels else ""
            words.append(f"a border of scale{plus} pixels is cut")
        elif self.crop_pixels:
            words.append(f"a border of {self.crop_pixels} pixels is cut")
        else:
            words.append("no border is cut")
        words.append(
            "of the whole set, not per image"
            if self.of_set
            else "the mean of per-image values"
            if self.aggregation == "mean"
            else "over a set the PSNR of the mean of the images' mean squared errors"
        )
        return "; ".join(words) + "."

    def measure(self, reference: NDArray[Any], restored: NDArray[Any], scale: int = 1) -> float:
        """Measure one restored image.

        Parameters
        ----------
        reference : ndarray
            ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255; for super-resolution cropped to a
            multiple of the scale.
        restored : ndarray
            Of the same height and width; what the papers measured is 8-bit (`harness.metrics.to_uint8`). Under a luma
            protocol a one-channel restored image is compared with the reference's luma as it is, and a one-channel
            reference with a restored RGB image as an RGB image of three equal channels.
        scale : int
            Scale of super-resolution; only the border depends on it.

        Returns
        -------
        float
            dB for PSNR (``inf`` for equal images); at most 1 for SSIM.

        Raises
        ------
        InvalidArgumentError
            The sizes differ, the channels do not go together, an array is no image, holds NaN, or is too small for the
            border or the window.
        """
        return measure_many([self], reference, restored, scale)[self.name]

    def aggregate(self, values: Sequence[float], pixels: Sequence[int] | None = None) -> float:
        """Make a set's number of its per-image values.

        Parameters
        ----------
        values : sequence of float
            What `measure` returned, one per image.
        pixels : sequence of int, optional
            Only for ``pooled``: number of pixels per image, to pool all pixels of the set instead of giving each
            image the same weight.

        Returns
        -------
        float
            ``inf`` when one of several averaged PSNR values is infinite.

        Raises
        ------
        InvalidArgumentError
            There are no values, or not as many pixel counts as values.
        """
        if len(values) == 0:
            raise InvalidArgumentError(f"there is no value of '{self.name}' to average; measure at least one image")
        if self.aggregation == "mean":
            return math.fsum(values) / len(values) if all(map(math.isfinite, values)) else float(np.mean(values))
        weights = [1] * len(values) if pixels is None else list(pixels)
        if len(weights) != len(values):
            raise InvalidArgumentError(f"{len(values)} values of '{self.name}' came with {len(weights)} pixel counts")
        errors = (mse_of_psnr(value) * weight for value, weight in zip(values, weights, strict=True))
        return psnr_of_mse(math.fsum(errors) / sum(weights))

    def plane(self, image: NDArray[Any]) -> NDArray[Any]:
        """Make of an image what is compared: the luma, or the image as it is."""
        return luma_of(image, *_LUMA_ARGUMENTS[self.luma]) if self.luma else image


def protocol(name: str) -> Protocol:
    """Read a protocol's name: ``<metric>[-<luma>][-<crop>][-pooled]``.

    Parameters
    ----------
    name : str
        ``psnr``, ``ssim-gauss``, ``ssim-8x8``, … (`METRICS`); then ``y``, ``y8``, ``yfull``, … (`LUMAS`) or nothing
        for all channels; then ``crop`` (a border of scale pixels is cut), ``crop+6`` (scale + 6 pixels), ``crop6`` (6
        pixels whatever the scale) or nothing; then ``pooled`` (PSNR of the set's mean squared error) or nothing for
        the mean over images.

    Returns
    -------
    Protocol
        Its `name` is the name that was read.

    Raises
    ------
    InvalidArgumentError
        A part is unknown (near ones are named), stands twice or in the wrong place.

    Examples
    --------
    >>> import harness
    >>> harness.protocol("psnr-y-crop").border(scale=4)
    4
    >>> harness.protocol("psnr-yy")
    Traceback (most recent call last):
    harness.errors.InvalidArgumentError: unknown part of protocol 'psnr-yy' 'yy'; did you mean 'y'?
    """
    if not isinstance(name, str):
        raise InvalidArgumentError(
            f"a protocol is one name, such as 'psnr', or what harness.protocol gives, not a {type(name).__name__}; "
            "call once for each"
        )
    words = name.split("-")
    # "ssim-gauss-sample" before "ssim-gauss": the longest metric that the name begins with.
    known_metrics = _ALL_METRICS.keys() | OWN_METRICS.keys()
    length = next((n for n in range(len(words), 0, -1) if "-".join(words[:n]) in known_metrics), 0)
    if not length:
        two = words[0] == "ssim" or words[1:2] == ["aligned"]
        raise unknown_name("metric", "-".join(words[:2]) if two else words[0], known_metrics)
    fields: dict[str, Any] = {}
    for word in words[length:]:
        crop = _CROP.fullmatch(word)
        if word in LUMAS and word:
            found: dict[str, Any] = {"luma": word}
        elif crop:
            relative = crop["pixels"] is None or crop["plus"] is not None
            found = {"crop_scales": int(relative), "crop_pixels": int(crop["pixels"] or 0)}
        elif word == "pooled":
            found = {"aggregation": "pooled"}
        else:
            known = [*(luma for luma in LUMAS if luma), "crop", "crop+6", "crop6", "pooled"]
            raise unknown_name(f"part of protocol '{name}'", word, known)
        if found.keys() & fields.keys():
            raise InvalidArgumentError(f"protocol '{name}' has two parts of one kind; write {_GRAMMAR}")
        fields |= found
    result = Protocol("-".join(words[:length]), **fields)
    if result.name != name:
        raise InvalidArgumentError(
            f"protocol '{name}' has its parts in another order than {_GRAMMAR}; write '{result.name}'"
        )
    return result


def protocol_grid(
    metrics: Iterable[str] = tuple(METRICS),
    lumas: Iterable[str] = tuple(LUMAS),
    crops: Iterable[str] = ("", "crop", "crop+6"),
    aggregations: Iterable[str] = ("",),
) -> list[Protocol]:
    """List every protocol of a grid of parts, for an audit; combinations without meaning are left out.

    Parameters
    ----------
    metrics, lumas, crops, aggregations : iterable of str
        Words of names; the empty word means all channels, no crop, the mean over images.

    Returns
    -------
    list of Protocol
        In the order of the grid, the last axis fastest.
    """
    result = []
    for metric, *words in itertools.product(metrics, lumas, crops, aggregations):
        if "pooled" in words and metric != "psnr":
            continue
        result.append(protocol("-".join(word for word in (metric, *words) if word)))
    return result


def measure_many(
    protocols: Iterable[str | Protocol], reference: NDArray[Any], restored: NDArray[Any], scale: int = 1
) -> dict[str, float]:
    """Measure one restored image under several protocols; each luma and each SSIM map is computed once.

    Parameters
    ----------
    protocols : iterable of str or Protocol
        Names or objects.
    reference, restored, scale
        As for `Protocol.measure`.

    Returns
    -------
    dict
        Protocol name → value, in the order given; equal to the last bit to what `Protocol.measure` gives.

    Raises
    ------
    InvalidArgumentError
        As `Protocol.measure` and `protocol`.
    """
    wanted = [protocol(item) if isinstance(item, str) else item for item in protocols]
    check_image(reference, "reference")
    check_image(restored, "restored image")
    _check_sizes(reference, restored, scale)
    values: dict[str, float] = {}
    planes: dict[str, tuple[NDArray[Any], NDArray[Any]]] = {}
    groups: dict[tuple[str, str], list[Protocol]] = {}
    for item in wanted:
        groups.setdefault((item.luma, item.metric), []).append(item)
    aligned: Aligned | None = None
    for (word, metric), members in groups.items():
        if metric in ALIGNED:
            aligned = aligned or align(*planes_of(members[0], reference, restored))
            value = aligned_psnr(aligned) if metric.startswith("psnr") else aligned_ssim(aligned)
            values |= {member.name: value for member in members}
            continue
        if word not in planes:
            planes[word] = planes_of(members[0], reference, restored)
        x, y = planes[word]
        own = members[0].own
        if own is not None:
            if own.of == "set":
                raise InvalidArgumentError(
                    f"'{metric}' is of a whole set, not per image; a table's column takes it: metric: {metric}"
                )
            for member in members:
                values[member.name] = own(*own_inputs(member, x, y, scale))
            continue
        borders = sorted({member.border(scale) for member in members})
        if metric == "psnr":
            found = [psnr_of_mse(mse(crop_border(x, border), crop_border(y, border))) for border in borders]
        else:
            found = ssim_within(x, y, metric.removeprefix("ssim-"), borders)
        of_border = dict(zip(borders, found, strict=True))
        values |= {member.name: of_border[member.border(scale)] for member in members}
    return {item.name: values[item.name] for item in wanted}


def own_inputs(of: Protocol, x: NDArray[Any], y: NDArray[Any], scale: int) -> list[NDArray[Any]]:
    """Make what a plugin's metric takes of one image's planes: copies, which it may write into."""
    cut = [crop_border(plane, of.border(scale)).copy() for plane in (x, y)]
    return cut if of.own is None or of.own.reference else cut[1:]


def _check_sizes(reference: NDArray[Any], restored: NDArray[Any], scale: int) -> None:
    if isinstance(scale, bool) or scale != int(scale) or scale < 1:
        raise InvalidArgumentError(f"scale {scale} is not a whole number of 1 or more")
    height, width = reference.shape[:2]
    if restored.shape[:2] == (height, width):
        return
    hint = "restore it from the right input"
    if scale > 1 and restored.shape[:2] == (height // scale * scale, width // scale * scale):
        hint = f"crop the reference to a multiple of {scale} first"
    raise InvalidArgumentError(
        f"the restored image is {restored.shape[1]}x{restored.shape[0]} pixels, the reference {width}x{height}; {hint}"
    )


def planes_of(of: Protocol, reference: NDArray[Any], restored: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Make the two arrays that are compared, or say why these two images cannot be."""
    if reference.ndim == restored.ndim:
        return of.plane(reference), of.plane(restored)
    if not of.luma:
        kinds = {2: "one channel", 3: "three channels"}
        # No luma protocol is named: one of 16..235 gives 1.32 dB more, or compares two ranges.
        raise InvalidArgumentError(
            f"the restored image has {kinds[restored.ndim]} and the reference {kinds[reference.ndim]}; '{of.name}' "
            f"compares all channels: store the result as the {'gray' if reference.ndim == 2 else 'colour'} image that "
            "the reference is"
        )
    if reference.ndim == 2:
        # A gray ground truth that a colour network restored: both are RGB, or their lumas would differ in range.
        reference = reference[:, :, None].repeat(3, axis=2)
    return of.plane(reference), of.plane(restored)
