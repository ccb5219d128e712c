"""AINDNet (Kim et al., CVPR 2020): a U-Net whose features are normalised to what an estimated noise level says.

Written after the released TensorFlow program (terryoo/AINDNet, code/model.py), with TensorFlow 1's "same" padding and
its bilinear resizing, which takes the samples' corners for their places. Names of layers follow the scopes of that
program; `from_tensorflow` renames its variables.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError
from harness.networks.blocks import conv

NORM_EPSILON = 1e-5
SLOPE = 0.02
# How the two noise level maps are weighed: the enlarged one, and the one that was convolved after that.
COARSE_SHARE = 0.8


def resize_bilinear(x: Tensor, height: int, width: int) -> Tensor:
    """Resize as TensorFlow 1's ``resize_bilinear`` does: output sample i lies at i times (input size / output size).

    Parameters
    ----------
    x : Tensor
        ``(B, C, H, W)``.
    height, width : int
        New size.
    """
    for axis, size in ((2, height), (3, width)):
        length = x.shape[axis]
        if length == size:
            continue
        places = torch.arange(size, device=x.device, dtype=x.dtype) * (length / size)
        lower = places.long().clamp_(max=length - 1)
        upper = (lower + 1).clamp_(max=length - 1)
        share = (places - lower)[:, None] if axis == 2 else places - lower
        x = torch.lerp(x.index_select(axis, lower), x.index_select(axis, upper), share)
    return x


def average_pool(x: Tensor, side: int) -> Tensor:
    """Average `side` x `side` samples with that stride and "same" padding; padded samples do not count."""
    below, right = -x.shape[2] % side, -x.shape[3] % side
    if not below and not right:
        return functional.avg_pool2d(x, side)
    margins = (right // 2, right - right // 2, below // 2, below - below // 2)
    present = functional.pad(torch.ones_like(x[:1, :1]), margins)
    return functional.avg_pool2d(functional.pad(x, margins), side) / functional.avg_pool2d(present, side)


class NoiseEstimator(nn.Module):
    """Estimate a noise level map at an eighth of the size, and another one from it at full size (section 3.2)."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 32, 32, 32, 3, 3, 3)
        for number, (before, after) in enumerate(itertools.pairwise(widths), 1):
            setattr(self, f"conv{number}", conv(before, after))

    def forward(self, x: Tensor) -> Tensor:
        """Give the weighed sum of both maps, (B, 3, H, W)."""
        height, width = x.shape[2:]
        coarse = average_pool(self._rectified(x, 1, 2), 4)
        coarse = self._rectified(average_pool(self._rectified(coarse, 3, 4), 2), 5)
        enlarged = resize_bilinear(coarse, height, width)
        return COARSE_SHARE * enlarged + (1 - COARSE_SHARE) * self._rectified(enlarged, 6, 7)

    def _rectified(self, x: Tensor, *numbers: int) -> Tensor:
        for number in numbers:
            x = torch.relu(getattr(self, f"conv{number}")(x))
        return x


class AdaptiveInstanceNorm(nn.Module):
    """Normalise each channel over the image, then scale and shift each sample as the noise level there says (eq. 5)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = conv(3, 64, 5)
        self.conv_gamma = conv(64, features)
        self.conv_beta = conv(64, features)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Take (B, features, H, W) and the noise level map at any size."""
        hidden = torch.relu(self.conv1(resize_bilinear(noise, *x.shape[2:])))
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        normal = (x - mean) / torch.sqrt(variance + NORM_EPSILON)
        return normal * (1 + self.conv_gamma(hidden)) + self.conv_beta(hidden)


class AdaptiveResidual(nn.Module):
    """Twice: adaptive normalisation, leaky ReLU, convolution; plus the input (figure 3)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.AIN_1 = AdaptiveInstanceNorm(features)
        self.conv1 = conv(features, features)
        self.AIN_2 = AdaptiveInstanceNorm(features)
        self.conv2 = conv(features, features)

    def forward(self, x: Tensor, noise: Tensor) -> Tensor:
        """Take and return (B, features, H, W)."""
        inner = self.conv1(functional.leaky_relu(self.AIN_1(x, noise), SLOPE))
        return self.conv2(functional.leaky_relu(self.AIN_2(inner, noise), SLOPE)) + x


class _UpAndAdd(nn.Module):
    """Double the size by a transposed convolution without bias; a residual block of the skip is added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.Conv = conv(outputs, outputs)
        self.Conv_1 = conv(outputs, outputs)
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        skip = skip + self.Conv_1(torch.relu(self.Conv(skip)))
        return self.up(x)[:, :, : skip.shape[2], : skip.shape[3]] + skip


# Adaptive residual blocks of each level, in the order of the figure: down, at the bottom, up.
_LEVELS = ((1, 64, 2), (2, 128, 2), (3, 256, 5), (4, 128, 3), (5, 64, 2))


class AINDNet(nn.Module):
    """Noise level estimator and reconstruction network; any size of image."""

    conv1_1: nn.Conv2d
    conv2_1: nn.Conv2d
    conv3_1: nn.Conv2d

    # test_images.py divides by 255.
    rgb_range = 1.0
    reentrant = True

    def __init__(self) -> None:
        super().__init__()
        self.fcn_avg = NoiseEstimator()
        for number, before, after in ((1, 3, 64), (2, 64, 128), (3, 128, 256)):
            setattr(self, f"conv{number}_1", conv(before, after))
        for level, width, count in _LEVELS:
            for number in range(1, count + 1):
                setattr(self, f"AINRes{level}_{number}", AdaptiveResidual(width))
        self.deconv4 = _UpAndAdd(256, 128)
        self.deconv5 = _UpAndAdd(128, 64)
        self.conv6 = conv(64, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, 3, H, W) in [0, 1]; not clipped."""
        noise = self.noise_level(x)
        whole = self._level(1, torch.relu(self.conv1_1(x)), noise)
        half = self._level(2, torch.relu(self.conv2_1(average_pool(whole, 2))), noise)
        quarter = self._level(3, torch.relu(self.conv3_1(average_pool(half, 2))), noise)
        half = self._level(4, self.deconv4(quarter, half), noise)
        whole = self._level(5, self.deconv5(half, whole), noise)
        return self.conv6(whole) + x

    def noise_level(self, x: Tensor) -> Tensor:
        """Estimate the noise level of each sample: (B, 3, H, W), 0 or more."""
        level: Tensor = self.fcn_avg(x)
        return level

    def _level(self, level: int, x: Tensor, noise: Tensor) -> Tensor:
        for number in range(1, _LEVELS[level - 1][2] + 1):
            x = getattr(self, f"AINRes{level}_{number}")(x, noise)
        return x


_KINDS = {"weights": "weight", "kernel": "weight", "biases": "bias", "bias": "bias"}
# tf.Variable makes a name of its own where its scope is taken, as both transposed convolutions' is.
_UP = {"AINDNet/deconv4_1": "deconv4.up.weight", "AINDNet/deconv5_1": "deconv5.up.weight"}


def from_tensorflow(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename the variables of the released checkpoint: ``AINDNet/conv1_1/weights`` to ``conv1_1.weight``.

    Raises
    ------
    HarnessError
        A variable is neither a filter nor a bias of a layer.
    """
    renamed = {}
    for name, tensor in tensors.items():
        scope, _, last = name.removeprefix("AINDNet/").rpartition("/")
        if name not in _UP and (not scope or last not in _KINDS):
            raise HarnessError(f"{where}: '{name}' is left over; these are the weights of another network")
        renamed[_UP.get(name) or f"{scope.replace('/', '.')}.{_KINDS[last]}"] = tensor
    return renamed
