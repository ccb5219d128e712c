"""A natural logarithm that is the same to the last bit on every platform."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Series of the logarithm: log m = 2 s (1 + s²/3 + s⁴/5 + …) with s = (m - 1) / (m + 1); |s| <= 0.172 needs 12 terms.
_ATANH = tuple(1 / (2 * i + 1) for i in range(12))
_LN2 = 0.6931471805599453094
_SQRT_HALF = 0.7071067811865475244


def log(x: NDArray[np.float64]) -> NDArray[np.float64]:
    """Natural logarithm of positive numbers by a series: numpy's own may differ in the last bit between processors."""
    mantissa, exponent = np.frexp(x)
    low = mantissa < _SQRT_HALF
    mantissa = np.where(low, 2 * mantissa, mantissa)
    exponent = exponent - low
    s = (mantissa - 1) / (mantissa + 1)
    result: NDArray[np.float64] = 2 * s * polynomial(s * s, _ATANH)
    result += exponent * _LN2
    return result


def polynomial(x: NDArray[np.float64], coefficients: tuple[float, ...]) -> NDArray[np.float64]:
    """Evaluate a polynomial, constant term first, by Horner's scheme."""
    result: NDArray[np.float64] = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        result *= x
        result += coefficient
    return result
