"""RCAN: residual channel attention network (RCAN section 3), as its released code (RCAN_TestCode) builds it."""

from __future__ import annotations

from torch import Tensor, nn

from harness.networks.blocks import MeanShift, Upsampler, conv


class ChannelAttention(nn.Module):
    """Channel attention (section 3.3): each channel times a gate in (0, 1) made of the means of all channels.

    Parameters
    ----------
    n_feats : int
        Channels.
    reduction : int
        The gate is computed through ``n_feats / reduction`` channels.
    """

    def __init__(self, n_feats: int, reduction: int) -> None:
        super().__init__()
        squeezed = n_feats // reduction
        self.conv_du = nn.Sequential(conv(n_feats, squeezed, 1), nn.ReLU(), conv(squeezed, n_feats, 1), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape; the means are over the whole map."""
        return x * self.conv_du(x.mean(dim=(2, 3), keepdim=True))


class RCAB(nn.Module):
    """Residual channel attention block (section 3.4): convolution, ReLU, convolution, attention; plus the input."""

    def __init__(self, n_feats: int, reduction: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv(n_feats, n_feats), nn.ReLU(), conv(n_feats, n_feats), ChannelAttention(n_feats, reduction)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape."""
        return self.body(x) + x


class ResidualGroup(nn.Module):
    """Residual group (section 3.2): blocks and a convolution, plus the input (the short skip connection)."""

    def __init__(self, n_resblocks: int, n_feats: int, reduction: int) -> None:
        super().__init__()
        blocks = [RCAB(n_feats, reduction) for _ in range(n_resblocks)]
        self.body = nn.Sequential(*blocks, conv(n_feats, n_feats))

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape."""
        return self.body(x) + x


class RCAN(nn.Module):
    """RCAN: residual in residual, 10 groups of 20 blocks, then pixel-shuffle upsampling.

    Input ``(B, 3, H, W)`` in 0..255, output ``(B, 3, scale H, scale W)``. The attention sees all of its input, so tiles
    (`harness.inference.chop`) are another network than the whole image.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    n_resgroups, n_resblocks : int
        Groups, and blocks in each: 10 and 20.
    n_feats : int
        Channels, 64.
    reduction : int
        Of the channel attention, 16.
    """

    size_multiple = 1
    rgb_range = 255.0

    reentrant = True

    def __init__(
        self, scale: int, n_resgroups: int = 10, n_resblocks: int = 20, n_feats: int = 64, reduction: int = 16
    ) -> None:
        super().__init__()
        self.scale = scale
        self.sub_mean = MeanShift(self.rgb_range, -1)
        self.head = nn.Sequential(conv(3, n_feats))
        groups = [ResidualGroup(n_resblocks, n_feats, reduction) for _ in range(n_resgroups)]
        self.body = nn.Sequential(*groups, conv(n_feats, n_feats))
        self.tail = nn.Sequential(Upsampler(scale, n_feats), conv(n_feats, 3))
        self.add_mean = MeanShift(self.rgb_range, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(B, 3, H, W)`` by ``scale``."""
        features = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(self.body(features) + features))
