"""DAGL (Mou et al., ICCV 2021): residual blocks around graph attention between patches, for real noise.

Names of layers are those of the released program (jianzhangcs/DAGL, DN_Real/model/dagl.py). As released, ``W`` of the
attention and ``add_mean`` of the network have weights and are not applied.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.networks.blocks import MeanShift, ResBlock, conv

# Bytes of scores that exist at a time.
MEMORY_BUDGET = 128 * 2**20


class GraphAttention(nn.Module):
    """One head: each patch of a coarse grid looks at the patches that are more like it than its own threshold.

    Equations 2 to 7 of the paper: the score of a pair is a product of two projected 7x7 patches; a patch keeps the
    neighbours whose score exceeds its mean score times a factor, minus a bias, both convolved from its surroundings.

    Parameters
    ----------
    features, inner : int
        Channels outside and inside.
    side, stride : int
        Patches and the step of the coarse grid.
    """

    softmax_scale = 10.0

    def __init__(self, features: int = 64, inner: int = 16, side: int = 7, stride: int = 4) -> None:
        super().__init__()
        self.side, self.stride = side, stride
        self.memory_budget = MEMORY_BUDGET
        self.g = conv(features, inner)
        self.W = conv(inner, features, 1).requires_grad_(False)
        self.theta = conv(features, inner, 1)
        length = side * side * inner
        self.fc1 = nn.Sequential(nn.Linear(length, length // 4), nn.ReLU())
        self.fc2 = nn.Sequential(nn.Linear(length, length // 4), nn.ReLU())
        self.thr_conv = nn.Conv2d(features, 1, side, stride=stride)
        self.bias_conv = nn.Conv2d(features, 1, side, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, features, H, W) → (B, inner, H, W)."""
        height, width = x.shape[2:]
        keys, values = self.g(x), self.theta(x)
        coarse = self._same(x, self.stride)
        threshold = self.thr_conv(coarse).flatten(1)[..., None]
        bias = self.bias_conv(coarse).flatten(1)[..., None]
        queries = self.fc1(self._patches(keys, self.stride))
        projected = self.fc2(self._patches(keys, 1)).transpose(1, 2)
        patches = self._patches(values, 1)
        count = max(1, self.memory_budget // (4 * len(x) * projected.shape[2]))
        found = torch.cat(
            [
                self._attend(queries[:, at], projected, patches, threshold[:, at], bias[:, at])
                for at in (slice(start, start + count) for start in range(0, queries.shape[1], count))
            ],
            1,
        )
        # The patches overlap; each pixel is the mean of all that cover it.
        margin = self.side // 2

        def fold(columns: Tensor) -> Tensor:
            return functional.fold(columns, (height, width), self.side, padding=margin, stride=self.stride)

        covered = fold(torch.ones_like(found[:1]).transpose(1, 2))[:, :1]
        return fold(found.transpose(1, 2)) / covered

    def _attend(self, queries: Tensor, projected: Tensor, patches: Tensor, threshold: Tensor, bias: Tensor) -> Tensor:
        scores = queries @ projected
        edges = torch.relu(scores - scores.mean(2, keepdim=True) * threshold + bias)
        weights = torch.softmax(scores * edges * self.softmax_scale, 2) * (edges != 0)
        return weights @ patches

    def _patches(self, x: Tensor, stride: int) -> Tensor:
        return functional.unfold(self._same(x, stride), self.side, stride=stride).transpose(1, 2)

    def _same(self, x: Tensor, stride: int) -> Tensor:
        """Pad with zeros so that every `stride`-th pixel has a patch; an odd rest goes to the right and bottom."""
        margins = []
        for length in (x.shape[3], x.shape[2]):
            missing = max(0, (-(-length // stride) - 1) * stride + self.side - length)
            margins += [missing // 2, missing - missing // 2]
        return functional.pad(x, margins)


class GraphEnhancement(nn.Module):
    """Three stages of four heads each, joined by a 1x1 convolution, with four residual blocks between."""

    def __init__(self, features: int, heads: int = 4, blocks: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.RBS1 = nn.Sequential(*[ResBlock(features, nn.PReLU()) for _ in range(blocks)])
        self.RBS2 = nn.Sequential(*[ResBlock(features, nn.PReLU()) for _ in range(blocks)])
        for stage in range(1, 4):
            for head in range(1, heads + 1):
                setattr(self, f"c{stage}_{head}", GraphAttention(features, features // heads))
            setattr(self, f"c{stage}_c", conv(features, features, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, features, H, W)."""
        x = self.RBS1(self._stage(1, x))
        x = self.RBS2(self._stage(2, x))
        return self._stage(3, x)

    def _stage(self, stage: int, x: Tensor) -> Tensor:
        heads = [getattr(self, f"c{stage}_{head}")(x) for head in range(1, self.heads + 1)]
        return getattr(self, f"c{stage}_c")(torch.cat(heads, 1)) + x


class DAGL(nn.Module):
    """The network for real noise; as released, one PReLU serves the residual blocks outside the attention.

    Parameters
    ----------
    n_resblocks : int
        Residual blocks, half before and half after the attention.
    n_feats : int
        Features.
    """

    # ``--rgb_range`` 1 by default in option.py; test.py feeds ToTensor's [0, 1].
    rgb_range = 1.0
    reentrant = True

    def __init__(self, n_resblocks: int = 16, n_feats: int = 64) -> None:
        super().__init__()
        half, act = n_resblocks // 2, nn.PReLU()
        self.add_mean = MeanShift(self.rgb_range, 1)
        self.head = nn.Sequential(conv(3, n_feats))
        self.body = nn.Sequential(
            *[ResBlock(n_feats, act) for _ in range(half)],
            GraphEnhancement(n_feats),
            *[ResBlock(n_feats, act) for _ in range(half)],
            conv(n_feats, n_feats),
        )
        self.tail = nn.Sequential(conv(n_feats, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, 3, H, W) in [0, 1]; not clipped."""
        return self.tail(self.body(self.head(x))) + x
