"""What TensorFlow 1 does otherwise than PyTorch: padding of strided convolutions, bilinear resizing, names."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError


class SameConv(nn.Conv2d):
    """A convolution with TensorFlow's padding SAME: the odd pixel goes to the right and to the bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride)
        self.side, self.step = kernel, stride

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, inputs, H, W)`` to ``(B, outputs, ceil(H / stride), ceil(W / stride))``."""
        margins: list[int] = []
        for length in (x.shape[3], x.shape[2]):
            missing = max((-(-length // self.step) - 1) * self.step + self.side - length, 0)
            margins += [missing // 2, missing - missing // 2]
        return super().forward(functional.pad(x, margins))


def doubling(inputs: int, outputs: int) -> nn.ConvTranspose2d:
    """Make the 4x4 transposed convolution that doubles a size; with SAME it is centred as in PyTorch."""
    return nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)


def halved(x: Tensor, times: int = 1) -> Tensor:
    """Resize to one half, `times` times, as ``resize_images(method=0)`` does: pixel i is pixel 2 i."""
    return x[:, :, :: 2**times, :: 2**times]


def doubled(x: Tensor) -> Tensor:
    """Resize to twice the size as ``resize_images(method=0)`` does.

    Pixel 2 i is pixel i, pixel 2 i + 1 the mean of i and i + 1; the last one is repeated. TensorFlow 1 does not centre
    its grid.
    """
    for axis in (2, 3):
        length = x.shape[axis]
        following = torch.cat([x.narrow(axis, 1, length - 1), x.narrow(axis, length - 1, 1)], axis)
        x = torch.stack([x, (x + following) / 2], axis + 1).flatten(axis, axis + 1)
    return x


def landscape(restore: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Restore (B, C, H, W) lying on its side where it is higher than wide, as SRN's and PSS-NSC's programs do."""
    if image.shape[2] > image.shape[3]:
        return restore(image.transpose(2, 3)).transpose(2, 3)
    return restore(image)


def as_gray(x: Tensor) -> Tensor:
    """Make three gray images (3 B, 1, H, W) of each colour image."""
    return x.flatten(0, 1).unsqueeze(1)


def as_colour(x: Tensor) -> Tensor:
    """Reverse `as_gray`."""
    return x.squeeze(1).unflatten(0, (-1, 3))


def from_variables(variables: Mapping[str, Tensor], scope: str, where: str) -> dict[str, Tensor]:
    """Rename the variables of a scope: ``g_net/enc1_2/conv1/weights`` becomes ``enc1_2.conv1.weight``.

    The axes are PyTorch's already (`harness.assets.weights.tensorflow`). Variables outside the scope, such as the
    counters of training, are left out.

    Parameters
    ----------
    variables : mapping
        Variable to tensor, as a checkpoint holds them.
    scope : str
        First part of the names.
    where : str
        File, for the error.

    Raises
    ------
    HarnessError
        No variable is in the scope.
    """
    found = {}
    for name, value in variables.items():
        first, _, rest = name.partition("/")
        layer, _, kind = rest.rpartition("/")
        if first == scope and kind in ("weights", "biases"):
            key = f"{layer.replace('/', '.')}.{kind.replace('weights', 'weight').replace('biases', 'bias')}"
            found[key] = value
    if not found:
        raise HarnessError(f"{where}: no variable is in the scope '{scope}'; these are the weights of another network")
    return found
