"""The restoration tasks: what is degraded, in which channels, at which levels."""

from __future__ import annotations

import msgspec

from harness.errors import unknown_name
from harness.registries import Registry


class Task(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One restoration task.

    `name`: Name used in tables, pipelines and on the command line.
    `level_name`: What a level is: ``sigma``, ``quality``, ``scale``, or empty where there is only one.
    `levels`: Levels the papers print; 0 stands for "only one level".
    `degradation`: Default degradation of a row.
    `metrics`: Protocols measured for every restored image of this task, whichever table asks.
    `channels`: Channels of input and output (3 RGB, 1 gray or luma).
    """

    name: str
    title: str
    level_name: str
    levels: tuple[int, ...]
    degradation: str
    metrics: tuple[str, ...]
    channels: int

    @property
    def luma_suffices(self) -> bool:
        """Whether all its metrics are of luma: a method may then return the luma of a colour image alone."""
        return all("-y" in metric for metric in self.metrics)

    def scale(self, level: int) -> int:
        """By how much the input is smaller than what is restored: the level in super-resolution, else 1."""
        return level if self.level_name == "scale" else 1

    def level_label(self, level: int) -> str:
        """Write a level the way the papers do, such as ``sigma 30`` or ``x2``."""
        if not self.level_name:
            return ""
        if self.level_name == "scale":
            return f"x{level}"
        return f"{self.level_name} {level}"


# MATLAB takes the luma of 8-bit images (rounded) in MSPFN's and MPRNet's programs, of doubles in PReNet's.
_LUMA_RAIN = ("psnr-y8", "ssim-gauss-y8", "psnr-y", "ssim-gauss-y")
_LUMA_SR = ("psnr-y-crop", "ssim-gauss-y-crop", "psnr-y8-crop", "ssim-gauss-y8-crop")

TASKS = Registry(
    "task",
    (
        Task(
            "denoise-rgb",
            "colour denoising",
            "sigma",
            (10, 30, 50, 70),
            "awgn-seed0-8bit",
            ("psnr", "ssim-gauss"),
            3,
        ),
        Task(
            "denoise-gray",
            "grayscale denoising",
            "sigma",
            (10, 30, 50, 70),
            "awgn-seed0-8bit-gray",
            ("psnr", "ssim-gauss"),
            1,
        ),
        Task("demosaic", "colour demosaicing", "", (0,), "bayer-grbg", ("psnr", "ssim-gauss"), 3),
        Task(
            "jpeg",
            "JPEG artifact reduction",
            "quality",
            (10, 20, 30, 40),
            "jpeg-y8",
            ("psnr", "ssim-gauss", "ssim-8x8"),
            1,
        ),
        Task("sr", "super-resolution", "scale", (2, 3, 4), "bicubic-replicate", _LUMA_SR, 3),
        Task("denoise-real", "real-noise denoising", "", (0,), "pairs", ("psnr", "ssim-volume", "ssim-gauss"), 3),
        Task("deblur", "deblurring", "", (0,), "pairs", ("psnr", "ssim-volume", "ssim-gauss"), 3),
        Task("derain", "deraining", "", (0,), "pairs", _LUMA_RAIN, 3),
    ),
)
"""The tasks by name."""


def task(name: str) -> Task:
    """Look a task up by name; an unknown name raises HarnessError with the nearest known ones."""
    try:
        return TASKS[name]
    except KeyError:
        raise unknown_name("task", name, TASKS) from None
