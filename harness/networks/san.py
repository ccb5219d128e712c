"""SAN: second-order attention network, channels rescaled by what their covariance says.

Dai, Cai, Zhang, Xia, Zhang, "Second-order Attention Network for Single Image Super-Resolution", CVPR 2019. Names of
layers and sizes are those of the authors' program (daitao/SAN, `TestCode/code/model/san.py`). Its checkpoints also hold
layers that it makes and never uses (`conv_last`, `non_local.soca`, `RG.*.gamma`); they are here for that reason alone.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.blocks import MeanShift, Upsampler, conv
from harness.networks.dot_product_attention import dot_product_attention
from harness.networks.patch_attention import MEMORY_BUDGET

LARGEST = 1000
"""Rows and columns from the middle of the features that the covariance is taken of, at most (`SOCA.forward`)."""


def covariance(x: Tensor) -> Tensor:
    """Covariance of the channels of ``(B, C, H, W)`` over their positions, ``(B, C, C)`` (eq. 3)."""
    centred = x.flatten(2)
    centred = centred - centred.mean(2, keepdim=True)
    return centred @ centred.transpose(1, 2) / centred.shape[2]


def matrix_sqrt(matrix: Tensor, iterations: int = 5) -> Tensor:
    """Approximate square roots of ``(B, C, C)`` by Newton-Schulz iterations on the matrix over its trace (eq. 7 to 10).

    A matrix of zeros, the covariance of flat features, has no trace to divide by; its root is NaN in the authors'
    program and zero here.
    """
    trace = matrix.diagonal(dim1=1, dim2=2).sum(1).view(-1, 1, 1).clamp_min(torch.finfo(matrix.dtype).tiny)
    identity3 = 3 * torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
    normalised = matrix / trace
    step = 0.5 * (identity3 - normalised)
    y, z = normalised @ step, step.expand_as(normalised)
    for _ in range(1, iterations - 1):
        step = 0.5 * (identity3 - z @ y)
        y, z = y @ step, step @ z
    return 0.5 * y @ (identity3 - z @ y) * trace.sqrt()


class SOCA(nn.Module):
    """Second-order channel attention (section 3.3).

    Parameters
    ----------
    channel : int
        Channels.
    reduction : int
        How much narrower the middle of the gate is.
    """

    def __init__(self, channel: int, reduction: int) -> None:
        super().__init__()
        squeezed = channel // reduction
        self.conv_du = nn.Sequential(conv(channel, squeezed, 1), nn.ReLU(), conv(squeezed, channel, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Scale each channel of ``(B, C, H, W)``."""
        top, left = (max(0, side - LARGEST) // 2 for side in x.shape[2:])
        root = matrix_sqrt(covariance(x[:, :, top : top + LARGEST, left : left + LARGEST]))
        return x * self.conv_du(root.mean(1)[:, :, None, None])


class _NonLocal(nn.Module):
    """Embedded Gaussian; keys and values are max-pooled by two (`sub_sample` is always true in the program)."""

    def __init__(self, channel: int, inter: int) -> None:
        super().__init__()
        self.kernel = "streamed"
        self.memory_budget = MEMORY_BUDGET
        self.g = nn.Sequential(conv(channel, inter, 1), nn.MaxPool2d(2))
        self.W = conv(inter, channel, 1)
        nn.init.zeros_(self.W.weight)
        nn.init.zeros_(self.W.bias)  # type: ignore[arg-type]
        self.theta = conv(channel, inter, 1)
        self.phi = nn.Sequential(conv(channel, inter, 1), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        y = dot_product_attention(
            self.theta(x), self.phi(x), self.g(x), kernel=self.kernel, memory_budget=self.memory_budget
        )
        return self.W(y) + x


class RegionNonLocal(nn.Module):
    """Region-level non-local module (section 3.2): each quarter of the features attends within itself.

    Parameters
    ----------
    channel, inter : int
        Channels, and those of the embeddings.
    """

    def __init__(self, channel: int, inter: int) -> None:
        super().__init__()
        self.soca = SOCA(channel, 8).requires_grad_(False)
        self.non_local = _NonLocal(channel, inter)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape; H and W are 4 at least."""
        height, width = x.shape[2:]
        rows = (
            torch.cat([self.non_local(part) for part in row.tensor_split([width // 2], 3)], 3)
            for row in x.tensor_split([height // 2], 2)
        )
        return torch.cat(list(rows), 2)


class _ResidualBlock(nn.Module):
    def __init__(self, n_feats: int) -> None:
        super().__init__()
        self.conv_first = nn.Sequential(conv(n_feats, n_feats), nn.ReLU(), conv(n_feats, n_feats))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_first(x) + x


class LSRAG(nn.Module):
    """Local-source residual attention group (section 3.2): residual blocks, SOCA, a convolution, and the input added.

    Parameters
    ----------
    n_feats, n_resblocks, reduction : int
        See `SAN`.
    """

    def __init__(self, n_feats: int, n_resblocks: int, reduction: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(1), requires_grad=False)
        self.rcab = nn.ModuleList(_ResidualBlock(n_feats) for _ in range(n_resblocks))
        self.soca = SOCA(n_feats, reduction)
        self.conv_last = conv(n_feats, n_feats)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape."""
        features = x
        for block in self.rcab:
            features = block(features)
        return self.conv_last(self.soca(features)) + x


class SAN(nn.Module):
    """Second-order attention network: groups between two passes of one region-level non-local module.

    Input ``(B, 3, H, W)`` in ``[0, rgb_range]``, 4 pixels high and wide at least (smaller ones are padded by repeating
    the edge and the result is cropped); output ``(B, 3, scale H, scale W)``.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    n_resgroups, n_resblocks : int
        Groups, 20, and residual blocks in each, 10.
    n_feats : int
        64.
    reduction : int
        Of the channel attention, 16.
    n_colors : int
        3.
    rgb_range : float
        Largest sample value, 255 in the authors' program.
    """

    size_multiple = 1
    reentrant = True

    def __init__(
        self,
        scale: int,
        n_resgroups: int = 20,
        n_resblocks: int = 10,
        n_feats: int = 64,
        reduction: int = 16,
        n_colors: int = 3,
        rgb_range: float = 255.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(rgb_range, -1)
        self.gamma = nn.Parameter(torch.zeros(1))
        self.RG = nn.ModuleList(LSRAG(n_feats, n_resblocks, reduction) for _ in range(n_resgroups))
        self.conv_last = conv(n_feats, n_feats).requires_grad_(False)
        self.add_mean = MeanShift(rgb_range, 1)
        self.non_local = RegionNonLocal(n_feats, n_feats // 8)
        self.head = nn.Sequential(conv(n_colors, n_feats))
        self.tail = nn.Sequential(Upsampler(scale, n_feats), conv(n_feats, n_colors))

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge ``(B, 3, H, W)`` by ``scale``."""
        height, width = x.shape[2:]
        x = functional.pad(x, (0, max(0, 4 - width), 0, max(0, 4 - height)), mode="replicate")
        shallow = self.head(self.sub_mean(x))
        source = features = self.non_local(shallow)
        for group in self.RG:
            features = group(features) + self.gamma * source
        result = self.add_mean(self.tail(self.non_local(features) + shallow))
        return result[..., : height * self.scale, : width * self.scale]
