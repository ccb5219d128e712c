"""Images as a user has them: arrays, tensors, Pillow's images and files become samples in units of 0..255."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import InvalidArgumentError
from harness.metrics.checks import check_image

# White of the types that say it themselves.
_WHITE: dict[str, float] = {"uint8": 255.0, "uint16": 65535.0}
_DARKEST = 100


def samples(image: Any, data_range: float | None = None, role: str = "image") -> NDArray[Any]:
    """Bring an image into the form that every metric takes.

    Parameters
    ----------
    image : array, tensor, Pillow image or path
        ``(H, W)`` or ``(H, W, 3)``: of 8 or 16 bits, or floats. A tensor of PyTorch is ``(H, W)`` or ``(C, H, W)`` or
        ``(1, C, H, W)``, with C 1 or 3.
    data_range : float, optional
        The sample value that is white, for floats: 1 or 255 as a rule. Whole numbers say it by their type.
    role : str
        What the image is called in errors.

    Returns
    -------
    ndarray
        ``(H, W)`` or ``(H, W, 3)``, uint8, or float64 in units of 0..255.

    Raises
    ------
    InvalidArgumentError
        It is no image, or of floats whose range nobody said: a value in [0, 1] measured as one in 0..255 is 48 dB off.
        Or the range that was said cannot be theirs: samples beyond four times white, none above a hundredth of it (in
        [0, 1] with 255), or a fifth of them far below 0 (in [-1, 1]).
    HarnessError
        A file cannot be read (`harness.images.read_image`).

    Examples
    --------
    >>> import numpy as np
    >>> samples(np.array([[0.0, 0.5, 1.0]]), data_range=1)
    array([[  0. , 127.5, 255. ]])
    >>> samples(np.array([[0, 257, 65535]], np.uint16))
    array([[  0.,   1., 255.]])
    """
    if not isinstance(data_range, int | float | None) or isinstance(data_range, bool):
        raise InvalidArgumentError(f"data_range={data_range!r:.40} is no number; give 1 or 255")
    pixels = _array(image, role)
    white = _WHITE.get(pixels.dtype.name)
    if white is None and pixels.dtype.kind != "f":
        raise InvalidArgumentError(f"the {role} has dtype {pixels.dtype}; give uint8, uint16 or floats with data_range")
    if white is None:
        white = data_range
        if white is None:
            raise InvalidArgumentError(
                f"the {role} has dtype {pixels.dtype}, which does not say what white is; give data_range=1 for samples "
                "in [0, 1], or data_range=255"
            )
        pixels = pixels.astype(np.float64, copy=False)
    if data_range not in (None, white):
        raise InvalidArgumentError(f"the {role} is {pixels.dtype}, whose white is {white:g}, not {data_range:g}")
    if not 0 < white < np.inf:
        raise InvalidArgumentError(f"data_range={white:g} is no largest sample value; give 1 or 255")
    if pixels.dtype.kind == "f" and pixels.size:
        _check_range(pixels, white, role)
    if white != 255:
        pixels = pixels * 255.0 / white
    check_image(pixels, role)
    return pixels


def _check_range(pixels: NDArray[Any], white: float, role: str) -> None:
    """Refuse floats whose samples are not those of a range that ends with `white`."""
    most = np.abs(pixels).max()
    # What a network gives reaches a little beyond white; samples of another range reach far beyond.
    wrong = f"samples up to {most:g}" if most > 4 * white else ""
    # Unclipped noise reaches far below black, too, but seldom.
    if not wrong and np.count_nonzero(pixels < -white / 4) > pixels.size / 5:
        wrong = f"as many samples below {-white / 4:g} as images whose black is negative; bring them to 0..white"
    # A hundredth of white is black to the eye. Of an image in [0, 1] it may be meant, and of whole levels of 8 bits.
    if not wrong and white > max(2, _DARKEST * most) and most > 0:
        wrong = "" if most <= 2 and (pixels == np.rint(pixels)).all() else f"no sample above {most:g}"
    if wrong:
        raise InvalidArgumentError(f"the {role} holds {wrong}: data_range={white:g} is not theirs")


def sample_pair(reference: Any, image: Any, data_range: float | None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Bring two images into that form; where one is of floats, `data_range` is that one's."""
    arrays = {"reference": _array(reference, "reference"), "image": _array(image, "image")}
    floats = any(array.dtype.kind == "f" for array in arrays.values())
    found = [
        samples(array, None if floats and array.dtype.kind != "f" else data_range, role)
        for role, array in arrays.items()
    ]
    return found[0], found[1]


def _array(image: Any, role: str) -> NDArray[Any]:
    """Make an array of an image of any kind, with the channels last; its type stays."""
    if isinstance(image, str | os.PathLike):
        from harness.images import read_image  # and with it Pillow, which arrays need not wait for

        return read_image(image)
    if hasattr(image, "detach"):  # a tensor, on whatever device
        plain = image.detach().cpu()
        # numpy has no bfloat16.
        tensor = (plain.float() if str(plain.dtype) == "torch.bfloat16" else plain).numpy()
        tensor = tensor[0] if tensor.ndim == 4 and len(tensor) == 1 else tensor
        if tensor.ndim == 3 and len(tensor) in (1, 3):
            return np.ascontiguousarray(tensor[0] if len(tensor) == 1 else tensor.transpose(1, 2, 0))
        if tensor.ndim != 2:
            raise InvalidArgumentError(
                f"the {role} is a tensor of shape {tuple(image.shape)}; give one image, (C, H, W) with C of 1 or 3"
            )
        return np.asarray(tensor)
    if hasattr(image, "getbands"):  # an image of Pillow
        if image.mode not in ("L", "RGB", "I;16"):
            raise InvalidArgumentError(
                f"the {role} is an image of mode {image.mode}; convert it to 'L' or 'RGB' in the way that you mean"
            )
        return np.asarray(image)
    if not isinstance(image, np.ndarray):
        raise InvalidArgumentError(
            f"the {role} is a {type(image).__name__}; give an array, a tensor, an image of Pillow or a path"
        )
    return image
