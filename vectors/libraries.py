"""Tries the calls of other libraries on the vectors, and writes what they equal to docs/conformance.md.

python vectors/libraries.py            # writes the page: a table over the libraries that are installed
python vectors/libraries.py --print    # prints it
"""

from __future__ import annotations

import importlib.util
import math
import sys
import types
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from harness.protocols.vectors import EQUAL, Fit, Tried, VectorPair, read_vectors, try_function, without_luma

PAGE = Path(__file__).parents[1] / "docs" / "conformance.md"
PACKAGES = {"skimage": "scikit-image", "cv2": "opencv-python", "pytorch_msssim": "pytorch-msssim"}

# A table prints 0.01 dB and 0.0001 of SSIM; what is off by less than half a unit of these is hardly ever seen.
SEEN = {"psnr": 0.005, "ssim": 0.00005}
UNITS = {"psnr": " dB", "ssim": ""}
USUAL = (20.0, 50.0)
"""Where values of PSNR in tables lie, in dB."""


class Call(NamedTuple):
    """A call of a library: its words for the page, and a function of two uint8 arrays, and of the scale if it asks."""

    library: str
    words: str
    function: Callable[..., float]


def tensor(image: np.ndarray, white: float = 255) -> Any:
    """``(1, C, H, W)`` float32 in [0, 1], as a training loop has it."""
    import torch

    return torch.from_numpy(np.atleast_3d(image).transpose(2, 0, 1)[None].astype(np.float32) / white)


def of_tensors(function: Callable[..., Any], white: float = 255, **options: Any) -> Callable[..., float]:
    """Call with the restored image first, as these libraries have it."""
    return lambda x, y: float(function(tensor(y, white), tensor(x, white), **options).mean())


def calls() -> Iterator[Call]:
    """List the calls of every library that is installed here."""
    from harness.networks.recognition import _declare_operators

    _declare_operators()  # some import torchvision, whose compiled operators are missing beside a CPU-only torch
    for library, listed in LIBRARIES.items():
        if importlib.util.find_spec(library) is not None:
            for words, function in listed():
                yield Call(library, words, function)


def _skimage() -> Iterator[tuple[str, Callable[..., float]]]:
    from skimage.metrics import peak_signal_noise_ratio, structural_similarity

    def similarity(x: np.ndarray, y: np.ndarray, white: float = 1, **options: Any) -> float:
        pair = (x, y) if white == 1 else (x / white, y / white)
        return structural_similarity(*pair, channel_axis=None if x.ndim == 2 else -1, **options)

    yield "peak_signal_noise_ratio(x, y)", peak_signal_noise_ratio
    yield (
        "peak_signal_noise_ratio(x / 255, y / 255, data_range=1)",
        lambda x, y: peak_signal_noise_ratio(x / 255, y / 255, data_range=1),
    )
    yield "structural_similarity(x, y, channel_axis=-1)", lambda x, y: similarity(x, y)
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "data_range": 255}
    yield "structural_similarity(…, gaussian_weights=True)", lambda x, y: similarity(x, y, **gaussian)
    plain = gaussian | {"use_sample_covariance": False}
    yield (
        "structural_similarity(…, gaussian_weights=True, use_sample_covariance=False)",
        lambda x, y: similarity(x, y, **plain),
    )
    yield (
        "structural_similarity(x / 255, y / 255, data_range=2)",
        lambda x, y: similarity(x, y, white=255, data_range=2),
    )


def _torchmetrics() -> Iterator[tuple[str, Callable[..., float]]]:
    from torchmetrics.functional import image

    psnr, ssim = image.peak_signal_noise_ratio, image.structural_similarity_index_measure
    yield "peak_signal_noise_ratio(y, x, data_range=1.0)", of_tensors(psnr, data_range=1.0)
    yield "structural_similarity_index_measure(y, x, data_range=1.0)", of_tensors(ssim, data_range=1.0)
    yield "structural_similarity_index_measure(y, x)", of_tensors(ssim)
    yield (
        "structural_similarity_index_measure(…, gaussian_kernel=False, kernel_size=7)",
        of_tensors(ssim, data_range=1.0, gaussian_kernel=False, kernel_size=7),
    )


def _piq() -> Iterator[tuple[str, Callable[..., float]]]:
    import piq

    yield "psnr(y, x, data_range=1.0)", of_tensors(piq.psnr, data_range=1.0)
    yield "psnr(…, convert_to_greyscale=True)", of_tensors(piq.psnr, data_range=1.0, convert_to_greyscale=True)
    yield "ssim(y, x, data_range=1.0)", of_tensors(piq.ssim, data_range=1.0)
    yield "ssim(…, downsample=False)", of_tensors(piq.ssim, data_range=1.0, downsample=False)


def _kornia() -> Iterator[tuple[str, Callable[..., float]]]:
    from kornia import metrics

    yield "metrics.psnr(y, x, 1.0)", of_tensors(metrics.psnr, max_val=1.0)
    yield "metrics.ssim(y, x, 11).mean()", of_tensors(metrics.ssim, window_size=11)
    yield 'metrics.ssim(…, padding="valid").mean()', of_tensors(metrics.ssim, window_size=11, padding="valid")


