"""MIRNet (Zamir et al., ECCV 2020): three resolutions side by side, fused by selective kernels.

Names of layers are those of the released checkpoints. As released, the two dual attention units of a resolution in a
block are one module applied twice, and all units share one PReLU slope.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional


def _conv(inputs: int, outputs: int, kernel: int, *, bias: bool = False) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=bias)


class SelectiveFusion(nn.Module):
    """Add features of several resolutions, channel by channel with weights that sum to 1 (section 3.1)."""

    def __init__(self, features: int, streams: int = 3, reduction: int = 8) -> None:
        super().__init__()
        squeezed = max(features // reduction, 4)
        self.conv_du = nn.Sequential(_conv(features, squeezed, 1), nn.PReLU())
        self.fcs = nn.ModuleList(_conv(squeezed, features, 1) for _ in range(streams))

    def forward(self, streams: Sequence[Tensor]) -> Tensor:
        """Take tensors (B, C, H, W) of one shape, return one."""
        stacked = torch.stack(list(streams), 1)
        squeezed = self.conv_du(stacked.sum(1).mean((2, 3), keepdim=True))
        weights = torch.stack([fc(squeezed) for fc in self.fcs], 1).softmax(1)
        return (stacked * weights).sum(1)


class SpatialAttention(nn.Module):
    """Scale pixels by what the maximum and mean over their channels say."""

    def __init__(self, kernel: int = 5) -> None:
        super().__init__()
        self.spatial = nn.ModuleDict({"conv": _conv(2, 1, kernel)})

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        pooled = torch.cat((x.amax(1, keepdim=True), x.mean(1, keepdim=True)), 1)
        return x * torch.sigmoid(self.spatial["conv"](pooled))


class MIRNetChannelAttention(nn.Module):
    """Scale channels by what their means say."""

    def __init__(self, features: int, reduction: int = 8, *, bias: bool = False) -> None:
        super().__init__()
        squeezed = features // reduction
        self.conv_du = nn.Sequential(
            _conv(features, squeezed, 1, bias=bias),
            nn.ReLU(),
            _conv(squeezed, features, 1, bias=bias),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return x * self.conv_du(x.mean((2, 3), keepdim=True))


class DualAttention(nn.Module):
    """Two convolutions, spatial beside channel attention, and the input added (section 3.2).

    The same authors' CycleISP has it with other sizes and with biases.
    """

    def __init__(
        self, features: int, act: nn.PReLU, reduction: int = 8, kernel: int = 5, *, bias: bool = False
    ) -> None:
        super().__init__()
        self.body = nn.Sequential(_conv(features, features, 3, bias=bias), act, _conv(features, features, 3, bias=bias))
        self.SA = SpatialAttention(kernel)
        self.CA = MIRNetChannelAttention(features, reduction, bias=bias)
        self.conv1x1 = _conv(2 * features, features, 1, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        features = self.body(x)
        return self.conv1x1(torch.cat([self.SA(features), self.CA(features)], 1)) + x


class SmoothHalving(nn.Module):
    """Every second sample after a 3x3 binomial filter, mirrored at the border (Zhang, ICML 2019)."""

    filt: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        taps = torch.tensor([1.0, 2.0, 1.0])
        kernel = taps[:, None] * taps[None, :] / 16
        self.register_buffer("filt", kernel[None, None].repeat(features, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, C, H, W), return half of it in each direction."""
        return functional.conv2d(functional.pad(x, (1, 1, 1, 1), "reflect"), self.filt, stride=2, groups=x.shape[1])


class ResidualHalving(nn.Module):
    """Half the resolution, twice the features; two ways added (section 3.3)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.top = nn.Sequential(
            _conv(features, features, 1),
            nn.PReLU(),
            _conv(features, features, 3),
            nn.PReLU(),
            SmoothHalving(features),
            _conv(features, 2 * features, 1),
        )
        self.bot = nn.Sequential(SmoothHalving(features), _conv(features, 2 * features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, C, H, W)."""
        return self.top(x) + self.bot(x)


class ResidualDoubling(nn.Module):
    """Twice the resolution, half the features; two ways added."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.top = nn.Sequential(
            _conv(features, features, 1),
            nn.PReLU(),
            nn.ConvTranspose2d(features, features, 3, stride=2, padding=1, output_padding=1, bias=False),
            nn.PReLU(),
            _conv(features, features // 2, 1),
        )
        self.bot = nn.Sequential(
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), _conv(features, features // 2, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, C, H, W)."""
        return self.top(x) + self.bot(x)


