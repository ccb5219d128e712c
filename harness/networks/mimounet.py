"""MIMO-UNet and MIMO-UNet+ (Cho, Ji, Hong, Jung, Ko, ICCV 2021): one U-Net that takes and gives three scales.

Names of layers and sizes are those of the authors' program (chosj95/MIMO-UNet, models/MIMOUNet.py).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

BASE = 32


class MIMOConv(nn.Module):
    """A convolution, or the transposed one that doubles the size, with ReLU or without."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, relu: bool = True, transposed: bool = False
    ) -> None:
        super().__init__()
        layer: nn.Module = (
            nn.ConvTranspose2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2 - 1)
            if transposed
            else nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2)
        )
        self.main = nn.Sequential(layer, nn.ReLU()) if relu else nn.Sequential(layer)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, inputs, H, W)."""
        return self.main(x)


class MIMOResidualBlock(nn.Module):
    """Two 3x3 convolutions with ReLU between them, plus the input."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.main = nn.Sequential(MIMOConv(features, features, 3), MIMOConv(features, features, 3, relu=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, features, H, W) to the same shape."""
        return self.main(x) + x


class MIMOBlocks(nn.Module):
    """An encoder block or a decoder block of one scale: residual blocks in a row."""

    def __init__(self, features: int, num_res: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(*[MIMOResidualBlock(features) for _ in range(num_res)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, features, H, W) to the same shape."""
        return self.layers(x)


class MIMOShallowModule(nn.Module):
    """Features of the blurred image at a smaller scale (SCM, section 3.1)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.main = nn.Sequential(
            MIMOConv(3, features // 4, 3),
            MIMOConv(features // 4, features // 2, 1),
            MIMOConv(features // 2, features // 2, 3),
            MIMOConv(features // 2, features - 3, 1),
        )
        self.conv = MIMOConv(features, features, 1, relu=False)

    def forward(self, image: Tensor) -> Tensor:
        """Map an image (B, 3, H, W) to (B, features, H, W)."""
        return self.conv(torch.cat([image, self.main(image)], 1))


class MIMOFeatureAttention(nn.Module):
    """Merge the encoder's features with those of the smaller image by their product (FAM, section 3.1)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.merge = MIMOConv(features, features, 3, relu=False)

    def forward(self, encoded: Tensor, shallow: Tensor) -> Tensor:
        """Map two (B, features, H, W) to one."""
        return encoded + self.merge(encoded * shallow)


class MIMOFusion(nn.Module):
    """Skip connection that sees the encoder's features of all three scales (AFF, section 3.3)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(MIMOConv(7 * BASE, features, 1), MIMOConv(features, features, 3, relu=False))

    def forward(self, scales: list[Tensor]) -> Tensor:
        """Map features of three scales, resized to one (B, C, H, W), to (B, features, H, W)."""
        return self.conv(torch.cat(scales, 1))


class MIMOUNet(nn.Module):
    """The network.

    Parameters
    ----------
    num_res : int
        Residual blocks of each encoder and decoder block: 8 in MIMO-UNet, 20 in MIMO-UNet+.
    dropout : float
        Share of the maps of the two skip connections that training leaves out: 0 in MIMO-UNet, 0.1 in MIMO-UNet+.
    """

    reentrant = True

    rgb_range = 1.0

    size_multiple = 4

    def __init__(self, num_res: int = 8, dropout: float = 0.0) -> None:
        super().__init__()
        widths = [BASE, 2 * BASE, 4 * BASE]
        self.Encoder = nn.ModuleList(MIMOBlocks(width, num_res) for width in widths)
        self.feat_extract = nn.ModuleList(
            [
                MIMOConv(3, BASE, 3),
                MIMOConv(BASE, 2 * BASE, 3, stride=2),
                MIMOConv(2 * BASE, 4 * BASE, 3, stride=2),
                MIMOConv(4 * BASE, 2 * BASE, 4, stride=2, transposed=True),
                MIMOConv(2 * BASE, BASE, 4, stride=2, transposed=True),
                MIMOConv(BASE, 3, 3, relu=False),
            ]
        )
        self.Decoder = nn.ModuleList(MIMOBlocks(width, num_res) for width in reversed(widths))
        self.Convs = nn.ModuleList([MIMOConv(4 * BASE, 2 * BASE, 1), MIMOConv(2 * BASE, BASE, 1)])
        self.ConvsOut = nn.ModuleList([MIMOConv(width, 3, 3, relu=False) for width in (4 * BASE, 2 * BASE)])
        self.AFFs = nn.ModuleList([MIMOFusion(BASE), MIMOFusion(2 * BASE)])
        self.FAM1 = MIMOFeatureAttention(4 * BASE)
        self.SCM1 = MIMOShallowModule(4 * BASE)
        self.FAM2 = MIMOFeatureAttention(2 * BASE)
        self.SCM2 = MIMOShallowModule(2 * BASE)
        self.drop = nn.Dropout2d(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], H and W multiples of 4; not clipped."""
        return self.restore_scales(x)[2]

    def restore_scales(self, x: Tensor) -> list[Tensor]:
        """Give the restored image at a quarter, at half and at the full size."""
        # The authors shrink by taking every second pixel: interpolate's default is the nearest one.
        half = _resize(x, 0.5)
        quarter = _resize(half, 0.5)
        fine = self.Encoder[0](self.feat_extract[0](x))
        middle = self.Encoder[1](self.FAM2(self.feat_extract[1](fine), self.SCM2(half)))
        coarse = self.Encoder[2](self.FAM1(self.feat_extract[2](middle), self.SCM1(quarter)))
        to_middle = self.AFFs[1]([_resize(fine, 0.5), middle, _resize(coarse, 2)])
        to_fine = self.AFFs[0]([fine, _resize(middle, 2), _resize(coarse, 4)])

        features = self.Decoder[0](coarse)
        restored = [self.ConvsOut[0](features) + quarter]
        joined = torch.cat([self.feat_extract[3](features), self.drop(to_middle)], 1)
        features = self.Decoder[1](self.Convs[0](joined))
        restored.append(self.ConvsOut[1](features) + half)
        joined = torch.cat([self.feat_extract[4](features), self.drop(to_fine)], 1)
        features = self.Decoder[2](self.Convs[1](joined))
        restored.append(self.feat_extract[5](features) + x)
        return restored


class RotationEnsemble(nn.Module):
    """The mean over an image turned by 0, 90, 180 and 270 degrees: MIMO-UNet++ is this of MIMO-UNet+.

    No flips are among them (the authors in chosj95/MIMO-UNet, issue 2).

    Parameters
    ----------
    inner : Module
        Takes and returns (B, C, H, W).
    """

    reentrant = True

    rgb_range = 1.0

    size_multiple = 4

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, C, H, W)."""
        restore: Callable[[Tensor], Tensor] = self.inner
        turned = [torch.rot90(restore(torch.rot90(x, k, (2, 3))), -k, (2, 3)) for k in range(4)]
        return torch.stack(turned).mean(0)


def _resize(x: Tensor, factor: float) -> Tensor:
    return functional.interpolate(x, scale_factor=factor)
