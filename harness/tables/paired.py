"""Whether one list of values is better than another of the same images: a paired bootstrap and a paired test.

Both take the images as a sample of those a reader cares about. How hard an image is stands in both of its values and
cancels in their difference; what remains is how the difference varies from image to image.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError

RESAMPLES = 10_000
CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
SEED = 0

ENUMERATED = 14
"""Up to so many images every pattern of signs is tried (16,384 of them); beyond, as many as `FLIPS` random ones."""

FLIPS = 9_999

FEW_IMAGES = 10
"""Fewer images than this say little about others; intervals over them are shown with a remark."""

# Drawing all resamples at once would take gigabytes for a set of thousands of images.
_CHUNK = 500


class Interval(msgspec.Struct, frozen=True):
    """Bounds of a bootstrap interval of a mean difference, over so many images that both have."""

    images: int
    low: float
    high: float
    resamples: int
    confidence: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the difference is more than the choice of images explains, at the interval's confidence."""
        return self.low > 0 or self.high < 0


def paired_bootstrap(
    before: Sequence[float] | NDArray[np.float64],
    after: Sequence[float] | NDArray[np.float64],
    *,
    resamples: int = RESAMPLES,
    seed: int = SEED,
) -> Interval:
    """Percentile bootstrap interval of the mean of ``after - before`` over images, widened for few images.

    Images are drawn with replacement, and each brings its own pair of values (Efron and Tibshirani, An Introduction to
    the Bootstrap, 1993, chapter 13): how hard an image is cancels, the choice of images remains. A plain percentile
    interval is too narrow by the factor that Student's t and n - 1 stand for; so the quantiles are taken farther out,
    at the normal distribution's probability beyond t * sqrt(n / (n - 1)) (the "expanded percentile interval" of
    Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 69, 2015). At 100 images that
    is 2.3 % and 97.7 % instead of 2.5 % and 97.5 %.

    `before`, `after`: Values of the same images in the same order; at least two, finite.
    Raises HarnessError: There are fewer than two pairs, or a value is infinite.
    """
    from scipy.special import ndtr, stdtrit

    difference = _differences(before, after)
    count = difference.size
    rng = np.random.default_rng(seed)
    even = np.full(count, 1 / count)
    means = np.concatenate(
        [rng.multinomial(count, even, size=size) @ difference / count for size in _chunks(resamples)]
    )
    beyond = float(ndtr(stdtrit(count - 1, (1 - CONFIDENCE) / 2) * np.sqrt(count / (count - 1))))
    low, high = np.quantile(means, [beyond, 1 - beyond])
    return Interval(count, float(low), float(high), resamples, CONFIDENCE)


def paired_t(
    before: Sequence[float] | NDArray[np.float64], after: Sequence[float] | NDArray[np.float64]
) -> tuple[float, float]:
    """Student's paired interval of the mean of ``after - before``, which holds for few images if they are normal.

    `before`, `after`: Values of the same images in the same order; at least two, finite.
    Returns: Its ends, at `CONFIDENCE`.
    Raises HarnessError: There are fewer than two pairs, or a value is infinite.

    >>> [round(end, 3) for end in paired_t([30.0, 31.0, 28.0], [30.1, 31.3, 28.2])]
    [-0.048, 0.448]
    """
    from scipy.special import stdtrit

    difference = _differences(before, after)
    half = stdtrit(difference.size - 1, (1 + CONFIDENCE) / 2) * difference.std(ddof=1) / np.sqrt(difference.size)
    return float(difference.mean() - half), float(difference.mean() + half)


def sign_flip_p(
    before: Sequence[float] | NDArray[np.float64], after: Sequence[float] | NDArray[np.float64], *, seed: int = SEED
) -> float:
    """Two-sided p-value of the mean difference, by flipping the signs of the differences (Fisher's paired test).

    If neither is better, each image's difference is as likely with one sign as with the other. p is the share of all
    patterns of signs whose mean is at least as far from 0 as the measured one: all 2^n of them up to `ENUMERATED`
    images, which makes it exact; beyond, `FLIPS` random ones and the measured one (Phipson and Smyth, Permutation
    P-values Should Never Be Zero, 2010). scipy.stats.permutation_test gives the same and takes twenty times as long.

    `before`, `after`: Values of the same images in the same order; at least two, finite.
    Returns: At least `p_floor` of as many images, at most 1.
    Raises HarnessError: There are fewer than two pairs, or a value is infinite.

    Five images, all better by something: the smallest p that five images can give.

    >>> sign_flip_p([30.0, 31.0, 28.0, 29.0, 33.0], [30.1, 31.3, 28.1, 29.2, 33.4])
    0.0625
    """
    difference = _differences(before, after)
    count = difference.size
    # Sums of the same numbers in another order differ in their last bits.
    bound = abs(float(difference.sum())) - 1e-12 * float(np.abs(difference).sum())
    if count <= ENUMERATED:
        patterns = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
        return float(np.mean(np.abs((2.0 * patterns - 1.0) @ difference) >= bound))
    rng = np.random.default_rng(seed)
    reached = 0
    for size in _chunks(FLIPS):
        signs = 2.0 * rng.integers(0, 2, size=(size, count), dtype=np.int8) - 1.0
        reached += int(np.sum(np.abs(signs @ difference) >= bound))
    return (reached + 1) / (FLIPS + 1)


def p_floor(images: int) -> float:
    """Give the smallest p-value that so many images can give: only the measured signs and their mirror are so far out.

    >>> p_floor(5), p_floor(6), p_floor(100)
    (0.0625, 0.03125, 0.0001)
    """
    return 2.0 ** (1 - images) if images <= ENUMERATED else 1 / (FLIPS + 1)


def _differences(
    before: Sequence[float] | NDArray[np.float64], after: Sequence[float] | NDArray[np.float64]
) -> NDArray[np.float64]:
    difference = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    if difference.ndim != 1 or difference.size < 2 or not np.isfinite(difference).all():
        raise HarnessError("a paired comparison needs two finite values or more on both sides")
    return difference


def _chunks(total: int) -> Iterator[int]:
    for start in range(0, total, _CHUNK):
        yield min(_CHUNK, total - start)
