"""RNAN: residual non-local attention network (RNAN section 3)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.errors import HarnessError, unknown_name
from harness.networks.blocks import MeanShift, ResBlock, Upsampler, conv
from harness.networks.dot_product_attention import dot_product_attention
from harness.networks.patch_attention import MEMORY_BUDGET

SOFTMAX_AXES = {"released": "scatter", "paper": "gather"}
"""``released``: softmax over the theta positions, as the released code does (dim 1 of ``(B, N_theta, N_phi)``);
``paper``: over the phi positions j, as RNAN eq. 3 and 5 say. The published numbers are the released code's."""


class NonLocalBlock(nn.Module):
    """Non-local block (RNAN section 3.2.3, Figure 3): embedded Gaussian, plus the input.

    Parameters
    ----------
    n_feats : int
        Channels of input and output, 64.
    inter_channels : int, optional
        Channels of the embeddings; half of ``n_feats`` (32) by default.
    softmax_axis : str
        ``"released"`` or ``"paper"``.
    """

    def __init__(self, n_feats: int = 64, inter_channels: int | None = None, softmax_axis: str = "released") -> None:
        super().__init__()
        if softmax_axis not in SOFTMAX_AXES:
            raise unknown_name("softmax axis", softmax_axis, SOFTMAX_AXES)
        inter = n_feats // 2 if inter_channels is None else inter_channels
        self.softmax_axis = softmax_axis
        self.kernel = "streamed"
        self.memory_budget = MEMORY_BUDGET
        self.g = conv(n_feats, inter, 1)
        self.W = conv(inter, n_feats, 1)
        nn.init.zeros_(self.W.weight)
        nn.init.zeros_(self.W.bias)  # type: ignore[arg-type]
        self.theta = conv(n_feats, inter, 1)
        self.phi = conv(n_feats, inter, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape."""
        y = dot_product_attention(
            self.theta(x),
            self.phi(x),
            self.g(x),
            form=SOFTMAX_AXES[self.softmax_axis],
            kernel=self.kernel,
            memory_budget=self.memory_budget,
        )
        return self.W(y) + x


def _blocks(count: int, n_feats: int) -> list[nn.Module]:
    return [ResBlock(n_feats, nn.ReLU()) for _ in range(count)]


class _TrunkBranch(nn.Module):
    """Trunk branch (section 3.2.1): t = 2 residual blocks."""

    def __init__(self, n_feats: int, first: list[nn.Module]) -> None:
        super().__init__()
        self.body = nn.Sequential(*first, *_blocks(2, n_feats))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class _MaskBranch(nn.Module):
    """Mask branch (section 3.2.2): down, residual blocks, up, sigmoid; mixed attention in [0, 1] (eq. 6)."""

    def __init__(self, n_feats: int, first: list[nn.Module]) -> None:
        super().__init__()
        self.MB_RB1 = nn.Sequential(*first, *_blocks(1, n_feats))
        self.MB_Down = nn.Sequential(conv(n_feats, n_feats, 3, stride=2))
        self.MB_RB2 = nn.Sequential(*_blocks(2, n_feats))
        self.MB_Up = nn.Sequential(nn.ConvTranspose2d(n_feats, n_feats, 6, stride=2, padding=2))
        self.MB_RB3 = nn.Sequential(*_blocks(1, n_feats))
        self.MB_1x1conv = nn.Sequential(conv(n_feats, n_feats, 1))

    def forward(self, x: Tensor) -> Tensor:
        y = self.MB_RB1(x)
        u = y + self.MB_Up(self.MB_RB2(self.MB_Down(y)))
        return torch.sigmoid(self.MB_1x1conv(self.MB_RB3(u)))


class AttentionBlock(nn.Module):
    """Residual (non-)local attention block, RAB or RNAB (section 3.2, Figure 2), with q, t, m = 2, 2, 1.

    Of the q = 2 residual blocks "in the beginning and end", the released code has one before and two after.

    Parameters
    ----------
    n_feats : int
        Channels.
    non_local : bool
        RNAB instead of RAB.
    mask_branch : bool
        False removes the mask branch (RNAN Table 1, cases 1 and 3). A non-local block then stands before
        the trunk; the paper does not say where it put it.
    softmax_axis : str
        See ``NonLocalBlock``.
    """

    def __init__(self, n_feats: int, non_local: bool, mask_branch: bool = True, softmax_axis: str = "released") -> None:
        super().__init__()
        first: list[nn.Module] = [NonLocalBlock(n_feats, softmax_axis=softmax_axis)] if non_local else []
        self.RA_RB1 = nn.Sequential(*_blocks(1, n_feats))
        self.RA_TB = nn.Sequential(_TrunkBranch(n_feats, [] if mask_branch else first))
        if mask_branch:
            self.RA_MB = nn.Sequential(_MaskBranch(n_feats, first))
        self.RA_tail = nn.Sequential(*_blocks(2, n_feats))
        self.mask_branch = mask_branch

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape; residual attention learning (eq. 8)."""
        x = self.RA_RB1(x)
        trunk = self.RA_TB(x)
        if self.mask_branch:
            trunk = trunk * self.RA_MB(x)
        return self.RA_tail(trunk + x)


class _Group(nn.Module):
    def __init__(self, n_feats: int, non_local: bool, mask_branch: bool, softmax_axis: str) -> None:
        super().__init__()
        block = AttentionBlock(n_feats, non_local, mask_branch, softmax_axis)
        self.body = nn.Sequential(block, conv(n_feats, n_feats))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class RNAN(nn.Module):
    """RNAN for denoising, demosaicing and JPEG artifact reduction (Figure 1).

    Input and output are ``(B, n_colors, H, W)`` in 0..255, the range of all released programs; height and width must
    be even.

    Parameters
    ----------
    n_resgroups : int
        Attention blocks in all: 10 (RNAN) or 2.
    n_feats : int
        Channels, 64.
    n_colors : int
        3, or 1 for gray and luma.
    n_nonlocal : int
        How many of the blocks are non-local: 2 (first and last), 1 (the first) or 0.
    mask_branch : bool
        False removes all mask branches (Table 1, cases 1 and 3).
    softmax_axis : str
        ``"released"`` or ``"paper"``, see ``SOFTMAX_AXES``.
    """

    size_multiple = 2
    rgb_range = 255.0

    reentrant = True

    def __init__(
        self,
        n_resgroups: int = 10,
        n_feats: int = 64,
        n_colors: int = 3,
        n_nonlocal: int = 2,
        mask_branch: bool = True,
        softmax_axis: str = "released",
    ) -> None:
        super().__init__()
        if n_nonlocal not in (0, 1, 2) or n_resgroups < max(n_nonlocal, 1):
            raise HarnessError(
                f"RNAN has at most two non-local blocks among its {n_resgroups} blocks; {n_nonlocal} is not possible"
            )

        def groups(count: int, non_local: bool) -> list[nn.Module]:
            return [_Group(n_feats, non_local, mask_branch, softmax_axis) for _ in range(count)]

        self.head = nn.Sequential(conv(n_colors, n_feats))
        self.body_nl_low = nn.Sequential(*groups(int(n_nonlocal > 0), True))
        self.body = nn.Sequential(*groups(n_resgroups - n_nonlocal, False), conv(n_feats, n_feats))
        self.body_nl_high = nn.Sequential(*groups(int(n_nonlocal > 1), True))
        self.tail = nn.Sequential(conv(n_feats, n_colors))

    def features(self, x: Tensor) -> Tensor:
        """Pass ``(B, n_feats, H, W)`` features through all groups."""
        height, width = x.shape[-2:]
        if height % 2 or width % 2:
            raise HarnessError(f"RNAN needs an even width and height, not {width}x{height}; pad the image first")
        return self.body_nl_high(self.body(self.body_nl_low(x)))

    def forward(self, x: Tensor) -> Tensor:
        """Restore ``(B, n_colors, H, W)`` in 0..255; the network predicts what to add to the input."""
        return self.tail(self.features(self.head(x))) + x


class RNANSR(RNAN):
    """RNAN for super-resolution: mean shift, features plus those of the head, upsampler; no image residual.

    Input ``(B, 3, H, W)`` in ``[0, rgb_range]``, even sizes; output ``(B, 3, scale H, scale W)``.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    n_resgroups, n_feats, n_colors, softmax_axis
        See ``RNAN``.
    rgb_range : float
        Largest sample value, 255 in the released checkpoints.
    """

    def __init__(
        self,
        scale: int,
        n_resgroups: int = 10,
        n_feats: int = 64,
        n_colors: int = 3,
        rgb_range: float = 255.0,
        softmax_axis: str = "released",
    ) -> None:
        super().__init__(n_resgroups, n_feats, n_colors, softmax_axis=softmax_axis)
        self.scale = scale
        self.rgb_range = rgb_range
        self.sub_mean = MeanShift(rgb_range, -1)
        self.add_mean = MeanShift(rgb_range, 1)
        self.tail = nn.Sequential(Upsampler(scale, n_feats), conv(n_feats, n_colors))

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(B, 3, H, W)`` by ``scale``."""
        features = self.head(self.sub_mean(x))
        return self.add_mean(self.tail(self.features(features) + features))


TABLE_1_CASES: dict[int, dict[str, int | bool]] = {
    1: {"mask_branch": False, "rab": 7, "rnab": 0},
    2: {"mask_branch": True, "rab": 7, "rnab": 0},
    3: {"mask_branch": False, "rab": 5, "rnab": 2},
    4: {"mask_branch": True, "rab": 5, "rnab": 2},
    5: {"mask_branch": True, "rab": 1, "rnab": 1},
    6: {"mask_branch": True, "rab": 2, "rnab": 2},
    7: {"mask_branch": True, "rab": 5, "rnab": 1},
    8: {"mask_branch": True, "rab": 8, "rnab": 2},
}
"""RNAN Table 1: mask branch, and numbers of local (RAB) and non-local (RNAB) attention blocks."""


def rnan_ablation(case: int, n_colors: int = 3) -> RNAN:
    """Make case 1 to 8 of RNAN Table 1; case 8 is RNAN itself."""
    if case not in TABLE_1_CASES:
        raise unknown_name("case of RNAN Table 1", case, TABLE_1_CASES)
    row = TABLE_1_CASES[case]
    return RNAN(
        n_resgroups=int(row["rab"]) + int(row["rnab"]),
        n_colors=n_colors,
        n_nonlocal=int(row["rnab"]),
        mask_branch=bool(row["mask_branch"]),
    )
