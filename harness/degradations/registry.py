"""The named degradations, each with its version and the evidence that ties it to published inputs or numbers."""

from __future__ import annotations

from harness.degradations.kinds import Bicubic, Degradation, Jpeg, Mosaic, Noise, Pairs
from harness.errors import unknown_name
from harness.registries import Registry

_GRAY = "the full-range gray image (MATLAB rgb2gray)"
_LUMA = "the rounded luma (MATLAB rgb2ycbcr)"
_CLIPPED = "rounded and clipped to 8 bits"
_UNCLIPPED = "neither rounded nor clipped"

_SEED_0 = "white Gaussian noise of MATLAB's randn('seed', 0), restarted for each image,"

_ALL: tuple[Degradation, ...] = (
    Noise(
        name="awgn-seed0-float",
        version=1,
        stored="float",
        drawn="matlab-seed-0",
        summary=f"{_SEED_0} {_UNCLIPPED}",
        evidence="FFDNet colour, Kodak24 and CBSD68, sigma 10, 30, 50, 70: all digits",
    ),
    Noise(
        name="awgn-seed0-8bit",
        version=1,
        stored="8bit",
        drawn="matlab-seed-0",
        summary=f"{_SEED_0} {_CLIPPED}",
        evidence="bit-exact with RNAN's noisy kodim01 in colour at sigma 10",
    ),
    Noise(
        name="awgn-seed0-float-gray",
        version=1,
        stored="float",
        gray="rgb2gray",
        drawn="matlab-seed-0",
        summary=f"{_SEED_0} on {_GRAY}, {_UNCLIPPED}",
        evidence="IRCNN gray, Kodak24, sigma 10, 30, 50: 34.757, 29.526, 27.451 dB (published 34.76, 29.53, 27.45)",
    ),
    Noise(
        name="awgn-seed0-8bit-gray",
        version=1,
        stored="8bit",
        gray="rgb2gray",
        drawn="matlab-seed-0",
        summary=f"{_SEED_0} on {_GRAY}, {_CLIPPED}",
        evidence="bit-exact with RNAN's noisy gray kodim01 at sigma 10",
    ),
    # Noise: facts of PANet Table 1 and RNAN Tables 2 and 3; the variants after the first four are for audits.
    Noise(
        name="awgn-float",
        version=1,
        stored="float",
        summary=f"white Gaussian noise on the image, {_UNCLIPPED}",
        evidence="competitor rows: FFDNet colour, Kodak24, sigma 50 and 70: 29.104, 27.680 dB (published 29.10, 27.68)",
    ),
    Noise(
        name="awgn-8bit",
        version=1,
        stored="8bit",
        summary=f"white Gaussian noise on the image, {_CLIPPED}",
        evidence="RNAN's and PANet's released inputs are 8-bit; kodim01 at sigma 10: residual of sigma 10.00",
    ),
    Noise(
        name="awgn-float-gray",
        version=1,
        stored="float",
        gray="rgb2gray",
        summary=f"white Gaussian noise on {_GRAY}, {_UNCLIPPED}",
        evidence="the gray of kodim01 is bit-exact; FFDNet gray, Kodak24, sigma 50: 27.623 dB (published 27.63)",
    ),
    Noise(
        name="awgn-8bit-gray",
        version=1,
        stored="8bit",
        gray="rgb2gray",
        summary=f"white Gaussian noise on {_GRAY}, {_CLIPPED}",
        evidence="the gray of kodim01 is bit-exact; RNAN's released gray inputs are 8-bit",
    ),
    Noise(name="awgn-clipped", version=1, stored="clipped", summary="white Gaussian noise, clipped and not rounded"),
    Noise(name="awgn-truncated", version=1, stored="truncated", summary="white Gaussian noise, clipped and truncated"),
    Noise(
        name="awgn-clipped-gray",
        version=1,
        stored="clipped",
        gray="rgb2gray",
        summary=f"white Gaussian noise on {_GRAY}, clipped and not rounded",
    ),
    Noise(
        name="awgn-truncated-gray",
        version=1,
        stored="truncated",
        gray="rgb2gray",
        summary=f"white Gaussian noise on {_GRAY}, clipped and truncated",
    ),
    Noise(
        name="awgn-float-luma",
        version=1,
        stored="float",
        gray="luma",
        summary=f"white Gaussian noise on {_LUMA}, {_UNCLIPPED}",
        evidence="wrong for the gray tables: 0.73 dB too high at sigma 50, for luma has 219 steps instead of 255",
    ),
    Noise(
        name="awgn-8bit-luma",
        version=1,
        stored="8bit",
        gray="luma",
        summary=f"white Gaussian noise on {_LUMA}, {_CLIPPED}",
    ),
    # Mosaic: PANet Table 2, RNAN Table 4.
    Mosaic(
        name="bayer-grbg",
        version=1,
        pattern="GRBG",
        summary="Bayer mosaic, rows G R G R and B G B G, missing samples 0",
        evidence="bit-exact with RNAN's mosaiced kodim01; Mosaiced row of McMaster18, Kodak24, CBSD68: all digits",
    ),
    Mosaic(name="bayer-rggb", version=1, pattern="RGGB", summary="Bayer mosaic, rows R G R G and G B G B"),
    Mosaic(name="bayer-bggr", version=1, pattern="BGGR", summary="Bayer mosaic, rows B G B G and G R G R"),
    Mosaic(name="bayer-gbrg", version=1, pattern="GBRG", summary="Bayer mosaic, rows G B G B and R G R G"),
    # JPEG: PANet Table 3, RNAN Table 5.
    Jpeg(
        name="jpeg-y8",
        version=1,
        source="y8",
        summary=f"baseline JPEG of {_LUMA}",
        evidence="bit-exact with 5 of 5 JPEG files of Classic5, q 10; JPEG rows of LIVE1 and Classic5: all digits",
    ),
    Jpeg(
        name="jpeg-y-truncated",
        version=1,
        source="y-truncated",
        summary="baseline JPEG of the luma truncated to 8 bits",
        evidence="LIVE1, quality 10: 27.7697 dB, the same to four digits as of the rounded luma",
    ),
    Jpeg(
        name="jpeg-rgb2gray",
        version=1,
        source="rgb2gray",
        summary=f"baseline JPEG of {_GRAY}",
        evidence="wrong for the JPEG tables: LIVE1, quality 10: 27.024 dB instead of 27.770",
    ),
    Jpeg(
        name="jpeg-rgb",
        version=1,
        source="rgb",
        summary="baseline JPEG of the colour image, chroma halved (4:2:0)",
        evidence="wrong for the JPEG tables: LIVE1, quality 10: 25.693 dB in RGB, 28.366 dB on luma instead of 27.770",
    ),
    # Super-resolution: PANet Table 5, RNAN Table 6, CSNLN Table 1.
    Bicubic(
        name="bicubic-replicate",
        version=1,
        border="replicate",
        summary="MATLAB imresize to 8 bits, border pixels repeated (older MATLAB)",
        evidence="bit-exact with the 15 LR files of Set5 of RCAN, RDN, RNAN",
    ),
    Bicubic(
        name="bicubic-symmetric",
        version=1,
        border="symmetric",
        summary="MATLAB imresize to 8 bits, image mirrored at its border (newer MATLAB)",
        evidence="bit-exact with the 15 LR files of Set5 of the EDSR benchmark, SAN, SwinIR",
    ),
    Bicubic(
        name="bicubic-y8-float",
        version=1,
        border="symmetric",
        source="y8",
        stored="float64",
        summary=f"MATLAB imresize of {_LUMA} to float64, image mirrored at its border",
        evidence="Bicubic row, restored luma clipped to 16..235: Set5 and Set14, x2, x3, x4, PSNR and SSIM: all digits",
    ),
    Bicubic(
        name="bicubic-y8-float-replicate",
        version=1,
        border="replicate",
        source="y8",
        stored="float64",
        summary=f"MATLAB imresize of {_LUMA} to float64, border pixels repeated",
    ),
    Bicubic(
        name="bicubic-y8-symmetric",
        version=1,
        border="symmetric",
        source="y8",
        summary=f"MATLAB imresize of {_LUMA} to 8 bits, image mirrored at its border",
    ),
    Bicubic(
        name="bicubic-y8-replicate",
        version=1,
        border="replicate",
        source="y8",
        summary=f"MATLAB imresize of {_LUMA} to 8 bits, border pixels repeated",
    ),
    Bicubic(
        name="bicubic-float-symmetric",
        version=1,
        border="symmetric",
        stored="float64",
        summary="MATLAB imresize of the colour image to float64, image mirrored at its border",
    ),
    Bicubic(
        name="bicubic-float-replicate",
        version=1,
        border="replicate",
        stored="float64",
        summary="MATLAB imresize of the colour image to float64, border pixels repeated",
    ),
    # Deblurring, deraining, real noise: KiT Tables 1 to 3.
    Pairs(name="pairs", version=1, summary="the dataset holds input and ground truth"),
)

DEGRADATIONS = Registry("degradation", _ALL)
"""The degradations by name."""


def degradation(name: str) -> Degradation:
    """Look a degradation up by name; an unknown name raises InvalidArgumentError with the nearest known ones."""
    try:
        return DEGRADATIONS[name]
    except KeyError:
        raise unknown_name("degradation", name, DEGRADATIONS) from None


def degradation_names() -> list[str]:
    """List the names of all degradations."""
    return list(DEGRADATIONS)
