"""Noise, mosaic, JPEG and bicubic reduction as the papers made them: exact, seeded, versioned.

`degradation` looks a complete degradation up by name; the functions behind it can be used by themselves. The function
`jpeg` is in the module of that name: ``from harness.degradations.jpeg import jpeg``.
"""

from harness.degradations.colour import rgb2gray, rgb2ycbcr
from harness.degradations.kinds import Bicubic, Degradation, Jpeg, Mosaic, Noise, Pairs
from harness.degradations.matlab_noise import matlab_awgn, matlab_randn
from harness.degradations.mosaic import bayer_mosaic
from harness.degradations.noise import awgn, awgn_8bit, noise_generator, standard_normal
from harness.degradations.registry import DEGRADATIONS, degradation, degradation_names
from harness.degradations.resize import imresize, modcrop

__all__ = [
    "DEGRADATIONS",
    "Bicubic",
    "Degradation",
    "Jpeg",
    "Mosaic",
    "Noise",
    "Pairs",
    "awgn",
    "awgn_8bit",
    "bayer_mosaic",
    "degradation",
    "degradation_names",
    "imresize",
    "matlab_awgn",
    "matlab_randn",
    "modcrop",
    "noise_generator",
    "rgb2gray",
    "rgb2ycbcr",
    "standard_normal",
]
