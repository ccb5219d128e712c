"""SRMDNF: super-resolution told the blur kernel, here the delta kernel of bicubic shrinking.

Zhang, Zuo, Zhang, "Learning a Single Convolutional Super-Resolution Network for Multiple Degradations", CVPR 2018,
section 3.4; "NF" is the noise-free variant.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.networks.ffdnet import column_order


def delta_kernel(side: int = 15, sigma: float = 0.2) -> NDArray[np.float64]:
    """Make the kernel of the bicubic degradation, MATLAB's ``fspecial('gaussian', 15, 0.2)``.

    Returns
    -------
    ndarray
        (side, side) float64 that sums to 1.
    """
    axis = np.arange(side) - (side - 1) / 2
    kernel = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * sigma**2))
    kernel[kernel < np.finfo(np.float64).eps * kernel.max()] = 0  # as fspecial does
    return np.asarray(kernel / kernel.sum())


class SRMD(nn.Module):
    """Twelve 3x3 convolutions of 128 features on image and kernel code, then pixel-shuffle.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    code : int
        Length of the kernel's code: 15 principal components (section 3.3).
    channels, depth, features : int
        3 RGB channels, 12 layers, 128 features (section 3.4).
    """

    rgb_range = 1.0
    size_multiple = 1
    reentrant = True

    def __init__(self, scale: int, code: int = 15, channels: int = 3, depth: int = 12, features: int = 128) -> None:
        super().__init__()
        self.scale = scale
        widths = [channels + code] + [features] * (depth - 1) + [channels * scale**2]
        self.convs = nn.ModuleList(nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in pairwise(widths))
        self.register_buffer("kernel_code", torch.zeros(code))

    def forward(self, image: Tensor) -> Tensor:
        """Enlarge (B, 3, H, W) float32 in [0, 1] to (B, 3, sH, sW)."""
        code = self.get_buffer("kernel_code")
        maps = code.view(1, -1, 1, 1).expand(image.shape[0], -1, *image.shape[2:])
        features = torch.cat([image, maps], dim=1)
        for conv in self.convs[:-1]:
            features = torch.relu_(conv(features))
        return functional.pixel_shuffle(self.convs[-1](features), self.scale)


def from_matconvnet(tensors: Mapping[str, Tensor], scale: int, where: str) -> dict[str, Tensor]:
    """Reorder the last layer's outputs of a released file and compute the kernel's code from its basis ``meta.P``.

    Raises
    ------
    HarnessError
        The layers are not those of SRMDNF.
    """
    network = {name: tensor for name, tensor in tensors.items() if name != "meta.P"}
    order = column_order(3, scale)
    last = f"convs.{len(network) // 2 - 1}"
    outputs = [network.get(f"{last}.{kind}") for kind in ("weight", "bias")]
    basis = tensors.get("meta.P")
    kernel = delta_kernel()
    if basis is None or basis.ndim != 2 or basis.shape[1] != kernel.size:
        raise HarnessError(f"{where}: the kernel basis net.meta.P is missing or no (code, 225) matrix; use the release")
    if any(t is None or len(t) != len(order) for t in outputs):
        raise HarnessError(f"{where}: the last layer does not fit x{scale}; these are the weights of another network")
    network |= {f"{last}.{kind}": network[f"{last}.{kind}"][order] for kind in ("weight", "bias")}
    # The kernel is symmetric, so MATLAB's column order of its samples is the row order here.
    network["kernel_code"] = (basis.double() @ torch.from_numpy(kernel.ravel())).float()
    return network
