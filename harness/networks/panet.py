"""PANet: a plain residual network with one pyramid attention in its middle (PANet section 3.5)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from harness.errors import HarnessError, unknown_name
from harness.networks.blocks import MeanShift, ResBlock, check_even, conv
from harness.networks.pyramid_attention import PyramidAttention

POSITIONS = ("pre", "mid", "post")
"""Where an attention stands (PANet Table 9): after the first block, after half of them, after the last."""


class PANet(nn.Module):
    """PANet for denoising, demosaicing and JPEG artifact reduction.

    Input and output are ``(B, n_colors, H, W)`` in ``[0, rgb_range]``; any size. The input is not added to the output.

    Parameters
    ----------
    n_resblocks : int
        R: 80 in PANet, 8 in PANet-S, 16 in the control experiments of Tables 6 to 9.
    n_feats : int
        Channels of all features, 64.
    n_colors : int
        3, or 1 for gray and luma.
    level : int
        Levels of the pyramid (Table 8), 5.
    ksize : int
        Side of the matched patches; 1 with ``level=1`` is the pixel-wise non-local network of Tables 6 and 7.
    reduction : int
        Channel reduction inside the attention, 2.
    positions : sequence of str
        Any of ``pre``, ``mid``, ``post`` (Table 9); empty for the baseline without attention.
    res_scale : float
        Factor of each block's residual, 1.
    rgb_range : float
        Largest sample value, 1 in the released programs; the mean shift of the checkpoints, which the network never
        uses, fits it.
    """

    size_multiple = 1
    uses_mean_shift = False

    reentrant = True

    def __init__(
        self,
        n_resblocks: int = 80,
        n_feats: int = 64,
        n_colors: int = 3,
        level: int = 5,
        ksize: int = 3,
        reduction: int = 2,
        positions: Sequence[str] = ("mid",),
        res_scale: float = 1.0,
        rgb_range: float = 1.0,
    ) -> None:
        super().__init__()
        check_even(n_resblocks, "PANet")
        if len(set(positions)) != len(positions):
            raise HarnessError(f"PANet has one attention at a position; {'+'.join(positions)} repeats one")
        after = {"pre": 1, "mid": n_resblocks // 2, "post": n_resblocks}
        for position in positions:
            if position not in after:
                raise unknown_name("attention position", position, POSITIONS)

        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(rgb_range, -1)
        self.add_mean = MeanShift(rgb_range, 1)
        self.head = nn.Sequential(conv(n_colors, n_feats))
        # One slope serves all blocks: the released code makes its PReLU once, as a default argument, and
        # the printed 5957K count it once. Checkpoints list it under every block.
        act = nn.PReLU()
        body: list[nn.Module] = []
        for block in range(1, n_resblocks + 1):
            body.append(ResBlock(n_feats, act, res_scale))
            for position in POSITIONS:
                if position in positions and after[position] == block:
                    body.append(PyramidAttention(level, channel=n_feats, reduction=reduction, ksize=ksize))
        body.append(conv(n_feats, n_feats))
        self.body = nn.Sequential(*body)
        self.tail = nn.Sequential(conv(n_feats, n_colors))

    def forward(self, x: Tensor) -> Tensor:
        """Restore ``(B, n_colors, H, W)``."""
        features = self.head(x)
        return self.tail(self.body(features) + features)


def panet_s(n_colors: int = 3) -> PANet:
    """Make PANet-S, the small network of PANet Table 4: 8 residual blocks."""
    return PANet(n_resblocks=8, n_colors=n_colors)


ABLATIONS: dict[str, dict[str, object]] = {
    # Tables 6 and 7: baseline, non-local (= pixel-wise), block-wise, pyramid.
    "baseline": {"positions": ()},
    "pixel-wise": {"ksize": 1, "level": 1},
    "block-wise": {"level": 1},
    "pyramid": {},
    # Table 8: levels of the pyramid.
    **{f"level-{level}": {"level": level} for level in range(1, 6)},
    # Table 9: positions.
    **{
        "+".join(names): {"positions": names}
        for names in (
            ("pre",),
            ("mid",),
            ("post",),
            ("pre", "mid"),
            ("pre", "post"),
            ("mid", "post"),
            ("pre", "mid", "post"),
        )
    },
}
"""The control networks of PANet Tables 6 to 9, all with 16 residual blocks: name to what differs from PANet."""


def panet_ablation(name: str, n_colors: int = 3) -> PANet:
    """Make a control network of PANet Tables 6 to 9 (R = 16), such as ``level-3`` or ``pre+post``."""
    if name not in ABLATIONS:
        raise unknown_name("PANet control network", name, ABLATIONS)
    return PANet(n_resblocks=16, n_colors=n_colors, **ABLATIONS[name])  # type: ignore[arg-type]