def _pyiqa() -> Iterator[tuple[str, Callable[..., float]]]:
    from pyiqa.archs.psnr_arch import PSNR
    from pyiqa.archs.ssim_arch import SSIM

    yield "PSNR()", of_tensors(PSNR())
    yield "PSNR(test_y_channel=True), its psnry", of_tensors(PSNR(test_y_channel=True))
    luma = PSNR(test_y_channel=True, data_range=255, color_space="ycbcr")
    yield 'PSNR(test_y_channel=True, data_range=255, color_space="ycbcr")', of_tensors(luma)
    yield "SSIM(), its ssim", of_tensors(SSIM())
    yield 'SSIM(color_space="ycbcr")', of_tensors(SSIM(color_space="ycbcr"))
    yield "SSIM(test_y_channel=False), its ssimc", of_tensors(SSIM(test_y_channel=False))
    yield "SSIM(downsample=True)", of_tensors(SSIM(test_y_channel=False, downsample=True))


def _basicsr() -> Iterator[tuple[str, Callable[..., float]]]:
    # Its packages import what newer versions of torchvision lack; the metrics need none of that.
    found = importlib.util.find_spec("basicsr")
    assert found is not None and found.submodule_search_locations is not None
    root = Path(found.submodule_search_locations[0])
    for name in ("basicsr", "basicsr.metrics", "basicsr.utils"):
        package = types.ModuleType(name)
        package.__path__ = [str(root.joinpath(*name.split(".")[1:]))]
        sys.modules.setdefault(name, package)
    from basicsr.utils import color_util

    vars(sys.modules["basicsr.utils"]).update(bgr2ycbcr=color_util.bgr2ycbcr)
    from basicsr.metrics import psnr_ssim

    def on_arrays(function: Callable[..., Any], border: int = 0, **options: Any) -> Callable[..., float]:
        def call(x: np.ndarray, y: np.ndarray) -> float:
            # OpenCV's order of channels, as its data sets have it.
            pair = (image[..., ::-1] if image.ndim == 3 else image for image in (y, x))
            return float(function(*pair, border, **options))

        return call

    peak, similarity = psnr_ssim.calculate_psnr, psnr_ssim.calculate_ssim
    for words, function in (("calculate_psnr", peak), ("calculate_ssim", similarity)):
        yield f"{words}(y, x, 0)", on_arrays(function)
        yield f"{words}(y, x, 0, test_y_channel=True)", on_arrays(function, test_y_channel=True)
        yield (
            f"{words}(y, x, scale, test_y_channel=True)",
            lambda x, y, scale, f=function: on_arrays(f, scale, test_y_channel=True)(x, y),
        )
    on_tensors = {"calculate_psnr_pt": psnr_ssim.calculate_psnr_pt, "calculate_ssim_pt": psnr_ssim.calculate_ssim_pt}
    for words, function in on_tensors.items():
        yield f"{words}(y, x, 0)", of_tensors(function, crop_border=0)
        yield f"{words}(y, x, 0, test_y_channel=True)", of_tensors(function, crop_border=0, test_y_channel=True)


def _pytorch_msssim() -> Iterator[tuple[str, Callable[..., float]]]:
    from pytorch_msssim import ssim

    yield "ssim(y, x, data_range=1.0)", of_tensors(ssim, data_range=1.0)
    yield "ssim(255 * y, 255 * x)", of_tensors(ssim, white=1)


def _sewar() -> Iterator[tuple[str, Callable[..., float]]]:
    from sewar.full_ref import psnr, ssim

    yield "psnr(x, y)", psnr
    yield "ssim(x, y)[0]", lambda x, y: float(np.real(ssim(x, y)[0]))


def _cv2() -> Iterator[tuple[str, Callable[..., float]]]:
    import cv2

    yield "PSNR(x, y)", cv2.PSNR


LIBRARIES = {
    "skimage": _skimage,
    "torchmetrics": _torchmetrics,
    "piq": _piq,
    "kornia": _kornia,
    "pyiqa": _pyiqa,
    "basicsr": _basicsr,
    "pytorch_msssim": _pytorch_msssim,
    "sewar": _sewar,
    "cv2": _cv2,
}


class Row(NamedTuple):
    """What a call gave: for colour pairs, for gray pairs, and for pairs of a PSNR that tables print."""

    call: Call
    colour: Tried
    gray: Tried
    usual: Tried

    @property
    def metric(self) -> str:
        """``psnr`` or ``ssim``."""
        return "ssim" if "ssim" in self.call.words.lower() or "similarity" in self.call.words else "psnr"

    @property
    def nearest(self) -> list[Fit]:
        """Protocols of this metric by how near they are on the usual pairs."""
        return [fit for fit in self.usual.fits if fit.protocol.startswith(self.metric)]

    def miss(self, tried: Tried) -> float:
        """How far the nearest protocol is on other pairs; NaN where none gave a number."""
        name = self.nearest[0].protocol
        names = {name, without_luma(name)} if tried is self.gray else {name}
        return next((fit.miss for fit in tried.fits if fit.protocol in names), math.nan)

    @property
    def grade(self) -> str:
        """Whether it equals a protocol: on all colour pairs, in double precision or to what is seen; else where."""
        seen = SEEN[self.metric]
        if self.miss(self.colour) < EQUAL:
            return "equal"
        return "seen" if self.miss(self.colour) < seen else "usual" if self.miss(self.usual) < seen else "none"


