"""MT-RNN (Park, Kang, Kim, Chun, ECCV 2020): a small network that removes a part of the blur, applied again and again.

Names of layers and the number of passes are those of the authors' program (Dong1P/MTRNN, mtrnn.py and test.py).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.networks.blocks import MeanShift

FEATURES = (32, 64, 128)
SLOPE = 0.1


def _conv(inputs: int, outputs: int, kernel: int = 3) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2))


def _halve(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), nn.LeakyReLU(SLOPE))


def _double(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE))


class MTRNNBlock(nn.Module):
    """Convolution, leaky ReLU, convolution, plus the input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(features, features, 3, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(features, features, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, features, H, W) to the same shape."""
        return self.stem(x) + x


class MTRNN(nn.Module):
    """The recurrent network (section 3.3).

    Parameters
    ----------
    passes : int
        How often it is applied; ``iter_num`` is 6 in the authors' test program.
    """

    reentrant = True

    rgb_range = 255.0

    size_multiple = 4

    def __init__(self, passes: int = 6) -> None:
        super().__init__()
        self.passes = passes
        fine, middle, coarse = FEATURES
        self.sub_mean = MeanShift(self.rgb_range, -1)
        self.conv1_1 = _conv(6, fine)
        self.conv2_1 = _halve(fine, middle)
        self.conv2_c = _conv(2 * middle, middle, 1)
        self.conv3_1 = _halve(middle, coarse)
        self.conv3_c = _conv(2 * coarse, coarse, 1)
        self.conv5_1 = _double(coarse, middle)
        self.conv5_c = _conv(2 * middle, middle, 1)
        self.conv6_1 = _double(middle, fine)
        self.conv6_c = _conv(2 * fine, fine, 1)
        self.img_prd = _conv(fine, 3)
        self.add_mean = MeanShift(self.rgb_range, 1)
        for level, features in zip((1, 2, 3, 5, 6), (fine, middle, coarse, middle, fine), strict=True):
            for number in (2, 3, 4):
                self.add_module(f"conv{level}_{number}", MTRNNBlock(features))
        for number in (1, 2, 3):
            self.add_module(f"conv4_{number}", MTRNNBlock(coarse))

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 255], H and W multiples of 4; the image of the last pass, not clipped."""
        image, features = x, None
        for _ in range(self.passes):
            image, *features = self.one_pass(x, image, features)
        return image

    def one_pass(
        self, blurred: Tensor, image: Tensor, features: list[Tensor] | None = None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Remove a part of the blur.

        Parameters
        ----------
        blurred, image : Tensor
            (B, 3, H, W): the input, and what the last pass made of it (the input itself in the first pass).
        features : list of Tensor, optional
            Those that the last pass returned; the first pass takes its encoder's own in their place.

        Returns
        -------
        tuple of Tensor
            The image, and the decoder's features at half and at a quarter of the size.
        """
        blurred, image = self.sub_mean(blurred), self.sub_mean(image)
        level1 = self._blocks("conv1", self.conv1_1(torch.cat([blurred, image], 1)))
        level2 = self.conv2_1(level1)
        recurrent = level2 if features is None else features[0]
        level2 = self._blocks("conv2", self.conv2_c(torch.cat([level2, recurrent], 1)))
        level3 = self.conv3_1(level2)
        recurrent = level3 if features is None else features[1]
        level3 = self._blocks("conv3", self.conv3_c(torch.cat([level3, recurrent], 1)))
        lowest = self._blocks("conv4", level3, (1, 2, 3))
        joined = self.conv5_c(torch.cat([self.conv5_1(lowest), level2], 1))
        half = self._blocks("conv5", joined)
        joined = self.conv6_c(torch.cat([self.conv6_1(half), level1], 1))
        restored = self.img_prd(self._blocks("conv6", joined)) + blurred
        return self.add_mean(restored), half, lowest

    def _blocks(self, level: str, x: Tensor, numbers: tuple[int, ...] = (2, 3, 4)) -> Tensor:
        for number in numbers:
            x = getattr(self, f"{level}_{number}")(x)
        return x
