"""The signature of a measurement: a protocol in a form that fits a caption, and the protocol read back from it.

``psnr-y-crop.1|b4|bt601-limited|unrounded`` has four parts: name and version of the protocol; pixels cut off each side;
the luma; how that is rounded. All but the border follow from the first part: they are there for readers who do not know
the names, and a signature whose parts contradict each other is refused.
"""

from __future__ import annotations

import re

from harness.errors import InvalidArgumentError, unknown_name
from harness.protocols.definitions import Protocol, protocol

_LUMAS = {
    "": ("all-channels", "unrounded"),
    "y": ("bt601-limited", "unrounded"),
    "y8": ("bt601-limited", "8-bit"),
    "yfull": ("bt601-full", "unrounded"),
    "yfull8": ("bt601-full", "8-bit"),
    "yiq": ("yiq", "unrounded"),
    "yiq8": ("yiq", "8-bit"),
}
"""Luma and rounding by the word of a protocol's name."""

_FORM = "psnr-y-crop.1|b4|bt601-limited|unrounded"
_FIRST = re.compile(r"(?P<name>[^.]+)\.(?P<version>[0-9]+(?:\.[0-9]+)*)", re.ASCII)
_BORDER = re.compile(r"b(?:(?P<pixels>0|[1-9][0-9]{0,4})|scale(?:\+[1-9][0-9]{0,3})?)", re.ASCII)


def signature(of: Protocol, scale: int | None = None) -> str:
    """Sign a measurement.

    Parameters
    ----------
    of : Protocol
        What was measured.
    scale : int, optional
        Scale of super-resolution, 1 elsewhere. None leaves a border that depends on it open (``bscale``), for a table
        of several scales.

    Returns
    -------
    str
        ``NAME.VERSION|bPIXELS|LUMA|ROUNDING``. The version is one number where all parts of the protocol have the same,
        else one for each part, in the order of the name.

    Raises
    ------
    InvalidArgumentError
        The scale is no whole number of 1 or more.

    Examples
    --------
    >>> from harness.protocols import protocol
    >>> from harness.protocols.signature import signature
    >>> signature(protocol("psnr-y-crop"), scale=4)
    'psnr-y-crop.1|b4|bt601-limited|unrounded'
    >>> signature(protocol("ssim-gauss-y8-crop+6"))
    'ssim-gauss-y8-crop+6.1|bscale+6|bt601-limited|8-bit'
    """
    if scale is not None and (isinstance(scale, bool) or not isinstance(scale, int) or scale < 1):
        raise InvalidArgumentError(f"scale {scale!r} is not a whole number of 1 or more")
    return "|".join((f"{of.name}.{_version(of)}", _border(of, scale), *_LUMAS[of.luma]))


def from_signature(text: str) -> tuple[Protocol, int | None]:
    """Read a signature back.

    Parameters
    ----------
    text : str
        What `signature` wrote.

    Returns
    -------
    Protocol
        What was measured.
    int or None
        The scale that its border stands for; None where the border depends on no scale, or leaves it open.

    Raises
    ------
    InvalidArgumentError
        A part is missing or unknown, two parts contradict each other, or the version is not that of this package, which
        then may give other digits.

    Examples
    --------
    >>> from harness.protocols.signature import from_signature
    >>> of, scale = from_signature("psnr-y-crop.1|b4|bt601-limited|unrounded")
    >>> of.name, scale
    ('psnr-y-crop', 4)
    """
    parts = text.strip().split("|")
    first = _FIRST.fullmatch(parts[0])
    if len(parts) != 4 or first is None:
        raise InvalidArgumentError(f"'{text}' is no signature of a measurement; one looks like {_FORM}")
    of = protocol(first["name"])
    if first["version"] != _version(of):
        raise InvalidArgumentError(
            f"'{text}' was measured with version {first['version']} of {of.name}, and this package has version "
            f"{_version(of)}, which may give other digits (docs/protocols.md)"
        )
    for what, given, known, right in zip(
        ("luma", "rounding"), parts[2:], map(set, zip(*_LUMAS.values(), strict=True)), _LUMAS[of.luma], strict=True
    ):
        if given not in known:
            raise unknown_name(f"{what} in '{text}'", given, sorted(known))
        if given != right:
            raise InvalidArgumentError(f"'{text}' contradicts itself: {of.name} has the {what} {right}, not {given}")
    border = _BORDER.fullmatch(parts[1])
    if border is None:
        raise InvalidArgumentError(f"'{parts[1]}' in '{text}' is no border; write b4 for 4 pixels, or bscale")
    scale = None
    if of.crop_scales and border["pixels"]:
        scale = max(int(border["pixels"]) - of.crop_pixels, 1)
    if parts[1] != _border(of, scale):
        raise InvalidArgumentError(
            f"'{text}' contradicts itself: the border of {of.name} is {_border(of, None)}, not {parts[1]}"
        )
    return of, scale


def _version(of: Protocol) -> str:
    # The parts of `of.version` are joined by hyphens, which names hold as well; digits after a point do not.
    versions = re.findall(r"\.([0-9]+)(?=-|$)", of.version)
    return versions[0] if len(set(versions)) == 1 else ".".join(versions)


def _border(of: Protocol, scale: int | None) -> str:
    if of.crop_scales and scale is None:
        return f"bscale+{of.crop_pixels}" if of.crop_pixels else "bscale"
    return f"b{of.border(scale or 1)}"