def measured(call: Call, pairs: list[VectorPair]) -> Row:
    """Try a call."""
    colour = [pair for pair in pairs if pair.reference.ndim == pair.restored.ndim == 3]
    gray = [pair for pair in pairs if pair.gray]
    usual = [pair for pair in colour if USUAL[0] < next(iter(pair.values.values())) < USUAL[1]]
    return Row(call, *(try_function(call.function, chosen) for chosen in (colour, gray, usual)))


def amount(miss: float, metric: str) -> str:
    """Write a miss, bold where a table could show it."""
    if math.isnan(miss):
        return "no number"
    return (f"{miss:.2g}" if miss < SEEN[metric] else f"**{miss:.3g}**") + UNITS[metric]


def line(row: Row) -> str:
    """A line of the table."""
    first, second = row.nearest[:2]
    misses = [amount(row.miss(tried), row.metric) for tried in (row.usual, row.colour, row.gray)]
    equal = ", ".join(f"{value:.6g}" for value in sorted({*row.colour.of_equal, *row.gray.of_equal}))
    refused = len(row.colour.refused) + len(row.gray.refused)
    after = f"`{second.protocol}` {amount(second.miss, row.metric)}"
    cells = (f"`{row.call.words}`", f"`{first.protocol}`", *misses, after, equal, refused)
    return "| " + " | ".join(map(str, cells)) + " |"


def named(library: str) -> str:
    """A library with its version."""
    package = PACKAGES.get(library, library)
    for name in (package, f"{package}-headless"):
        try:
            return f"{package} {version(name)}"
        except PackageNotFoundError:
            continue
    return package


def page(rows: list[Row]) -> str:
    """Write the page."""
    grades = [row.grade for row in rows]
    libraries = list(dict.fromkeys(row.call.library for row in rows))
    usual = f"{USUAL[0]:g} to {USUAL[1]:g} dB"
    text = [
        "<!-- Written by `python vectors/libraries.py`; do not edit. -->",
        "# Which call equals which protocol",
        "",
        "Of {} calls of {} libraries, {} equal a [named protocol](protocols.md) in double precision,\n{} to what "
        "single precision leaves, {} only on pairs of {}, and {} equal none even there:".format(
            *(len(rows), len(libraries), grades.count("equal"), grades.count("seen"), grades.count("usual"), usual),
            grades.count("none"),
        ),
        "",
    ]
    for row in rows:
        if row.grade == "none":
            fit = row.nearest[0]
            words = f"{row.call.library}: `{row.call.words}`: the nearest is `{fit.protocol}`"
            text.append(f"- {words}, off by up to {fit.miss:.2g}{UNITS[row.metric]}")
    text += EXPLAINED.format(usual=usual).splitlines()
    for library in libraries:
        text += ["", f"## {named(library)}", ""]
        text += [f"| call | nearest | {usual} | all colour pairs | gray pairs | next | equal images | refused |"]
        text += ["|:--|:--|--:|--:|--:|:--|:--|--:|"]
        text += [line(row) for row in rows if row.call.library == library]
    return "\n".join(text) + "\n"


EXPLAINED = """
Each call was tried on all [vectors](../vectors/README.md) that it takes. *Nearest* is the protocol whose largest
difference over the colour pairs of {usual} is the least; then that difference, over all colour pairs, and over the
gray ones, bold where a table could show it (0.005 dB, 0.00005 of SSIM). *Next*: the second nearest on those pairs.
*Equal images*: what it gives for them. *Refused*: pairs for which it gave no number, most of them smaller than its
window. `x` is the reference, `y` the restored image: 8-bit arrays, or float32 tensors in [0, 1].

What lies behind the largest: a window beyond the border is filled by reflection in torchmetrics and kornia, by
repetition in MATLAB; a constant is added to the error (piq, pyiqa, BasicSR's tensors), which counts near equal images;
a negative structure is set to 0 (pyiqa); flat parts lose digits in single precision (SSIM of tensors in [0, 1]).

`harness check my_metric.py:psnr` tries your own function in this way, and `harness check
skimage.metrics:peak_signal_noise_ratio` an installed one: a function of two uint8 arrays, and of `scale` where it has a
parameter of that name.
"""


def main() -> None:
    """Write or print the page."""
    pairs = read_vectors()
    text = page([measured(call, pairs) for call in calls()])
    if "--print" in sys.argv[1:]:
        print(text, end="")
    else:
        PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
