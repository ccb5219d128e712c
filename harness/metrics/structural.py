"""Structural similarity (Wang et al., 2004) in the variants that papers mix.

All variants are the same formula over local means, variances and the covariance; they differ in the window, in what
happens at the border, and in what is done before. The local sums are taken stripe by stripe, in flat arrays that stay
in the processor's cache, from four filtered sums instead of five: the formula needs the two variances only as their
sum. Every sample goes through the same additions whatever the stripes are, so the result does not depend on them.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError, text, unknown_name
from harness.metrics.checks import check_pair
from harness.metrics.samples import sample_pair
from harness.metrics.signal_noise import PEAK, crop_border

# Wang et al., "Image quality assessment: from error visibility to structural similarity", IEEE TIP 2004, section III-B;
# the defaults of ssim_index.m, of MATLAB's ssim() and of scikit-image, as is a dynamic range of 255.
K1, K2 = 0.01, 0.03

_STRIPE_SAMPLES = 12288
_STRIPE_ROWS = 8


class SsimWindow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One variant of SSIM.

    Attributes
    ----------
    name : str
        Name in protocols, as in ``ssim-gauss``.
    version : int
        Rises whenever a change of the code changes its values.
    kernel : {"gauss", "uniform"}
        Weights of the window.
    size : int
        Width and height of the window in pixels.
    sigma : float
        Standard deviation of the Gaussian in pixels; 0 for a uniform window.
    padding : {"valid", "replicate"}
        ``"valid"``: only windows that lie inside the image; ``"replicate"``: border pixels are repeated, so the map
        has the size of the image.
    sample_covariance : bool
        Whether variances are divided by N - 1 instead of N (N pixels in the window).
    downsampled : bool
        Whether both images are averaged and thinned by ``round(min(H, W) / 256)`` first.
    across_channels : bool
        Whether the window also spans the colour channels (a volume) instead of one channel at a time.
    dynamic_range : float
        What the formula's constants are fractions of, in units of 0..255.
    description : str
        What it is and who uses it, for readers.
    """

    name: str
    version: int
    kernel: Literal["gauss", "uniform"]
    size: int
    description: str
    sigma: float = 0.0
    padding: Literal["valid", "replicate"] = "valid"
    sample_covariance: bool = False
    downsampled: bool = False
    across_channels: bool = False
    dynamic_range: float = PEAK

    @property
    def constants(self) -> tuple[float, float]:
        """The formula's C1 and C2, which keep it from dividing by nothing; samples are in units of 0..255."""
        return (K1 * self.dynamic_range) ** 2, (K2 * self.dynamic_range) ** 2

    @property
    def covariance_factor(self) -> float:
        """N / (N - 1) for a sample covariance, otherwise 1."""
        return self.size**2 / (self.size**2 - 1) if self.sample_covariance else 1.0


SSIM_WINDOWS = {
    window.name: window
    for window in (
        SsimWindow(
            "gauss",
            1,
            "gauss",
            11,
            "11x11 Gaussian window of sigma 1.5, windows inside the image only (Wang's ssim_index.m)",
            sigma=1.5,
        ),
        SsimWindow("8x8", 1, "uniform", 8, "8x8 uniform window, windows inside the image only"),
        SsimWindow(
            "skimage",
            1,
            "uniform",
            7,
            "7x7 uniform window with sample covariance (the defaults of scikit-image's structural_similarity)",
            sample_covariance=True,
        ),
        # scikit-image took the range of floating-point samples for [-1, 1] where none was named, until version 0.20
        # made that an error (its issue 6602). On images in [0, 1] the constants are then four times too large.
        SsimWindow(
            "skimage-range2",
            1,
            "uniform",
            7,
            "scikit-image's defaults on images in [0, 1] whose range nobody named: taken for 2, before version 0.20",
            sample_covariance=True,
            dynamic_range=2 * PEAK,
        ),
        SsimWindow(
            "gauss-sample",
            1,
            "gauss",
            11,
            "11x11 Gaussian window of sigma 1.5 with sample covariance (scikit-image with gaussian_weights=True alone)",
            sigma=1.5,
            sample_covariance=True,
        ),
        SsimWindow(
            "toolbox",
            1,
            "gauss",
            11,
            "11x11 Gaussian window of sigma 1.5, border repeated, mean of the map (MATLAB's ssim() on one channel)",
            sigma=1.5,
            padding="replicate",
        ),
        SsimWindow(
            "volume",
            1,
            "gauss",
            11,
            "11x11x11 Gaussian window of sigma 1.5 that spans the channels, border repeated (MATLAB's ssim() on RGB)",
            sigma=1.5,
            padding="replicate",
            across_channels=True,
        ),
        SsimWindow(
            "downsampled",
            1,
            "gauss",
            11,
            "images averaged and thinned by round(min(H, W) / 256), then the 11x11 Gaussian window (Wang's ssim.m)",
            sigma=1.5,
            downsampled=True,
        ),
    )
}
"""The SSIM variants by name."""


