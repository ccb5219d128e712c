"""EDSR, and PA-EDSR: EDSR with one pyramid attention in its middle (PANet section 4.7)."""

from __future__ import annotations

from torch import Tensor, nn

from harness.networks.blocks import MeanShift, ResBlock, Upsampler, check_even, conv
from harness.networks.pyramid_attention import PyramidAttention


class EDSR(nn.Module):
    """EDSR (the large baseline): 32 residual blocks of 256 features, then pixel-shuffle upsampling.

    Input ``(B, n_colors, H, W)`` in ``[0, rgb_range]``, output ``(B, n_colors, scale H, scale W)``.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    n_resblocks : int
        32.
    n_feats : int
        256.
    res_scale : float
        Factor of each block's residual, 0.1.
    n_colors : int
        3; the mean shift is defined for RGB only.
    rgb_range : float
        Largest sample value: 1 in PA-EDSR, 255 in the released checkpoints of EDSR.
    """

    size_multiple = 1

    reentrant = True

    def __init__(
        self,
        scale: int,
        n_resblocks: int = 32,
        n_feats: int = 256,
        res_scale: float = 0.1,
        n_colors: int = 3,
        rgb_range: float = 1.0,
    ) -> None:
        super().__init__()
        self.scale = scale
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(rgb_range, -1)
        middle = self._middle(n_resblocks, n_feats, res_scale)
        self.add_mean = MeanShift(rgb_range, 1)
        self.head = nn.Sequential(conv(n_colors, n_feats))
        body = [self._block(n_feats, res_scale) for _ in range(n_resblocks)]
        body[n_resblocks // 2 : n_resblocks // 2] = middle
        self.body = nn.Sequential(*body, conv(n_feats, n_feats))
        self.tail = nn.Sequential(Upsampler(scale, n_feats), conv(n_feats, n_colors))

    def _block(self, n_feats: int, res_scale: float) -> nn.Module:
        """Make one block of the body."""
        return ResBlock(n_feats, nn.ReLU(), res_scale)

    def _middle(self, n_resblocks: int, n_feats: int, res_scale: float) -> list[nn.Module]:
        """Return what stands between the two halves of the body: nothing in EDSR."""
        return []

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(B, n_colors, H, W)`` by ``scale``."""
        features = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(self.body(features) + features))


class PAEDSR(EDSR):
    """PA-EDSR: EDSR with a pyramid attention (reduction 8, input scaled by ``res_scale``) after block 16 of 32.

    The released checkpoints hold the attention twice, as ``msa`` and inside ``body``: it is one module here
    too, and where two differing copies are loaded the one inside ``body`` counts, as in the released code.
    """

    def _middle(self, n_resblocks: int, n_feats: int, res_scale: float) -> list[nn.Module]:
        check_even(n_resblocks, "PA-EDSR")
        self.msa = PyramidAttention(channel=n_feats, reduction=8, res_scale=res_scale)
        return [self.msa]
