"""CBDNet (Guo et al., CVPR 2019): a network that estimates the noise level of each pixel, and a U-Net that is told it.

`CBDNet` is the network of the released MatConvNet files (GuoShi28/CBDNet), with strided and transposed convolutions and
the names of its layers. `CBDNetPort` is another network, the PyTorch port that is used most (IDKiro/CBDNet-pytorch):
it halves by averages and has a third of the channels on its way up; its checkpoints are not the authors'.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.blocks import conv
from harness.networks.padding import reflected


class CBDNet(nn.Module):
    """The released network: layers ``E…`` estimate, ``DS…`` lead down, ``US…`` and ``USP…`` up."""

    rgb_range = 1.0
    reentrant = True

    multiple = 4
    """Heights and widths must be multiples of this; the forward pass mirrors the image up to it."""

    def __init__(self) -> None:
        super().__init__()
        for name, layer in _released_layers():
            setattr(self, name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, 3, H, W) in [0, 1]; not clipped.

        Sides that are no multiples of 4 are mirrored, with their last samples, at the right and bottom and cropped
        again, as Test_Patches.m does.
        """
        padded = reflected(x, self.multiple)
        return self._denoised(padded, self.noise_level(padded))[:, :, : x.shape[2], : x.shape[3]]

    def noise_level(self, x: Tensor) -> Tensor:
        """Estimate the noise level of each sample: (B, 3, H, W), 0 or more (section 3.2)."""
        return self._rectified(x, "E01", "E02", "E03", "E04", "E05")

    def _denoised(self, x: Tensor, level: Tensor) -> Tensor:
        whole = self._rectified(torch.cat((x, level), 1), *_numbered("DS01_layer", 4))
        half = self._rectified(self._plain(whole, "DS02", "DS02_layer00_cf"), *_numbered("DS02_layer", 3))
        quarter = self._rectified(self._plain(half, "DS03", "DS03_layer00_cf"), *_numbered("DS03_layer", 3))
        quarter = self._rectified(quarter, *_numbered("UPS03_layer", 4))
        half = self._rectified(self._plain(quarter, "USP02") + half, *_numbered("US02_layer", 3))
        whole = self._rectified(self._plain(half, "USP01") + whole, *_numbered("US01_layer", 2))
        return self._plain(whole, "US01_layer02") + x

    def _plain(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = getattr(self, name)(x)
        return x

    def _rectified(self, x: Tensor, *names: str) -> Tensor:
        for name in names:
            x = torch.relu(getattr(self, name)(x))
        return x


def _numbered(stem: str, count: int) -> list[str]:
    return [f"{stem}{index:02}" for index in range(count)]


def _released_layers() -> list[tuple[str, nn.Module]]:
    layers: list[tuple[str, nn.Module]] = []

    def add(names: list[str], *widths: int) -> None:
        layers.extend((name, conv(*pair)) for name, pair in zip(names, itertools.pairwise(widths), strict=True))

    add([f"E0{number}" for number in range(1, 6)], 3, 32, 32, 32, 32, 3)
    add(_numbered("DS01_layer", 4), 6, 64, 64, 64, 64)
    for scale, width in (("02", 128), ("03", 256)):
        layers.append((f"DS{scale}", nn.Conv2d(width // 2, 2 * width, 2, stride=2)))
        layers.append((f"DS{scale}_layer00_cf", conv(2 * width, width, 1)))
        add(_numbered(f"DS{scale}_layer", 3), width, width, width, width)
    add(_numbered("UPS03_layer", 4), 256, 256, 256, 256, 512)
    layers.append(("USP02", nn.ConvTranspose2d(512, 128, 2, stride=2, bias=False)))
    add(_numbered("US02_layer", 3), 128, 128, 128, 256)
    layers.append(("USP01", nn.ConvTranspose2d(256, 64, 2, stride=2, bias=False)))
    add(_numbered("US01_layer", 3), 64, 64, 64, 3)
    return layers


class _Rectified(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(inputs, outputs), nn.ReLU(inplace=True))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def _rectified(*widths: int) -> nn.Sequential:
    return nn.Sequential(*[_Rectified(*pair) for pair in itertools.pairwise(widths)])


class _PortUNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inc = _rectified(6, 64, 64)
        self.conv1 = _rectified(64, 128, 128, 128)
        self.conv2 = _rectified(128, 256, 256, 256, 256, 256, 256)
        self.up1 = nn.ModuleDict({"up": nn.ConvTranspose2d(256, 128, 2, stride=2)})
        self.conv3 = _rectified(128, 128, 128, 128)
        self.up2 = nn.ModuleDict({"up": nn.ConvTranspose2d(128, 64, 2, stride=2)})
        self.conv4 = _rectified(64, 64, 64)
        self.outc = nn.ModuleDict({"conv": conv(64, 3, 1)})

    def forward(self, x: Tensor) -> Tensor:
        whole = self.inc(x)
        half = self.conv1(functional.avg_pool2d(whole, 2))
        quarter = self.conv2(functional.avg_pool2d(half, 2))
        half = self.conv3(self.up1["up"](quarter) + half)
        whole = self.conv4(self.up2["up"](half) + whole)
        return self.outc["conv"](whole)


class CBDNetPort(nn.Module):
    """The port: 4,365,382 parameters, names of its checkpoints."""

    rgb_range = 1.0
    reentrant = True
    size_multiple = 4

    def __init__(self) -> None:
        super().__init__()
        estimator: list[nn.Module] = []
        for before, after in ((3, 32), (32, 32), (32, 32), (32, 32), (32, 3)):
            estimator += [conv(before, after), nn.ReLU(inplace=True)]
        self.fcn = nn.ModuleDict({"fcn": nn.Sequential(*estimator)})
        self.unet = _PortUNet()

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, 3, H, W) in [0, 1], sides multiples of 4; not clipped."""
        return self.unet(torch.cat((x, self.noise_level(x)), 1)) + x

    def noise_level(self, x: Tensor) -> Tensor:
        """Estimate the noise level of each sample: (B, 3, H, W), 0 or more."""
        level: Tensor = self.fcn["fcn"](x)
        return level
