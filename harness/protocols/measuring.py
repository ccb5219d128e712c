"""Measuring one pair of images by the name of a protocol."""

from __future__ import annotations

from typing import Any

from harness.errors import whole_number
from harness.metrics.samples import sample_pair
from harness.protocols.definitions import Protocol, protocol


def measure(
    reference: Any, restored: Any, name: str | Protocol = "psnr", scale: int = 1, *, data_range: float | None = None
) -> float:
    """Measure a restored image against its reference under a protocol.

    Parameters
    ----------
    reference, restored : array, tensor, Pillow image or path
        Of one height and width: `harness.metrics.samples`. The papers measured images of 8 bits:
        `harness.metrics.to_uint8`.
    name : str or Protocol
        A protocol or its name, such as ``"ssim-gauss-y8-crop"`` (`harness.protocol`).
    scale : int
        Scale of super-resolution; only the border that is cut depends on it.
    data_range : float, optional
        The sample value that is white, for floats: 1 or 255 as a rule. Whole numbers say it by their type.

    Returns
    -------
    float
        dB for PSNR (``inf`` for equal images); at most 1 for SSIM.

    Raises
    ------
    InvalidArgumentError
        The protocol is unknown, or the two arrays cannot be compared under it (`Protocol.measure`).

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> reference = np.tile(np.arange(0, 240, 10, np.uint8), (24, 1))
    >>> restored = reference + np.uint8(2)
    >>> round(harness.measure(reference, restored), 4)
    42.1102
    >>> round(harness.measure(reference, restored, "ssim-gauss-crop", scale=4), 4)
    0.9998
    """
    chosen = name if isinstance(name, Protocol) else protocol(name)
    return chosen.measure(*sample_pair(reference, restored, data_range), whole_number(scale, "scale", 1))
