"""MSPFN (Jiang et al., CVPR 2020): rain is estimated over a pyramid of three sizes, coarse then fine.

From the released program (kuijiang94/MSPFN, ``model/TEST_MSPFN_M17N1.py`` and ``model/TEST_MSPFN.py``): images in
[-1, 1], their channels in the order blue, green, red. Layers are named like the variables of its checkpoint. The
recurrent units are applied once, from a state of zeros, so that what reads their state reads nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError

MODULES = 17
"""Fine-fusion modules (M)."""


def _same(size: int, stride: int) -> tuple[int, int]:
    """Give the zeros before and behind an axis under TensorFlow's padding "SAME", 3 samples wide."""
    missing = max((-(-size // stride) - 1) * stride + 3 - size, 0)
    return missing // 2, missing - missing // 2


class _Activated(nn.Module):
    """A 3x3 filter without bias, and a ReLU with a slope for each channel where `activates`."""

    def __init__(self, weight: tuple[int, int], outputs: int, stride: int, *, activates: bool) -> None:
        super().__init__()
        self.stride = stride
        self.weight = nn.Parameter(torch.empty(*weight, 3, 3))
        nn.init.xavier_uniform_(self.weight)
        self.alpha = nn.Parameter(torch.zeros(outputs)) if activates else None

    def _activated(self, x: Tensor) -> Tensor:
        return x if self.alpha is None else functional.prelu(x, self.alpha)


class Down(_Activated):
    """A convolution of stride 2."""

    def __init__(self, features: int) -> None:
        super().__init__((features, features), features, 2, activates=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to half the size, rounded up."""
        (top, bottom), (left, right) = (_same(side, self.stride) for side in x.shape[2:])
        padded = functional.pad(x, (left, right, top, bottom))
        return self._activated(functional.conv2d(padded, self.weight, stride=self.stride))


class Up(_Activated):
    """A transposed convolution, of stride 2 or 1."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, activates: bool = True) -> None:
        super().__init__((inputs, outputs), outputs, stride, activates=activates)

    def forward(self, x: Tensor, height: int, width: int) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, height, width)."""
        top, left = (_same(side, self.stride)[0] for side in (height, width))
        full = functional.conv_transpose2d(x, self.weight, stride=self.stride)
        return self._activated(full[:, :, top : top + height, left : left + width])


class _Layer(nn.Module):
    """A convolution with bias, named as TensorFlow's layers are, and a ReLU with slopes where `activates`."""

    def __init__(self, inputs: int, outputs: int, side: int, *, activates: bool) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.empty(outputs, inputs, side, side))
        nn.init.xavier_uniform_(self.kernel)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.alpha = nn.Parameter(torch.zeros(outputs)) if activates else None

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to (B, outputs, H, W)."""
        x = functional.conv2d(x, self.kernel, self.bias, padding=self.kernel.shape[2] // 2)
        return x if self.alpha is None else functional.prelu(x, self.alpha)


class MSPFNBlock(nn.Module):
    """A residual block whose channels are scaled by what their means say (section 3.3)."""

    def __init__(self, features: int, reduction: int = 4) -> None:
        super().__init__()
        self.conv2d = _Layer(features, features, 3, activates=True)
        self.conv2d_1 = _Layer(features, features, 3, activates=False)
        self.conv2d_2 = _Layer(features, features // reduction, 1, activates=True)
        self.conv2d_3 = _Layer(features // reduction, features, 1, activates=False)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, features, H, W)."""
        inner = self.conv2d_1(self.conv2d(x))
        means = inner.mean((2, 3), keepdim=True)
        return x + inner * torch.sigmoid(self.conv2d_3(self.conv2d_2(means)))


class _Gates(nn.Module):
    """The one convolution of a recurrent unit: `inputs` channels and its own state → four gates of `features`."""

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.empty(4 * features, inputs + features, 3, 3))
        nn.init.trunc_normal_(self.weights, std=1e-3, a=-2e-3, b=2e-3)
        self.biases = nn.Parameter(torch.zeros(4 * features))
        self.inputs = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs, H, W) to the output (B, features, H, W) of a first step."""
        # State and cell are zero, so neither the filters that see the state nor the forget gate matter.
        gates = functional.conv2d(x, self.weights[:, : self.inputs], self.biases, padding=1)
        into, candidate, _, out = gates.chunk(4, 1)
        return torch.tanh(torch.sigmoid(into) * torch.tanh(candidate)) * torch.sigmoid(out)


def _scope(**modules: nn.Module) -> nn.ModuleDict:
    return nn.ModuleDict(modules)


class MSPFN(nn.Module):
    """The network.

    Parameters
    ----------
    blocks : int
        Channel attention blocks in a module of the two larger sizes (N): 1 in the released weights, 3 in training.
    modules : int
        Fine-fusion modules (M).
    features : int
        64 as released.
    """

    rnn_recon: Up
    rnn_recon2: Up
    rnn_recon4: Up

    rgb_range = 1.0
    reentrant = True
    size_multiple = 4

    def __init__(self, blocks: int = 1, modules: int = MODULES, features: int = 64) -> None:
        super().__init__()
        c = features
        self.depth = modules
        self.rnn1, self.rnn2, self.rnn4 = Up(3, c), Up(3, c), Up(3, c)
        memory: dict[str, nn.Module] = {}
        for name, suffix, widening in (("rain4", "4", 1), ("rain2", "2", 2), ("rain", "", 4)):
            memory[f"{name}_res1"] = Up(c, c // 2)
            memory[f"lstm_group{suffix}"] = _scope(convLSTM=_scope(LSTM_conv=_Gates(c // 2, c * widening)))
            memory[f"{name}_res2"] = Up(c * widening, c)
        for name in ("upRMM4_2", "upRMM4_1", "upRMM2_1"):
            memory[name] = Up(c, c, 2)
        self.residual_memory = nn.ModuleDict(memory)
        for index in range(modules):
            for size, ups, count in (
                ("4", (), 1),
                ("2", ("upBCM4_2",), blocks),
                ("", ("upBCM4to1", "upBCM2to1"), blocks),
            ):
                scope: dict[str, nn.Module] = {f"{up}_{index}": Up(c, c, 2) for up in ups}
                scope[f"down{size}_{index + 1}"] = Down(c)
                scope |= {f"group_{index + 1}_RCAB{number}": MSPFNBlock(c) for number in range(1, count + 1)}
                scope[f"up_{index + 1}"] = Up(2 * c, c, 2)
                setattr(self, f"BCM{size}_{index}", nn.ModuleDict(scope))
        for size in ("4", "2", ""):
            setattr(self, f"rnn_recon{size}", Up(2 * c, c))
        self.up4_2, self.up2_1 = Up(c, c, 2), Up(2 * c, c, 2)
        self.rnn5 = Up(2 * c, c // 2)
        self.rnn7 = Up(c // 2, 3, activates=False)

    def _memory(self, name: str, suffix: str, x: Tensor) -> Tensor:
        sides = x.shape[2:]
        gates = self.residual_memory.get_submodule(f"lstm_group{suffix}.convLSTM.LSTM_conv")
        x = gates(self.residual_memory[f"{name}_res1"](x, *sides))
        return self.residual_memory[f"{name}_res2"](x, *sides)

    def _fused(self, size: str, index: int, x: Tensor) -> Tensor:
        """Give what a module of one size adds to its features."""
        scope: nn.ModuleDict = getattr(self, f"BCM{size}_{index}")
        short = inner = scope[f"down{size}_{index + 1}"](x)
        for name, block in scope.items():
            if "_RCAB" in name:
                inner = block(inner)
        return scope[f"up_{index + 1}"](torch.cat([short, inner], 1), *x.shape[2:])

    def rain(self, x: Tensor) -> Tensor:
        """Estimate the rain of (B, 3, H, W) in [-1, 1], blue first; H and W are multiples of 4."""
        whole = x.shape[2:]
        half, quarter = ([side // factor for side in whole] for factor in (2, 4))
        features = self.rnn1(x, *whole)
        features2 = self.rnn2(functional.avg_pool2d(x, 2), *half)
        features4 = self.rnn4(functional.avg_pool2d(x, 4), *quarter)
        # Coarse fusion (section 3.2).
        memory = self.residual_memory
        coarse4 = self._memory("rain4", "4", features4) + features4
        up2 = memory["upRMM4_2"](coarse4, *half)
        coarse2 = self._memory("rain2", "2", features2 + up2) + features2
        up1 = memory["upRMM4_1"](up2, *whole) + memory["upRMM2_1"](coarse2, *whole)
        coarse = self._memory("rain", "", features + up1) + features
        # Fine fusion (section 3.3): each size sees what the smaller ones have become.
        fine4, fine2, fine = coarse4, coarse2, coarse
        for index in range(self.depth):
            fine4 = fine4 + self._fused("4", index, fine4)
            up2 = getattr(self, f"BCM2_{index}")[f"upBCM4_2_{index}"](fine4, *half)
            fine2 = fine2 + self._fused("2", index, fine2 + up2)
            scope = getattr(self, f"BCM_{index}")
            up1 = scope[f"upBCM4to1_{index}"](up2, *whole) + scope[f"upBCM2to1_{index}"](fine2, *whole)
            fine = fine + self._fused("", index, fine + up1)
        # Reconstruction (section 3.4).
        fine4 = self.rnn_recon4(torch.cat([fine4, coarse4], 1), *quarter)
        fine2 = self.rnn_recon2(torch.cat([fine2, coarse2], 1), *half)
        fine = self.rnn_recon(torch.cat([fine, coarse], 1), *whole)
        smaller = self.up2_1(torch.cat([self.up4_2(fine4, *half), fine2], 1), *whole)
        joined = self.rnn5(torch.cat([fine, smaller], 1), *whole)
        return self.rnn7(joined, *whole)

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) RGB in [0, 1], H and W multiples of 4; not clipped."""
        return x - self.rain(2 * x.flip(1) - 1).flip(1) / 2


def from_checkpoint(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Rename the variables of the released checkpoint: ``generator/rnn1/weight`` becomes ``rnn1.weight``.

    Raises
    ------
    HarnessError
        A variable is not of the generator.
    """
    for name in tensors:
        if not name.startswith("generator/"):
            raise HarnessError(f"{where}: '{name}' is left over; these are the weights of another network")
    return {name.removeprefix("generator/").replace("/", "."): tensor for name, tensor in tensors.items()}
