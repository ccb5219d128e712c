"""MemNet: memory blocks, each of which keeps what all blocks before it found, and restores an image of its own.

Tai, Yang, Liu, Xu, "MemNet: A Persistent Memory Network for Image Restoration", ICCV 2017. Order of layers, names and
shared weights are those of the released definitions (tyshiwo/MemNet,
``caffe_files/MemNet_M6R6_80C64/MemNet_M6R6_80C64_train.prototxt`` and ``test/…_deploy.prototxt``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.networks.channels import each_channel

# The released networks are at hand as MXNet's, which takes no smaller constant than this in batch normalisation; their
# variances were made smaller by what it is more than Caffe's 1e-5 (apache/mxnet, ``tools/caffe_converter``).
EPSILON = 1e-4


def _norm(features: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(features, eps=EPSILON)


class _Layer(nn.Module):
    """Batch normalisation, ReLU, convolution."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.norm = _norm(inputs)
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.relu(self.norm(x)))


class MemoryBlock(nn.Module):
    """A residual block applied again and again with the same filters, and a gate that mixes all it has given.

    Batch normalisation is each recursion's own.

    Parameters
    ----------
    features : int
        Channels.
    recursions : int
        How often the block is applied.
    memories : int
        Results of earlier blocks that the gate gets, too.
    """

    def __init__(self, features: int, recursions: int, memories: int) -> None:
        super().__init__()
        self.conv_a, self.conv_b = (nn.Conv2d(features, features, 3, padding=1) for _ in range(2))
        self.norms_a, self.norms_b = (nn.ModuleList(_norm(features) for _ in range(recursions)) for _ in range(2))
        self.gate = _Layer((recursions + memories) * features, features, 1)

    def forward(self, memories: Sequence[Tensor]) -> Tensor:
        """Map the results of all earlier blocks, the last of which is the input, to one of the same shape."""
        x = memories[-1]
        short = []
        for norm_a, norm_b in zip(self.norms_a, self.norms_b, strict=True):
            x = x + self.conv_b(torch.relu(norm_b(self.conv_a(torch.relu(norm_a(x))))))
            short.append(x)
        return self.gate(torch.cat([*memories, *short], dim=1))


class MemNet(nn.Module):
    """Memory blocks, from each of which an image is restored; the result is a weighted sum of these.

    Parameters
    ----------
    blocks, recursions : int
        Memory blocks (M) and recursions in each (R): 6 and 6, or 10 and 10 in the larger release.
    features : int
        Channels.
    """

    rgb_range = 1.0
    reentrant = True

    def __init__(self, blocks: int = 6, recursions: int = 6, features: int = 64) -> None:
        super().__init__()
        self.extract = _Layer(1, features, 3)
        self.blocks = nn.ModuleList(MemoryBlock(features, recursions, number) for number in range(1, blocks + 1))
        self.norms_end = nn.ModuleList(_norm(features) for _ in range(blocks))
        self.reconstruct = nn.Conv2d(features, 1, 3, padding=1)
        self.mix = nn.Parameter(torch.full((blocks,), 1 / blocks))

    def images(self, image: Tensor) -> list[Tensor]:
        """Give what each block makes of (B, 1, H, W), the first block's image first."""
        memories = [self.extract(image)]
        for block in self.blocks:
            memories.append(block(memories))
        return [
            image + self.reconstruct(torch.relu(norm(memory)))
            for norm, memory in zip(self.norms_end, memories[1:], strict=True)
        ]

    def forward(self, image: Tensor) -> Tensor:
        """Restore (B, C, H, W) float32 in [0, 1], each channel by itself; unclipped noise may leave that range."""
        return each_channel(self._restore, image)

    def _restore(self, image: Tensor) -> Tensor:
        weighted = [weight * restored for weight, restored in zip(self.mix, self.images(image), strict=True)]
        return torch.stack(weighted).sum(dim=0)


def from_layers(layers: Mapping[str, Tensor], mix: Sequence[float], recursions: int, where: str) -> dict[str, Tensor]:
    """Turn the released layers into the state of `MemNet`.

    Parameters
    ----------
    layers : mapping
        ``conv01_02_a.weight`` and so on: block, recursion, first or second convolution. Shared filters are there once
        for each layer that uses them.
    mix : sequence of float
        Weight of each block's image. The release holds them in its description of the network, not among the arrays.
    recursions : int
        In each block.
    where : str
        What is being read, for errors.

    Raises
    ------
    HarnessError
        A layer is left over, or copies of shared filters differ.
    """
    names = {"conv1": "extract.conv", "bn_conv1": "extract.norm"}
    for number in range(1, len(mix) + 1):
        block = f"blocks.{number - 1}"
        for step in range(1, recursions + 1):
            for half in "ab":
                names[f"conv{number:02d}_{step:02d}_{half}"] = f"{block}.conv_{half}"
                names[f"bn_conv{number:02d}_{step:02d}_{half}"] = f"{block}.norms_{half}.{step - 1}"
        names[f"conv_transition_{number:02d}"] = f"{block}.gate.conv"
        names[f"bn_conv_transition_{number:02d}"] = f"{block}.gate.norm"
        names[f"conv_end_{number:02d}"] = "reconstruct"
        names[f"bn_conv_end_{number:02d}"] = f"norms_end.{number - 1}"
    state: dict[str, Tensor] = {"mix": torch.tensor(mix, dtype=torch.float32)}
    for name, tensor in layers.items():
        layer, _, kind = name.rpartition(".")
        if layer not in names:
            raise HarnessError(f"{where}: '{name}' is left over; these are the weights of another network")
        own = f"{names[layer]}.{kind}"
        if own in state and not torch.equal(state[own], tensor):
            raise HarnessError(f"{where}: '{name}' should be shared, and differs from its copies")
        state[own] = tensor
        if kind == "running_mean":
            state[f"{names[layer]}.num_batches_tracked"] = torch.tensor(0)
    return state
