"""LapSRN: super-resolution on luma, one doubling a level.

Lai, Huang, Ahuja, Yang, "Deep Laplacian Pyramid Networks for Fast and Accurate Super-Resolution", CVPR 2017, section
3.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError

SLOPE = 0.2  # of the leaky ReLU, section 3.3

CHANNELS = 8
"""Channels that are enlarged together: PyTorch holds nine columns of the small map for each."""

STRIP = 2**17
"""Fewest pixels of a strip of rows; below that its sums would be those of another algorithm, and round otherwise."""


class ImageUp(nn.ConvTranspose2d):
    """The transposed 4x4 convolution of one channel by two, as four 3x3 convolutions, one for a place of 2x2 each.

    PyTorch's own sums of this layer depend in the last bit on the number of threads.
    """

    def __init__(self) -> None:
        super().__init__(1, 1, 4, stride=2, padding=1, bias=False)

    def forward(self, image: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Enlarge (B, 1, H, W) to (B, 1, 2H, 2W)."""
        # Rows and columns of the kernel from the three samples around to an even and to an odd place; 4 is none.
        taps = ([3, 1, 4], [4, 2, 0])
        kernel = functional.pad(self.weight[0, 0], (0, 1, 0, 1))
        places = torch.stack([kernel[rows][:, columns] for rows in taps for columns in taps])
        return functional.pixel_shuffle(functional.conv2d(image, places[:, None], padding=1), 2)


class Level(nn.Module):
    """One doubling: ten convolutions and a transposed one make features, from which the residual image comes.

    Parameters
    ----------
    features, depth : int
        Width, and number of convolutions before the transposed one.
    """

    def __init__(self, features: int = 64, depth: int = 10) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(features, features, 3, padding=1) for _ in range(depth))
        self.up = nn.ConvTranspose2d(features, features, 3, stride=2)
        self.residual = nn.Conv2d(features, 1, 3, padding=1)
        self.image_up = ImageUp()

    def forward(self, features: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return features and image at twice the size."""
        for conv in self.convs:
            features = functional.leaky_relu_(conv(features), SLOPE)
        features = self._enlarged(features)
        return features, self.image_up(image) + self._residual_image(features)

    def _enlarged(self, features: Tensor) -> Tensor:
        count, _, height, width = features.shape
        weight, bias = self.up.weight, self.up.bias
        assert bias is not None
        out = features.new_empty(count, len(bias), 2 * height, 2 * width)
        for first in range(0, len(bias), CHANNELS):
            here = slice(first, first + CHANNELS)
            odd = functional.conv_transpose2d(features, weight[:, here], bias[here], stride=2)
            out[:, here] = odd[..., :-1, :-1]  # MatConvNet crops the last row and column
        return functional.leaky_relu_(out, SLOPE)

    def _residual_image(self, features: Tensor) -> Tensor:
        height, width = features.shape[2:]
        strips = max(1, height * width // STRIP)
        step = math.ceil(height / strips)
        out = features.new_empty(len(features), 1, height, width)
        for top in range(0, height, step):
            stop = min(top + step, height)
            first, past = max(top - 1, 0), min(stop + 1, height)
            border = (0, 0, 1 - (top - first), 1 - (past - stop))
            strip = functional.pad(features[:, :, first:past], border)
            out[:, :, top:stop] = functional.conv2d(strip, self.residual.weight, self.residual.bias, padding=(0, 1))
        return out


class LapSRN(nn.Module):
    """A Laplacian pyramid of one (x2) or two (x4) levels.

    Parameters
    ----------
    levels : int
        Doublings.
    features, depth : int
        Width and depth of each level.
    """

    rgb_range = 1.0

    def __init__(self, levels: int, features: int = 64, depth: int = 10) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, features, 3, padding=1)
        self.levels = nn.ModuleList(Level(features, depth) for _ in range(levels))

    def forward(self, image: Tensor) -> Tensor:
        """Enlarge luma (B, 1, H, W) float32 in [0, 1] to (B, 1, sH, sW), s = 2^levels."""
        features = functional.leaky_relu_(self.head(image), SLOPE)
        for level in self.levels:
            features, image = level(features, image)
        return image


def from_dagnn(tensors: Mapping[str, Tensor], levels: int, where: str) -> dict[str, Tensor]:
    """Rename the parameters of a released file; its levels are numbered backwards, the last enlargement is level 1.

    Raises
    ------
    HarnessError
        A parameter belongs to no layer of LapSRN.
    """
    names = {"input_conv": "head"}
    for index in range(levels):
        theirs, ours = f"level{levels - index}", f"levels.{index}"
        names |= {f"{theirs}_conv{layer}": f"{ours}.convs.{layer - 1}" for layer in range(1, 11)}
        names |= {f"{theirs}_upconv": f"{ours}.up", f"{theirs}_residual_conv": f"{ours}.residual"}
        names[f"{theirs}_img_up"] = f"{ours}.image_up"
    kinds = {"f": "weight", "b": "bias"}
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition("_")
        if layer not in names or kind not in kinds:
            raise HarnessError(f"{where}: '{name}' is left over; these are the weights of another network")
        renamed[f"{names[layer]}.{kinds[kind]}"] = tensor
    return renamed


# rgb2ycbcr of MATLAB, for samples in [0, 1]: studio swing (ITU-R BT.601).
_TO_YCBCR = np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
_OFFSET = np.array([16.0, 128.0, 128.0]) / 255


def enlarge_colour(network: Callable[[Tensor], Tensor], batch: Tensor, scale: int) -> Tensor:
    """Enlarge luma by the network and chroma by bicubic, as the authors' program ``SR_LapSRN.m`` does.

    Parameters
    ----------
    network : callable
        (B, 1, H, W) in [0, 1] to a greater size.
    batch : Tensor
        (B, 3, H, W) RGB in [0, 1], or (B, 1, H, W), which is its own luma.
    scale : int
        Scale of the result; where the network's is another one, its luma is resized by bicubic (x3 from x4).

    Returns
    -------
    Tensor
        (B, C, scale H, scale W) float32.
    """
    from harness.degradations.resize import imresize

    results = []
    for image in batch.movedim(1, -1).double().cpu().numpy():
        colours = image if image.shape[2] == 1 else image @ _TO_YCBCR.T + _OFFSET
        luma = torch.from_numpy(np.ascontiguousarray(colours[None, None, :, :, 0], dtype=np.float32)).to(batch.device)
        size = (scale * image.shape[0], scale * image.shape[1])
        enlarged = network(luma)[0, 0].double().cpu().numpy()
        if enlarged.shape != size:
            enlarged = imresize(enlarged, size=size, border="symmetric")
        if image.shape[2] == 1:
            result = enlarged[:, :, None]
        else:
            ycbcr = imresize(np.ascontiguousarray(colours), size=size, border="symmetric")
            ycbcr[:, :, 0] = enlarged
            result = (ycbcr - _OFFSET) @ np.linalg.inv(_TO_YCBCR).T
        results.append(torch.from_numpy(result).movedim(-1, 0).float())
    return torch.stack(results).to(batch.device)
