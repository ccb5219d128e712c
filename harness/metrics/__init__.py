"""PSNR, SSIM and luma in numpy float64, in every variant that the papers' tables mix.

Images are ``(H, W)`` gray or ``(H, W, 3)`` RGB, uint8, or float64 in units of 0..255.
"""

from harness.metrics.luminance import STANDARDS as LUMA_STANDARDS
from harness.metrics.luminance import STUDIO_RANGE, LumaStandard, luma
from harness.metrics.quantization import to_uint8
from harness.metrics.signal_noise import PEAK, crop_border, mse, mse_of_psnr, psnr, psnr_of_mse
from harness.metrics.structural import SSIM_WINDOWS, SsimWindow, ssim, ssim_within

__all__ = [
    "LUMA_STANDARDS",
    "PEAK",
    "SSIM_WINDOWS",
    "STUDIO_RANGE",
    "LumaStandard",
    "SsimWindow",
    "crop_border",
    "luma",
    "mse",
    "mse_of_psnr",
    "psnr",
    "psnr_of_mse",
    "ssim",
    "ssim_within",
    "to_uint8",
]