def ssim_window(name: str) -> SsimWindow:
    """Look an SSIM variant up by name; an unknown name raises InvalidArgumentError with the nearest known ones."""
    try:
        return SSIM_WINDOWS[text(name, "the SSIM window")]
    except KeyError:
        raise unknown_name("SSIM window", name, SSIM_WINDOWS) from None


def ssim(reference: Any, image: Any, window: str = "gauss", *, data_range: float | None = None) -> float:
    """Mean structural similarity of two images (Wang et al. 2004, equation 13); RGB: the mean of the three channels.

    Parameters
    ----------
    reference, image : array, tensor, Pillow image or path
        Of one size and kind: `harness.metrics.samples`.
    window : str
        A name of `SSIM_WINDOWS`; ``"gauss"`` is what most papers call SSIM.
    data_range : float, optional
        The sample value that is white, for floats: 1 or 255 as a rule. Whole numbers say it by their type.

    Returns
    -------
    float
        At most 1, and 1 only for equal images; symmetric in the two images.

    Raises
    ------
    InvalidArgumentError
        The shapes differ, a dtype is neither uint8 nor float64, a sample is NaN or infinite, the image is smaller
        than the window, the window is unknown, or floats come without `data_range`.

    Examples
    --------
    >>> import numpy as np
    >>> import harness
    >>> ramp = np.tile(np.arange(0, 240, 10, np.uint8), (24, 1))
    >>> harness.ssim(ramp, ramp)
    1.0
    >>> round(harness.ssim(ramp, ramp[:, ::-1]), 4), round(harness.ssim(ramp, ramp[:, ::-1], "8x8"), 4)
    (-0.6133, -0.6466)
    """
    return ssim_within(*sample_pair(reference, image, data_range), window)[0]


