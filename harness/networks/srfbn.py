"""SRFBN: feedback network for super-resolution (SRFBN section 3), as its released code (networks/) builds it."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.blocks import MeanShift, check_scale, conv

# Kernel, stride and padding that enlarge by a scale, and shrink by it again (section 3.4).
_PROJECTION = {2: (6, 2, 2), 3: (7, 3, 2), 4: (8, 4, 2)}

# PReLU slopes start at 0.2 in the released program.
_SLOPE = 0.2


def _layer(convolution: nn.Module) -> nn.Sequential:
    return nn.Sequential(convolution, nn.PReLU(init=_SLOPE))


def _fuse(in_channels: int, out_channels: int) -> nn.Sequential:
    return _layer(conv(in_channels, out_channels, 1))


def _up(n_feats: int, scale: int) -> nn.Sequential:
    kernel, stride, padding = _PROJECTION[scale]
    return _layer(nn.ConvTranspose2d(n_feats, n_feats, kernel, stride, padding))


def _down(n_feats: int, scale: int) -> nn.Sequential:
    kernel, stride, padding = _PROJECTION[scale]
    return _layer(nn.Conv2d(n_feats, n_feats, kernel, stride, padding))


class FeedbackBlock(nn.Module):
    """Feedback block (section 3.3, Figure 3): the features of this step, refined by the output of the last one.

    Each of G projection groups enlarges and shrinks; a group sees the maps of all earlier ones.

    Parameters
    ----------
    n_feats : int
        Channels m.
    n_groups : int
        Projection groups G.
    scale : int
        2, 3 or 4.
    """

    def __init__(self, n_feats: int, n_groups: int, scale: int) -> None:
        super().__init__()
        later = range(2, n_groups + 1)
        self.compress_in = _fuse(2 * n_feats, n_feats)
        self.upBlocks = nn.ModuleList(_up(n_feats, scale) for _ in range(n_groups))
        self.downBlocks = nn.ModuleList(_down(n_feats, scale) for _ in range(n_groups))
        self.uptranBlocks = nn.ModuleList(_fuse(count * n_feats, n_feats) for count in later)
        self.downtranBlocks = nn.ModuleList(_fuse(count * n_feats, n_feats) for count in later)
        self.compress_out = _fuse(n_groups * n_feats, n_feats)

    def forward(self, x: Tensor, last: Tensor) -> Tensor:
        """Map the features and the last output, both ``(B, n_feats, H, W)``, to the same shape."""
        low = [self.compress_in(torch.cat((x, last), 1))]
        high: list[Tensor] = []
        for group, (up, down) in enumerate(zip(self.upBlocks, self.downBlocks, strict=True)):
            # The first group has one map to work on: nothing is to be fused.
            high.append(up(self.uptranBlocks[group - 1](torch.cat(low, 1)) if group else low[0]))
            low.append(down(self.downtranBlocks[group - 1](torch.cat(high, 1)) if group else high[0]))
        return self.compress_out(torch.cat(low[1:], 1))


class SRFBN(nn.Module):
    """SRFBN: one network unfolded over T steps; every step adds to the bilinear enlargement of the input.

    Input ``(B, 3, H, W)`` in 0..255, output ``(B, 3, scale H, scale W)``, that of the last step.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    n_steps : int
        Steps T, 4.
    n_groups : int
        Projection groups G of the feedback block: 6, in SRFBN-S 3.
    n_feats : int
        Channels m: 64, in SRFBN-S 32.
    """

    size_multiple = 1
    rgb_range = 255.0

    reentrant = True

    def __init__(self, scale: int, n_steps: int = 4, n_groups: int = 6, n_feats: int = 64) -> None:
        super().__init__()
        check_scale(scale)
        self.scale = scale
        self.n_steps = n_steps
        self.sub_mean = MeanShift(self.rgb_range, -1)
        self.conv_in = _layer(conv(3, 4 * n_feats))
        self.feat_in = _fuse(4 * n_feats, n_feats)
        self.block = FeedbackBlock(n_feats, n_groups, scale)
        self.out = _up(n_feats, scale)
        self.conv_out = nn.Sequential(conv(n_feats, 3))
        self.add_mean = MeanShift(self.rgb_range, 1)

    def steps(self, x: Tensor) -> list[Tensor]:
        """Enlarge ``(B, 3, H, W)``: the result of each step, the first one first."""
        x = self.sub_mean(x)
        enlarged = functional.interpolate(x, scale_factor=self.scale, mode="bilinear", align_corners=False)
        features = self.feat_in(self.conv_in(x))
        # The first step has no output of an earlier one: the features themselves stand in.
        hidden, results = features, []
        for _ in range(self.n_steps):
            hidden = self.block(features, hidden)
            results.append(self.add_mean(enlarged + self.conv_out(self.out(hidden))))
        return results

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(B, 3, H, W)`` by ``scale``: the result of the last step."""
        return self.steps(x)[-1]
