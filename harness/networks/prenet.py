"""PReNet: six passes of one network over the rainy image, with memory between them.

Ren, Zuo, Hu, Zhu, Meng, "Progressive Image Deraining Networks: A Better and Simpler Baseline", CVPR 2019, section 3.2.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.errors import HarnessError


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each with ReLU, plus the input, then ReLU."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(features, features, 3, padding=1)
        self.second = nn.Conv2d(features, features, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(B, features, H, W) → the same."""
        inner = torch.relu_(self.second(torch.relu_(self.first(features))))
        return torch.relu_(inner + features)


class PReNet(nn.Module):
    """Head, convolutional LSTM, five residual blocks and tail, applied `stages` times with the same weights.

    Parameters
    ----------
    stages, features, blocks : int
        6, 32, 5 in the paper.
    """

    rgb_range = 1.0

    def __init__(self, stages: int = 6, features: int = 32, blocks: int = 5) -> None:
        super().__init__()
        self.stages = stages
        self.features = features
        self.head = nn.Conv2d(6, features, 3, padding=1)
        # Input gate, forget gate, candidate and output gate in one convolution.
        self.gates = nn.Conv2d(2 * features, 4 * features, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(features) for _ in range(blocks))
        self.tail = nn.Conv2d(features, 3, 3, padding=1)

    def forward(self, rainy: Tensor) -> Tensor:
        """Remove rain from (B, 3, H, W) float32 in [0, 1]."""
        image = rainy
        hidden = rainy.new_zeros(rainy.shape[0], self.features, *rainy.shape[2:])
        cell = hidden
        for _ in range(self.stages):
            inner = torch.relu_(self.head(torch.cat([rainy, image], dim=1)))
            into, forget, candidate, out = self.gates(torch.cat([inner, hidden], dim=1)).chunk(4, dim=1)
            cell = torch.sigmoid(forget) * cell + torch.sigmoid(into) * torch.tanh(candidate)
            hidden = torch.sigmoid(out) * torch.tanh(cell)
            inner = hidden
            for block in self.blocks:
                inner = block(inner)
            image = self.tail(inner) + rainy
        return image


def from_state_dict(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename the layers of a released file and stack its four gates.

    Raises
    ------
    HarnessError
        A layer is missing or left over.
    """
    gates = ["conv_i.0", "conv_f.0", "conv_g.0", "conv_o.0"]
    stacked = {}
    for kind in ("weight", "bias"):
        missing = [gate for gate in gates if f"{gate}.{kind}" not in tensors]
        if missing:
            raise HarnessError(f"{where}: '{missing[0]}.{kind}' is missing; these are the weights of another network")
        stacked[f"gates.{kind}"] = torch.cat([tensors[f"{gate}.{kind}"] for gate in gates])
    names = {"conv0.0": "head", "conv.0": "tail"}
    for block in range(5):
        names |= {f"res_conv{block + 1}.0": f"blocks.{block}.first", f"res_conv{block + 1}.2": f"blocks.{block}.second"}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        if layer in names:
            stacked[f"{names[layer]}.{kind}"] = tensor
        elif layer not in gates:
            raise HarnessError(f"{where}: '{name}' is left over; these are the weights of another network")
    return stacked