def ssim_within(
    reference: NDArray[Any], image: NDArray[Any], window: str = "gauss", borders: Sequence[int] = (0,)
) -> list[float]:
    """SSIM of two images after each of several borders is cut, for little more than the price of one.

    Where the window stays inside the image, the map of the cropped images is the cropped map: one map serves all
    borders.

    Parameters
    ----------
    reference, image : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255, of one shape.
    window : str
        A name of `SSIM_WINDOWS`.
    borders : sequence of int
        Pixels cut off all four sides, one number per result.

    Returns
    -------
    list of float
        Equal, to the last bit, to `ssim` of the cropped images.

    Raises
    ------
    InvalidArgumentError
        As `ssim`; also when a border leaves nothing.
    """
    of = ssim_window(window)
    check_pair(reference, image)
    if of.padding == "valid" and not of.downsampled:
        return _mean_of_map(reference, image, of, borders)
    results = []
    for border in borders:
        pair = (crop_border(reference, border), crop_border(image, border))
        if of.downsampled:
            pair = (_thinned(pair[0]), _thinned(pair[1]))
        if of.padding == "replicate":
            pair = (_replicated(pair[0], of.size // 2), _replicated(pair[1], of.size // 2))
        results += _mean_of_map(*pair, of, (0,))
    return results


def _mean_of_map(x: NDArray[Any], y: NDArray[Any], of: SsimWindow, borders: Sequence[int]) -> list[float]:
    """Average the map of the windows inside the images, over what each border leaves of it."""
    height, width = x.shape[:2]
    for border in borders:
        left = crop_border(x, border).shape[:2]
        if min(left) < of.size:
            cut = f" after a border of {border} pixels is cut" if border else ""
            raise InvalidArgumentError(
                f"an image of {left[1]}x{left[0]} pixels{cut} is smaller than the {of.size}x{of.size} window of SSIM; "
                "use a larger image"
            )
    channels = 1 if x.ndim == 2 else x.shape[2]
    line = width * channels
    map_height, map_line = height - of.size + 1, line - (of.size - 1) * channels
    flat_x, flat_y = np.ascontiguousarray(x).reshape(-1), np.ascontiguousarray(y).reshape(-1)
    # Sums of 64 products of two bytes fit 32 bits: the uniform windows are exact on 8-bit images, and fast.
    whole = of.kernel == "uniform" and x.dtype == np.uint8 and y.dtype == np.uint8
    rows = max(_STRIPE_ROWS, _STRIPE_SAMPLES // line)
    stripe = _Stripe((rows + of.size - 1) * line, line, channels, of, np.dtype(np.int32 if whole else np.float64))
    sums: list[list[float]] = [[] for _ in borders]
    for top in range(0, map_height, rows):
        count = min(rows, map_height - top)
        part = slice(top * line, (top + count + of.size - 1) * line)
        block = stripe.similarity(flat_x[part], flat_y[part], count)[:, :map_line]
        for border, into in zip(borders, sums, strict=True):
            first, last = max(border - top, 0), min(map_height - border - top, count)
            if first < last:
                inner = block[first:last, border * channels : map_line - border * channels]
                into.extend(inner.sum(axis=1).tolist())
    areas = [(map_height - 2 * border) * (map_line - 2 * border * channels) for border in borders]
    return [math.fsum(into) / area for into, area in zip(sums, areas, strict=True)]


class _Stripe:
    """The buffers of one stripe of rows, and the similarity computed in them.

    Rows lie one behind the other, channels interleaved: a step down is `line` samples, a step right is `channels`
    samples, and every operation runs over one long array. What wraps around at the end of a row is computed and never
    read.
    """

    def __init__(self, samples: int, line: int, channels: int, of: SsimWindow, dtype: np.dtype[Any]) -> None:
        self.line, self.channels, self.of = line, channels, of
        self.moments = np.empty((4, samples), dtype)
        self.scratch = np.empty((4, samples), dtype)
        self.local = np.empty((4, samples), np.float64)
        self.means = np.empty(samples, np.float64)

    def similarity(self, x: NDArray[Any], y: NDArray[Any], count: int) -> NDArray[np.float64]:
        """Compute `count` rows of the map; the samples behind the last window of a row mean nothing."""
        of, samples = self.of, x.size
        moments = self.moments[:, :samples]
        squares = self.scratch[0, :samples]
        moments[0], moments[1] = x, y
        np.multiply(moments[0], moments[0], out=moments[2])
        np.multiply(moments[1], moments[1], out=squares)
        moments[2] += squares
        np.multiply(moments[0], moments[1], out=moments[3])
        rows = count * self.line
        valid = rows - (of.size - 1) * self.channels
        local = self.local[:, :valid]
        if of.kernel == "gauss":
            taps = _gaussian(of.size, of.sigma)
            vertical = self.scratch[:, :rows]
            _weigh(moments, vertical, self.line, taps)
            _weigh(vertical, local, self.channels, taps)
            # `_weigh` leaves out the centre's weight, once per direction.
            local *= taps[of.size // 2] ** 2
        else:
            np.multiply(_box(_box(moments, self.line, of.size), self.channels, of.size), 1 / of.size**2, out=local)
        if of.across_channels and self.channels > 1:
            local[:] = _across_channels(local, self.channels, of)
        _formula(local, self.means[:valid], of)
        result: NDArray[np.float64] = self.local[3, :rows].reshape(count, self.line)
        return result


def _formula(local: NDArray[np.float64], means: NDArray[np.float64], of: SsimWindow) -> None:
    """Turn local means of x, y, x² + y² and x y into SSIM (Wang et al. 2004, equation 13), in the last row."""
    factor, (c1, c2) = of.covariance_factor, of.constants
    x, y, squares, product = local
    np.multiply(x, y, out=means)
    x *= x
    y *= y
    x += y
    product -= means
    product *= 2 * factor
    product += c2
    means *= 2
    means += c1
    product *= means
    squares -= x
    if factor != 1:
        squares *= factor
    squares += c2
    x += c1
    squares *= x
    product /= squares


@functools.cache
def _gaussian(size: int, sigma: float) -> tuple[float, ...]:
    """Weights of a Gaussian window that sum to 1 (MATLAB fspecial("gaussian"))."""
    # Decimal, because the last bit of the C library's exponential depends on the machine, and with it every SSIM.
    taps = [(-(Decimal(i - size // 2) ** 2) / (2 * Decimal(sigma) ** 2)).exp() for i in range(size)]
    return tuple(float(tap / sum(taps)) for tap in taps)


def _weigh(source: NDArray[np.float64], out: NDArray[np.float64], step: int, taps: tuple[float, ...]) -> None:
    """Correlate with a symmetric window along one direction, relative to the weight of its centre (Horner's scheme)."""
    middle, length = len(taps) // 2, out.shape[1]

    def shifted(tap: int) -> NDArray[np.float64]:
        return source[:, tap * step : tap * step + length]

    np.add(shifted(0), shifted(2 * middle), out=out)
    for tap in range(1, middle):
        out *= taps[tap - 1] / taps[tap]
        out += shifted(tap)
        out += shifted(2 * middle - tap)
    out *= taps[middle - 1] / taps[middle]
    out += shifted(middle)


def _box(source: NDArray[Any], step: int, size: int) -> NDArray[Any]:
    """Sum `size` neighbours along one direction by doubling: 8 takes three additions."""
    length = source.shape[1] - (size - 1) * step
    power, width, covered = source, 1, 0
    result: NDArray[Any] | None = None
    while True:
        if size & width:
            part = power[:, covered * step : covered * step + length]
            result = part if result is None else result + part
            covered += width
        if 2 * width > size:
            break
        reach = power.shape[1] - width * step
        power = power[:, :reach] + power[:, width * step :]
        width *= 2
    assert result is not None
    return result


def _across_channels(local: NDArray[np.float64], channels: int, of: SsimWindow) -> NDArray[np.float64]:
    """Extend a window over the channels, the outer channels repeated beyond the ends."""
    reach = of.size // 2
    mix = np.zeros((channels, channels))
    for to in range(channels):
        for i, tap in enumerate(_gaussian(of.size, of.sigma)):
            mix[to, min(max(to + i - reach, 0), channels - 1)] += tap
    planes = local.reshape(4, -1, channels)
    return np.stack([sum(planes[:, :, c] * mix[to, c] for c in range(channels)) for to in range(channels)], -1).reshape(
        4, -1
    )


def _replicated(image: NDArray[Any], reach: int) -> NDArray[Any]:
    """Repeat the border pixels (MATLAB imgaussfilt, Padding "replicate")."""
    return np.pad(image, [(reach, reach), (reach, reach), (0, 0)][: image.ndim], mode="edge")


def _thinned(image: NDArray[Any]) -> NDArray[np.float64]:
    """Average over f x f pixels and keep every f-th, f = max(1, round(min(H, W) / 256)) (Wang's ssim.m).

    As ``imfilter(image, ones(f) / f^2, "symmetric", "same")`` and ``image(1:f:end, 1:f:end)``.
    """
    factor = max(1, math.floor(min(image.shape[:2]) / 256 + 0.5))
    before, after = (factor - 1) // 2, factor // 2
    padded = np.pad(
        image.astype(np.float64), [(before, after), (before, after), (0, 0)][: image.ndim], mode="symmetric"
    )
    height, width = image.shape[:2]
    total = np.zeros((-(-height // factor), -(-width // factor), *image.shape[2:]))
    for down, right in itertools.product(range(factor), repeat=2):
        total += padded[down : down + height : factor, right : right + width : factor]
    total /= factor**2
    return total
