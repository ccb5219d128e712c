"""Additive white Gaussian noise from streams that are the same on every machine and under every version of numpy.

Why the normal deviates are made here and not by numpy. ``Generator.standard_normal`` may change between releases
(numpy's stream policy, NEP 19, allows it), and so may the seeding of anything that a library derives from it.
``RandomState`` is frozen, but computes with the C library's logarithm, whose last bit differs between platforms. What
numpy does promise for ever is the raw 64-bit stream of a bit generator with a given key. Everything after that is
done in this module with additions, multiplications, divisions and square roots only, which IEEE 754 rounds in one
way: the noise is the same to the last bit on every platform, and a test pins its SHA-256.
"""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.degradations.logarithm import log, polynomial
from harness.errors import InvalidArgumentError
from harness.metrics.checks import check_image
from harness.metrics.quantization import to_uint8

_BLOCK_SAMPLES = 16384

# Wichura, "Algorithm AS 241: The percentage points of the normal distribution", Applied Statistics 37 (1988), routine
# PPND16 (relative accuracy about 1e-16): coefficients of a numerator and a denominator, constant term first.
_CENTRE = (
    (
        3.3871328727963666080e0,
        1.3314166789178437745e2,
        1.9715909503065514427e3,
        1.3731693765509461125e4,
        4.5921953931549871457e4,
        6.7265770927008700853e4,
        3.3430575583588128105e4,
        2.5090809287301226727e3,
    ),
    (
        1.0,
        4.2313330701600911252e1,
        6.8718700749205790830e2,
        5.3941960214247511077e3,
        2.1213794301586595867e4,
        3.9307895800092710610e4,
        2.8729085735721942674e4,
        5.2264952788528545610e3,
    ),
)
_MIDDLE = (
    (
        1.42343711074968357734e0,
        4.63033784615654529590e0,
        5.76949722146069140550e0,
        3.64784832476320460504e0,
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (
        1.0,
        2.05319162663775882187e0,
        1.67638483018380384940e0,
        6.89767334985100004550e-1,
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_TAIL = (
    (
        6.65790464350110377720e0,
        5.46378491116411436990e0,
        1.78482653991729133580e0,
        2.96560571828504891230e-1,
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (
        1.0,
        5.99832206555887937690e-1,
        1.36929880922735805310e-1,
        1.48753612908506148525e-2,
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def noise_generator(dataset: str, image_id: str, level: float, seed: int) -> np.random.Generator:
    """Open the noise stream of one image of one dataset at one level under one seed.

    Streams of different images, datasets, levels or seeds are independent: each has its own 128-bit key of the
    counter-based generator Philox, cut from the SHA-256 of the four.

    Parameters
    ----------
    dataset, image_id : str
        As in the registry, such as ``"kodak24"`` and ``"kodim01"``.
    level : float
        Noise level; 50 and 50.0 are the same stream.
    seed : int
        Number of the draw.

    Returns
    -------
    numpy.random.Generator
        At the start of its stream; for `awgn` and `awgn_8bit`.
    """
    return _generator("independent", dataset, image_id, format(float(level), ".12g"), str(int(seed)))


def _generator(*words: str) -> np.random.Generator:
    # A length before each word: ("a", "bc") and ("ab", "c") must not meet.
    text = "".join(f"{len(word.encode())}:{word}" for word in words)
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:16], "little")
    return np.random.Generator(np.random.Philox(key=key))


def standard_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw normal deviates of mean 0 and standard deviation 1, the same on every machine.

    One raw 64-bit number a deviate, through the inverse of the normal distribution function (Wichura 1988, AS 241).

    Parameters
    ----------
    rng : numpy.random.Generator
        With a bit generator of 64-bit output: Philox (`noise_generator`), PCG64, PCG64DXSM or SFC64.
    shape : tuple of int
        Shape of the result, filled in row-major order.

    Returns
    -------
    ndarray of float64
        All between -8.3 and 8.3.

    Raises
    ------
    InvalidArgumentError
        The generator is of another kind (its raw output has 32 bits).
    """
    if not isinstance(rng, np.random.Generator) or isinstance(rng.bit_generator, np.random.MT19937):
        raise InvalidArgumentError(
            "noise needs a numpy Generator of 64-bit output; take harness.degradations.noise_generator"
        )
    result = np.empty(math.prod(shape))
    for start in range(0, result.size, _BLOCK_SAMPLES):
        block = result[start : start + _BLOCK_SAMPLES]
        raw = rng.bit_generator.random_raw(block.size)
        # 52 bits and a half: exact in float64, symmetric about 1/2, never 0 or 1.
        uniform = (np.asarray(raw, dtype=np.uint64) >> np.uint64(12)).astype(np.float64)
        uniform += 0.5
        uniform *= 2.0**-52
        _inverse_normal(uniform, block)
    return result.reshape(shape)


def awgn(image: NDArray[Any], sigma: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Add white Gaussian noise, neither rounded nor clipped.

    Parameters
    ----------
    image : ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8 or float64 in units of 0..255.
    sigma : float
        Standard deviation in units of 0..255.
    rng : numpy.random.Generator
        From `noise_generator`; its stream is used up by one number a sample.

    Returns
    -------
    ndarray of float64
        Same shape, units of 0..255, also below 0 and above 255.

    Raises
    ------
    InvalidArgumentError
        The array is no image, sigma is negative or not finite, or the generator is unsuitable.
    """
    check_image(image)
    if not (math.isfinite(sigma) and sigma >= 0):
        raise InvalidArgumentError(f"noise of sigma {sigma} cannot be added; give 0 or more, in units of 0..255")
    noisy = standard_normal(rng, image.shape)
    noisy *= sigma
    noisy += image
    return noisy


def awgn_8bit(image: NDArray[Any], sigma: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Add white Gaussian noise, rounded and clipped to 8 bits as MATLAB's ``uint8(x)``.

    Halves are rounded away from zero; everything below 0 becomes 0 and above 255 becomes 255. At sigma 50 the clipping
    takes away enough of the noise that a network trained without it loses 1.7 dB (FFDNet colour, Kodak24).

    Parameters
    ----------
    image, sigma, rng
        As for `awgn`; the same stream gives the same noise before rounding.

    Returns
    -------
    ndarray of uint8
        Same shape.

    Raises
    ------
    InvalidArgumentError
        As `awgn`.
    """
    return to_uint8(awgn(image, sigma, rng))


def _inverse_normal(uniform: NDArray[np.float64], out: NDArray[np.float64]) -> None:
    """Quantiles of the normal distribution (AS 241, PPND16), written into `out`."""
    q = uniform - 0.5
    np.multiply(q, _quotient(0.180625 - q * q, _CENTRE), out=out)
    outer = np.flatnonzero(np.abs(q) > 0.425)
    p = uniform[outer]
    r = np.sqrt(-log(np.minimum(p, 1 - p)))
    deviate = _quotient(r - 1.6, _MIDDLE)
    far = r > 5
    deviate[far] = _quotient(r[far] - 5, _TAIL)
    out[outer] = np.copysign(deviate, q[outer])


def _quotient(x: NDArray[np.float64], coefficients: tuple[tuple[float, ...], tuple[float, ...]]) -> NDArray[np.float64]:
    numerator, denominator = (polynomial(x, c) for c in coefficients)
    numerator /= denominator
    return numerator
