"""MLP (Burger, Schuler, Harmeling, CVPR 2012): a plain perceptron maps noisy patches to clean ones of their middle.

From the authors' MATLAB toolbox (``fdenoiseNeural.m``, in csjunxu/MLP_Code_CVPR2012): patches of 39x39 of the mirrored
image, every third pixel, as (x - 0.5) / 0.2 for an image in [0, 1]; tanh between the layers; 17x17 come out, weighted
by a Gaussian and averaged where they overlap.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH_IN, PATCH_OUT = 39, 17
BORDER = (PATCH_IN - PATCH_OUT) // 2
STEP = 3
"""Pixels between two patches (``model.step``)."""
WINDOW = 2
"""Half a patch in standard deviations of the Gaussian that weights it (``model.weightsSig``)."""
MEAN, DEVIATION = 0.5, 0.2
HIDDEN = (2047, 2047, 2047, 2047)
_AT_ONCE = 1000


class MLP(nn.Module):
    """The network.

    Parameters
    ----------
    hidden : sequence of int
        Units of the hidden layers.
    """

    rgb_range = 1.0
    reentrant = True
    window: Tensor

    def __init__(self, hidden: Sequence[int] = HIDDEN) -> None:
        super().__init__()
        widths = [PATCH_IN**2, *hidden, PATCH_OUT**2]
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(widths))
        along = torch.arange(PATCH_OUT, dtype=torch.float64) - PATCH_OUT // 2
        bell = torch.exp(-(along**2) / (2 * (PATCH_OUT // 2 / WINDOW) ** 2))
        self.register_buffer("window", torch.outer(bell, bell).flatten().float(), persistent=False)

    def patches(self, patches: Tensor) -> Tensor:
        """Map (N, 1521) normalised patches, row by row, to (N, 289)."""
        for layer in self.layers[:-1]:
            patches = torch.tanh(layer(patches))
        return self.layers[-1](patches)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, C, H, W) in [0, 1], each channel by itself."""
        height, width = x.shape[2:]
        thin = min(height, width) <= BORDER
        padded = functional.pad(x, (BORDER,) * 4, mode="replicate" if thin else "reflect")
        # Images smaller than what a patch gives are repeated to its size, and cropped again.
        more = [max(0, PATCH_OUT - side) for side in (width, height)]
        padded = functional.pad((padded - MEAN) / DEVIATION, (0, more[0], 0, more[1]), mode="replicate")
        restored = torch.stack([self._image(channel) for channel in padded.flatten(0, 1)])
        return restored.unflatten(0, x.shape[:2])[:, :, :height, :width] * DEVIATION + MEAN

    def _image(self, padded: Tensor) -> Tensor:
        rows, columns = (_places(side - PATCH_IN, padded.device) for side in padded.shape)
        width = padded.shape[1] - 2 * BORDER
        total = padded.new_zeros((padded.shape[0] - 2 * BORDER) * width)
        weight = torch.zeros_like(total)
        inside = torch.arange(PATCH_OUT, device=padded.device)
        offsets = (inside[:, None] * width + inside).flatten()
        windows = padded.unfold(0, PATCH_IN, 1).unfold(1, PATCH_IN, 1)
        for part in rows.split(max(1, _AT_ONCE // len(columns))):
            given = windows[part][:, columns].reshape(-1, PATCH_IN**2)
            places = ((part[:, None] * width + columns).reshape(-1, 1) + offsets).flatten()
            total = total.index_add(0, places, (self.patches(given) * self.window).flatten())
            weight = weight.index_add(0, places, self.window.repeat(len(given)))
        return (total / weight).view(-1, width)


def _places(last: int, device: Any) -> Tensor:
    """Give the first rows or columns of patches: every third, and the last that there is."""
    return torch.tensor([*range(0, last, STEP), last], device=device)


def hidden_layers(tensors: dict[str, Tensor]) -> tuple[int, ...]:
    """Read the units of the hidden layers off released weights."""
    biases = [tensors[f"layers.{index}.bias"] for index in range(len(tensors) // 2)]
    return tuple(len(bias) for bias in biases[:-1])