class Resampling(nn.Module):
    """Several halvings or doublings behind each other."""

    def __init__(self, features: int, steps: int, *, down: bool) -> None:
        super().__init__()
        made: list[nn.Module] = []
        for _ in range(steps):
            made.append(ResidualHalving(features) if down else ResidualDoubling(features))
            features = 2 * features if down else features // 2
        self.body = nn.Sequential(*made)

    def forward(self, x: Tensor) -> Tensor:
        """Take (B, C, H, W)."""
        return self.body(x)


class MultiScaleBlock(nn.Module):
    """Three streams of dual attention that exchange what they have (figure 2 of the paper)."""

    height, width = 3, 2

    def __init__(self, features: int, act: nn.PReLU) -> None:
        super().__init__()
        widths = [features * 2**level for level in range(self.height)]
        units = [DualAttention(width, act) for width in widths]
        self.blocks = nn.ModuleList(nn.ModuleList([unit] * self.width) for unit in units)
        self.last_up = nn.ModuleDict(
            {str(level): Resampling(widths[level], level, down=False) for level in range(1, self.height)}
        )
        self.down, self.up = nn.ModuleDict(), nn.ModuleDict()
        for steps in (2, 1):
            self.down[f"{widths[0]}_{2**steps}"] = Resampling(widths[0], steps, down=True)
            self.up[f"{widths[2]}_{2**steps}"] = Resampling(widths[2], steps, down=False)
        self.down[f"{widths[1]}_2"] = Resampling(widths[1], 1, down=True)
        self.up[f"{widths[1]}_2"] = Resampling(widths[1], 1, down=False)
        self.conv_out = _conv(features, features, 3)
        self.selective_kernel = nn.ModuleList(SelectiveFusion(width) for width in widths)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W), height and width multiples of 4."""
        levels = range(self.height)
        streams: list[Tensor] = []
        for level in levels:
            given = x if level == 0 else self._resampled(streams[-1], level, level - 1)
            streams.append(self._unit(level, 0)(given))
        for column in range(1, self.width):
            fused = [
                self.selective_kernel[to]([self._resampled(streams[level], to, level) for level in levels])
                for to in levels
            ]
            streams = [self._unit(level, column)(fused[level]) for level in levels]
        whole = [streams[0], *(self.last_up[str(level)](streams[level]) for level in levels[1:])]
        return self.conv_out(self.selective_kernel[0](whole)) + x

    def _unit(self, level: int, column: int) -> nn.Module:
        row = self.blocks[level]
        assert isinstance(row, nn.ModuleList)
        return row[column]

    def _resampled(self, x: Tensor, to: int, level: int) -> Tensor:
        if to == level:
            return x
        between = self.down if to > level else self.up
        return between[f"{x.shape[1]}_{2 ** abs(to - level)}"](x)


class RecursiveGroup(nn.Module):
    """Multi-scale blocks and a convolution, and the input added."""

    def __init__(self, features: int, act: nn.PReLU, blocks: int = 2) -> None:
        super().__init__()
        body: list[nn.Module] = [MultiScaleBlock(features, act) for _ in range(blocks)]
        self.body = nn.Sequential(*body, _conv(features, features, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return self.body(x) + x


class MIRNet(nn.Module):
    """The network.

    Parameters
    ----------
    n_feat : int
        Features at full resolution.
    groups : int
        Recursive residual groups.
    """

    rgb_range = 1.0

    multiple = 4
    """Heights and widths must be multiples of this; the forward pass repeats the edge up to it."""

    def __init__(self, n_feat: int = 64, groups: int = 3) -> None:
        super().__init__()
        act = nn.PReLU()
        self.conv_in = _conv(3, n_feat, 3)
        self.body = nn.Sequential(*[RecursiveGroup(n_feat, act) for _ in range(groups)])
        self.conv_out = _conv(n_feat, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1]; not clipped."""
        height, width = x.shape[2:]
        # The thinnest stream must have two samples, for it is mirrored by one.
        wanted = [max(8, -(-side // self.multiple) * self.multiple) for side in (height, width)]
        padded = functional.pad(x, (0, wanted[1] - width, 0, wanted[0] - height), mode="replicate")
        return (self.conv_out(self.body(self.conv_in(padded))) + padded)[:, :, :height, :width]
