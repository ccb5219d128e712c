"""CycleISP (Zamir et al., CVPR 2020): its denoising network for sRGB images.

Names of layers are those of the released checkpoints. The two networks that make training data out of sRGB images
(RGB to RAW and back) are no part of it.
"""

from __future__ import annotations

from torch import Tensor, nn

from harness.networks.blocks import conv
from harness.networks.mirnet import DualAttention


class DualAttentionGroup(nn.Module):
    """Dual attention blocks and a convolution, and the input added (figure 4)."""

    def __init__(self, features: int, act: nn.PReLU, blocks: int, reduction: int) -> None:
        super().__init__()
        body: list[nn.Module] = [DualAttention(features, act, reduction, kernel=3, bias=True) for _ in range(blocks)]
        self.body = nn.Sequential(*body, conv(features, features))

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, C, H, W)."""
        return self.body(x) + x


class CycleISP(nn.Module):
    """The denoiser of section 3.4 with sRGB input; as released, one PReLU serves all its blocks.

    Parameters
    ----------
    n_feats : int
        Features.
    groups, blocks : int
        Recursive residual groups, and dual attention blocks in each.
    reduction : int
        Of the channel attention.
    """

    rgb_range = 1.0
    reentrant = True

    def __init__(self, n_feats: int = 64, groups: int = 4, blocks: int = 8, reduction: int = 16) -> None:
        super().__init__()
        act = nn.PReLU(n_feats)
        self.head = nn.Sequential(conv(3, n_feats))
        body: list[nn.Module] = [DualAttentionGroup(n_feats, act, blocks, reduction) for _ in range(groups)]
        self.body = nn.Sequential(*body, conv(n_feats, n_feats), act)
        self.tail = nn.Sequential(conv(n_feats, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, 3, H, W) in [0, 1]; not clipped."""
        return self.tail(self.body(self.head(x))) + x
