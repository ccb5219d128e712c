"""KiT: k-NN image transformer (KiT section 3).

No code is known. What the paper states is fixed here and in ``knn_attention``; what it leaves open is a field of
``KiTAssumptions``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from harness.errors import HarnessError, unknown_name
from harness.networks.blocks import conv
from harness.networks.knn_attention import KiTAssumptions, KNNLocalAttention
from harness.networks.resizing import resize


class _LayerNorm(nn.LayerNorm):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class KTB(nn.Module):
    """k-NN transformer block (Figure 2c; eq. 3 and 4)."""

    def __init__(self, channels: int, attention: KNNLocalAttention, mlp_ratio: int) -> None:
        super().__init__()
        hidden = channels * mlp_ratio
        self.norm1 = _LayerNorm(channels)
        self.attention = attention
        self.norm2 = _LayerNorm(channels)
        self.ffn = nn.Sequential(
            nn.Conv2d(channels, hidden, 1),
            nn.GELU(),
            nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden),
            nn.GELU(),
            nn.Conv2d(hidden, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        x = self.attention(self.norm1(x)) + x
        return self.ffn(self.norm2(x)) + x


class _Interpolation(nn.Module):
    """Interpolation layer: bilinear resize by 1/2 or 2, then a 1x1 convolution to the next width."""

    def __init__(self, in_channels: int, out_channels: int, factor: float) -> None:
        super().__init__()
        self.factor = factor
        self.project = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        size = (round(x.shape[2] * self.factor), round(x.shape[3] * self.factor))
        return self.project(resize(x, size, "bilinear"))


class KiT(nn.Module):
    """KiT (Figure 2): 3 convolutions, 3 encoder stages, bottleneck, 3 decoder stages, 3 convolutions.

    Input and output are ``(B, n_colors, H, W)`` in [0, 1], H and W multiples of ``size_multiple`` (64). The
    network predicts a residual image, which is added to the input (section 3.4).

    Parameters
    ----------
    k : int
        Chunk size, 4 (1, 2, 4, 8, 16 in Table 4). The bottleneck always has 1.
    h : int
        Hash rounds, 4 (1, 2, 4, 8, 16 in Table 4). Neither changes the parameters.
    r : int
        Patch size, 4.
    b : int
        Transformer blocks in a stage, 2.
    shared : bool
        True is KiT_S of Table 5: query and key share their projection.
    n_colors : int
        3.
    assumptions : KiTAssumptions
        What the paper leaves open.
    """

    rgb_range = 1.0
    when_missing: ClassVar[Mapping[str, str]] = {
        "rotations": "a KiT without its hash rotations was trained on rotations that changed with the image's size; "
        "train it again"
    }

    def __init__(
        self,
        k: int = 4,
        h: int = 4,
        r: int = 4,
        b: int = 2,
        shared: bool = False,
        n_colors: int = 3,
        assumptions: KiTAssumptions | None = None,
    ) -> None:
        super().__init__()
        self.assumptions = a = assumptions or KiTAssumptions()
        if min(k, h, r, b) < 1:
            raise HarnessError(f"KiT needs k, h, r and b of at least 1, not {k}, {h}, {r} and {b}")
        if a.pair_weight not in ("softmax", "ratio"):
            raise unknown_name("KiT pair weight", a.pair_weight, ("softmax", "ratio"))
        if a.round_merge not in ("mean", "logsumexp"):
            raise unknown_name("KiT round merge", a.round_merge, ("mean", "logsumexp"))
        if a.round_merge == "logsumexp" and a.pair_weight != "softmax":
            raise HarnessError("KiT's round merge 'logsumexp' needs the pair weight 'softmax'")
        stages = 3
        self.size_multiple = a.stem_stride * 2**stages * r
        widths = [a.width * 2**i for i in range(stages + 1)]
        blocks = 0

        def stage(channels: int, k: int) -> nn.Sequential:
            nonlocal blocks
            out = []
            for _ in range(b):
                attention = KNNLocalAttention(channels, k, h, r, shared, a, index=blocks)
                out.append(KTB(channels, attention, a.mlp_ratio))
                blocks += 1
            return nn.Sequential(*out)

        self.head = nn.Sequential(
            conv(n_colors, widths[0], stride=a.stem_stride),
            nn.GELU(),
            conv(widths[0], widths[0]),
            nn.GELU(),
            conv(widths[0], widths[0]),
        )
        self.encoder = nn.ModuleList(stage(widths[i], k) for i in range(stages))
        self.down = nn.ModuleList(_Interpolation(widths[i], widths[i + 1], 0.5) for i in range(stages))
        self.bottleneck = stage(widths[-1], 1)
        # Decoder stage i takes the previous map beside the output of encoder stage 4 - i, of the same size.
        decoder = list(range(stages, 0, -1))
        self.fuse = nn.ModuleList(nn.Conv2d(2 * widths[i], widths[i], 1) for i in decoder)
        self.decoder = nn.ModuleList(stage(widths[i], k) for i in decoder)
        self.up = nn.ModuleList(_Interpolation(widths[i], widths[i - 1], 2) for i in decoder)
        self.tail = nn.Sequential(
            conv(widths[0], widths[0]),
            nn.GELU(),
            conv(widths[0], widths[0]),
            nn.GELU(),
            conv(widths[0], n_colors * a.stem_stride**2),
            nn.PixelShuffle(a.stem_stride),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Restore ``(B, n_colors, H, W)`` in [0, 1]."""
        height, width = x.shape[-2:]
        if height % self.size_multiple or width % self.size_multiple:
            raise HarnessError(
                f"KiT needs a width and height that {self.size_multiple} divides, not {width}x{height}; "
                "pad the image first"
            )
        y = self.head(x)
        skips = []
        for blocks, down in zip(self.encoder, self.down, strict=True):
            y = down(blocks(y))
            skips.append(y)
        y = self.bottleneck(y)
        for fuse, blocks, up in zip(self.fuse, self.decoder, self.up, strict=True):
            y = up(blocks(fuse(torch.cat([y, skips.pop()], dim=1))))
        return self.tail(y) + x


TABLE_4 = tuple((k, h) for k in (1, 2, 4, 8, 16) for h in (1, 2, 4, 8, 16))
"""The settings (k, h) of KiT Table 4; Table 5 compares KiT with ``KiT(shared=True)``."""
