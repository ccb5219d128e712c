"""UMRL (Yasarla and Patel, CVPR 2019): rain is estimated at three scales, each estimate with a confidence.

From the released program (rajeevyasarla/UMRL--using-Cycle-Spinning, ``models/derain_mulcmp.py``), whose names of layers
are kept: images in [-1, 1], normalised by the image at hand (the program never leaves training mode).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.dense_streams import Bottleneck, Resample, Transition
from harness.networks.image_statistics import ImageNorm2d, Statistics, stretched, unused

SPIN = 50
"""Pixels between the shifts of cycle spinning (``umrl_cycspn_test.py``)."""


class ResidualEstimate(nn.Module):
    """Rain of one scale (``scale_residue_est``)."""

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        for number, (inputs, outputs) in enumerate([(64, 32), (32, 32), (32, 32)], 1):
            setattr(self, f"conv{number}", Bottleneck(inputs, 32, 3, statistics))
            setattr(self, f"trans_block{number}", Transition(inputs + 32, outputs, "keep", statistics))
        self.conv_refin = nn.Conv2d(32, 16, 3, padding=1)
        self.refine3 = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 64, H, W) to (B, 3, H, W) in [-1, 1]."""
        for number in (1, 2, 3):
            x = getattr(self, f"trans_block{number}")(getattr(self, f"conv{number}")(x))
        return torch.tanh(self.refine3(functional.leaky_relu(self.conv_refin(x), 0.2)))


class Confidence(nn.Module):
    """How sure an estimate is, sample by sample (``scale_residue_conf``)."""

    conv2: Bottleneck
    conv3: Bottleneck
    trans_block2: Transition
    trans_block3: Transition

    def __init__(self, statistics: Statistics) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(35, 16, 3, padding=1)
        for number in (2, 3):
            setattr(self, f"conv{number}", Bottleneck(16, 16, 3, statistics))
            setattr(self, f"trans_block{number}", Transition(32, 16, "keep", statistics))
        self.conv_refin = nn.Conv2d(16, 16, 3, padding=1)
        self.refine3 = nn.Conv2d(16, 3, 3, padding=1)
        unused(self.conv_refin)

    def forward(self, features: Tensor, rain: Tensor) -> Tensor:
        """Map features (B, 32, H, W) and the estimate (B, 3, H, W) to (B, 3, H, W) in [0, 1]."""
        x = self.conv1(torch.cat([features, rain], 1))
        x = self.trans_block2(self.conv2(x))
        return torch.sigmoid(self.refine3(self.trans_block3(self.conv3(x))))


class UMRL(nn.Module):
    """The network.

    Parameters
    ----------
    statistics : {"image", "running"}
        See `ImageNorm2d`.
    """

    dense_block1: Bottleneck

    rgb_range = 1.0
    reentrant = True
    # At a sixteenth of 16 pixels a channel would have one sample, and nothing to be normalised by.
    size_multiple = 32

    def __init__(self, statistics: Statistics = "image") -> None:
        super().__init__()
        blocks: dict[str, tuple[int, int, int, Resample]] = {
            "1": (3, 29, 32, "halve"),
            "2": (32, 32, 32, "halve"),
            "3": (32, 32, 32, "halve"),
            "3_1": (32, 32, 32, "halve"),
            "3_2": (32, 32, 32, "double"),
            "4": (64, 32, 32, "double"),
            "5": (67, 32, 32, "double"),
            "6": (67, 16, 16, "double"),
            "6_1": (16, 16, 16, "keep"),
        }
        for name, (inputs, growth, outputs, resample) in blocks.items():
            setattr(self, f"dense_block{name}", Bottleneck(inputs, growth, 5, statistics))
            setattr(self, f"trans_block{name}", Transition(inputs + growth, outputs, resample, statistics))
        self.conv_refin = nn.Conv2d(16, 16, 3, padding=1)
        self.refine3 = nn.Conv2d(16, 3, 3, padding=1)
        self.refineclean1 = nn.Conv2d(3, 8, 7, padding=3)
        self.refineclean2 = nn.Conv2d(8, 3, 3, padding=1)
        self.batchnorm20, self.batchnorm1 = ImageNorm2d(20), ImageNorm2d(1)
        unused(self.batchnorm20, self.batchnorm1)
        self.res_est = ResidualEstimate(statistics)
        self.conf_res = Confidence(statistics)

    def _step(self, name: str, x: Tensor) -> Tensor:
        return getattr(self, f"trans_block{name}")(getattr(self, f"dense_block{name}")(x))

    def _refined(self, image: Tensor) -> Tensor:
        return torch.tanh(self.refineclean2(functional.leaky_relu(self.refineclean1(image), 0.2)))

    def scales(self, x: Tensor, half: Tensor, quarter: Tensor) -> tuple[Tensor, ...]:
        """Restore an image at three scales.

        Parameters
        ----------
        x, half, quarter : Tensor
            (B, 3, H, W) in [-1, 1], H and W multiples of 16, and the same at a half and a quarter of them.

        Returns
        -------
        tuple of Tensor
            Rain of the full scale; restored full, quarter, half; confidence of quarter, half, full.
        """
        first = self._step("1", x)
        second = self._step("2", first)
        third = self._step("3", second)
        up = self._step("3_2", self._step("3_1", third))
        fourth = self._step("4", torch.cat([up, third], 1))
        rain_quarter = self.res_est(torch.cat([fourth, second], 1))
        sure_quarter = self.conf_res(fourth, rain_quarter)
        fifth = self._step("5", torch.cat([fourth, second, rain_quarter * sure_quarter], 1))
        rain_half = self.res_est(torch.cat([fifth, first], 1))
        sure_half = self.conf_res(fifth, rain_half)
        sixth = self._step("6_1", self._step("6", torch.cat([fifth, first, rain_half * sure_half], 1)))
        rain = torch.tanh(self.refine3(functional.leaky_relu(self.conv_refin(sixth), 0.2)))
        sure = self.conf_res(torch.cat([sixth, sixth], 1), rain)
        restored = self._refined(x - rain), self._refined(quarter - rain_quarter), self._refined(half - rain_half)
        return (rain, *restored, sure_quarter, sure_half, sure)

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1]; smaller scales are every second and every fourth sample."""
        x = 2 * x - 1
        return self.scales(x, x[:, :, ::2, ::2], x[:, :, ::4, ::4])[1] / 2 + 0.5


class StretchedUMRL(UMRL):
    """The network as the released test applies it: what it restores is stretched to [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1]."""
        return stretched(super().forward(x))


class SpunUMRL(StretchedUMRL):
    """The network under cycle spinning (section 3.4): the mean over the image rolled by every multiple of `SPIN`.

    Every result is stretched before it is added, and the sum is stretched, as the released program does.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], one roll after the other."""
        total = torch.zeros_like(x)
        for shift in itertools.product(*(range(0, side, SPIN) for side in x.shape[2:])):
            restored = super().forward(torch.roll(x, shift, (2, 3)))
            total += torch.roll(restored, tuple(-pixels for pixels in shift), (2, 3))
        return stretched(total)
