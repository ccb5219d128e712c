"""RIDNet (Anwar and Barnes, ICCV 2019): four enhancement attention modules in a row.

Names of layers are those of the released checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from harness.networks.blocks import MeanShift, conv


def _stack(features: int, dilations: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for dilation in dilations:
        layers += [nn.Conv2d(features, features, 3, padding=dilation, dilation=dilation), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class MergeAndRun(nn.Module):
    """Two stacks of dilated convolutions side by side, joined by a third; the input is added (figure 2)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.body1 = _stack(features, (1, 2))
        self.body2 = _stack(features, (3, 4))
        self.body3 = nn.Sequential(conv(2 * features, features), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return self.body3(torch.cat((self.body1(x), self.body2(x)), 1)) + x


class RectifiedResidual(nn.Module):
    """Convolutions with ReLU between them, plus the input, then ReLU; the enhanced kind ends in a 1x1 convolution."""

    def __init__(self, features: int, *, enhanced: bool) -> None:
        super().__init__()
        body: list[nn.Module] = [conv(features, features), nn.ReLU(inplace=True), conv(features, features)]
        if enhanced:
            body += [nn.ReLU(inplace=True), conv(features, features, 1)]
        self.body = nn.Sequential(*body)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return torch.relu(self.body(x) + x)


class _Activated(nn.Module):
    """A convolution and what follows it; the released names have a ``body`` around both."""

    def __init__(self, inputs: int, outputs: int, kernel: int, act: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(inputs, outputs, kernel), act)

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class FeatureAttention(nn.Module):
    """Scale channels by what their means say (section 3.3)."""

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        self.c1 = _Activated(features, features // reduction, 1, nn.ReLU(inplace=True))
        self.c2 = _Activated(features // reduction, features, 1, nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return x * self.c2(self.c1(x.mean((2, 3), keepdim=True)))


class EnhancementAttention(nn.Module):
    """Merge and run, two residual blocks, feature attention (section 3.2)."""

    def __init__(self, features: int, reduction: int) -> None:
        super().__init__()
        self.r1 = MergeAndRun(features)
        self.r2 = RectifiedResidual(features, enhanced=False)
        self.r3 = RectifiedResidual(features, enhanced=True)
        self.ca = FeatureAttention(features, reduction)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return self.ca(self.r3(self.r2(self.r1(x))))


class RIDNet(nn.Module):
    """The network.

    Parameters
    ----------
    n_feats : int
        Features.
    reduction : int
        Of the feature attention.
    """

    # ``--rgb_range`` 255 by default in option.py of saeed-anwar/RIDNet; the mean shifts are 255 times DIV2K's mean.
    rgb_range = 255.0
    reentrant = True

    def __init__(self, n_feats: int = 64, reduction: int = 16) -> None:
        super().__init__()
        self.sub_mean = MeanShift(self.rgb_range, -1)
        self.add_mean = MeanShift(self.rgb_range, 1)
        self.head = _Activated(3, n_feats, 3, nn.ReLU(inplace=True))
        for number in range(1, 5):
            setattr(self, f"b{number}", EnhancementAttention(n_feats, reduction))
        self.tail = conv(n_feats, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, 3, H, W) in 0..255; not clipped.

        The mean is subtracted before the first convolution and added to the residual, as released.
        """
        features = self.head(self.sub_mean(x))
        for number in range(1, 5):
            features = getattr(self, f"b{number}")(features)
        return self.add_mean(self.tail(features)) + x
