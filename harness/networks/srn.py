"""SRN-DeblurNet (Tao, Gao, Shen, Wang, Jia, CVPR 2018): one network over three scales, with memory between them.

Names of layers are those of the variables in the released TensorFlow 1 checkpoints (jiangsutx/SRN-Deblur,
models/model.py and util/BasicConvLSTMCell.py). The model `lstm` is the paper's network; each colour channel is restored
as a gray image of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.networks.tensorflow_layers import (
    SameConv,
    as_colour,
    as_gray,
    doubled,
    doubling,
    from_variables,
    halved,
    landscape,
)

FEATURES = (32, 64, 128)
FORGET_BIAS = 1.0


class SRNResidualBlock(nn.Module):
    """Two 5x5 convolutions with ReLU between them, plus the input (section 3.2)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = SameConv(features, features, 5)
        self.conv2 = SameConv(features, features, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, features, H, W) to the same shape."""
        return self.conv2(torch.relu(self.conv1(x))) + x


class SRNConvLSTM(nn.Module):
    """The convolutional LSTM at the lowest resolution (section 3.2)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        # Input gate, candidate, forget gate and output gate in one convolution.
        self.LSTM_conv = SameConv(2 * features, 4 * features, 3)

    def forward(self, x: Tensor, cell: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Take features and the two memories, all (B, features, H, W); give the new cell and hidden memory."""
        into, candidate, forget, out = self.LSTM_conv(torch.cat([x, hidden], 1)).chunk(4, 1)
        cell = cell * torch.sigmoid(forget + FORGET_BIAS) + torch.sigmoid(into) * torch.tanh(candidate)
        return cell, torch.tanh(cell) * torch.sigmoid(out)


class SRN(nn.Module):
    """The network: encoder, LSTM and decoder, with the same weights at a quarter, at half and at the full size."""

    reentrant = True

    rgb_range = 1.0

    size_multiple = 16
    """The smallest scale is halved twice more."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 2
        for level, features in enumerate(FEATURES, 1):
            self.add_module(f"enc{level}_1", SameConv(inputs, features, 5, stride=1 if level == 1 else 2))
            for number in (2, 3, 4):
                self.add_module(f"enc{level}_{number}", SRNResidualBlock(features))
            for number in (3, 2, 1):
                self.add_module(f"dec{level}_{number}", SRNResidualBlock(features))
            if level > 1:
                self.add_module(f"dec{level - 1}_4", doubling(features, inputs))
            inputs = features
        self.convLSTM = SRNConvLSTM(FEATURES[2])
        self.dec1_0 = SameConv(FEATURES[0], 1, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], H and W multiples of 16; not clipped."""
        return as_colour(landscape(lambda gray: self.restore_scales(gray)[-1], as_gray(x)))

    def restore_scales(self, gray: Tensor) -> list[Tensor]:
        """Restore (B, 1, H, W) at a quarter, at half and at the full size."""
        restored: list[Tensor] = []
        image = halved(gray, 2)
        lowest = (image.shape[0], FEATURES[2], image.shape[2] // 4, image.shape[3] // 4)
        cell = hidden = image.new_zeros(lowest)
        for scale in range(3):
            if scale:
                image, cell, hidden = doubled(image), doubled(cell), doubled(hidden)
            image, cell, hidden = self._scale(torch.cat([halved(gray, 2 - scale), image], 1), cell, hidden)
            restored.append(image)
        return restored

    def _scale(self, x: Tensor, cell: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        encoded = []
        for level in (1, 2, 3):
            x = torch.relu(getattr(self, f"enc{level}_1")(x))
            x = self._blocks(f"enc{level}", (2, 3, 4), x)
            encoded.append(x)
        cell, hidden = self.convLSTM(x, cell, hidden)
        x = self._blocks("dec3", (3, 2, 1), hidden)
        for level in (2, 1):
            x = torch.relu(getattr(self, f"dec{level}_4")(x)) + encoded[level - 1]
            x = self._blocks(f"dec{level}", (3, 2, 1), x)
        return self.dec1_0(x), cell, hidden

    def _blocks(self, level: str, numbers: tuple[int, ...], x: Tensor) -> Tensor:
        for number in numbers:
            x = getattr(self, f"{level}_{number}")(x)
        return x


def srn_state(variables: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Turn the variables of a released checkpoint into the state of `SRN`."""
    return from_variables(variables, "g_net", where)
