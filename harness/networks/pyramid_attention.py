"""Pyramid attention (PANet section 3.3 and 3.4): patches attend to patches of every level of a pyramid."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.networks.blocks import ConvPReLU
from harness.networks.patch_attention import MEMORY_BUDGET, patch_attention
from harness.networks.resizing import resize

SOFTMAX_SCALE = 10.0
"""Factor of the normalised products before the softmax (released code; the paper does not mention it)."""

ESCAPE_NAN = 1e-4
"""Smallest norm that a key patch is divided by (released code)."""


class PyramidAttention(nn.Module):
    """Attention of one feature map to its own pyramid (PANet eq. 5).

    Parameters
    ----------
    level : int
        Levels of the pyramid, of scales 1, 0.9, 0.8, ...; 5 in PANet, 1 for block-wise non-local attention.
    res_scale : float
        Factor of the input that is added to the response (1 in PANet, 0.1 in PA-EDSR).
    channel : int
        Channels of input and output.
    reduction : int
        Queries and keys have ``channel // reduction`` channels (2 in PANet, 8 in PA-EDSR).
    ksize : int
        Side of the patches; 1 gives pixel-wise non-local attention.
    softmax_scale : float
        Factor of the normalised products.
    kernel : str
        ``"streamed"`` or ``"direct"``, see ``patch_attention``.
    memory_budget : int
        Bytes for the score tiles of the streamed kernel.
    """

    def __init__(
        self,
        level: int = 5,
        res_scale: float = 1.0,
        channel: int = 64,
        reduction: int = 2,
        ksize: int = 3,
        softmax_scale: float = SOFTMAX_SCALE,
        kernel: str = "streamed",
        memory_budget: int = MEMORY_BUDGET,
    ) -> None:
        super().__init__()
        if not 1 <= level <= 9:
            raise HarnessError(f"a pyramid has 1 to 9 levels of scales 1, 0.9, ...; {level} is not possible")
        self.scales = tuple(1 - i / 10 for i in range(level))
        self.res_scale = res_scale
        self.ksize = ksize
        self.softmax_scale = softmax_scale
        # Nine 3x3 patches overlap at a pixel, and the released code divides their sum by 4. Single pixels
        # do not overlap: no division (not stated in the paper).
        self.overlap = 1.0 if ksize == 1 else 4.0
        self.kernel = kernel
        self.memory_budget = memory_budget
        self.register_buffer("escape_NaN", torch.tensor([ESCAPE_NAN]))
        self.conv_match_L_base = ConvPReLU(channel, channel // reduction, 1)  # f, the queries
        self.conv_match = ConvPReLU(channel, channel // reduction, 1)  # g, the keys
        self.conv_assembly = ConvPReLU(channel, channel, 1)  # theta, the values

    def pyramid(self, x: Tensor) -> list[Tensor]:
        """Resize ``(B, C, H, W)`` to every level, ``(floor(H s), floor(W s))``; levels without pixels are left out."""
        height, width = x.shape[-2:]
        sizes = [(math.floor(height * s), math.floor(width * s)) for s in self.scales]
        return [x] + [resize(x, size, "bicubic") for size in sizes[1:] if min(size) > 0]

    def embed(self, x: Tensor) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Return the queries, and the keys and values of each level."""
        pyramid = self.pyramid(x)
        keys = [self.conv_match(level) for level in pyramid]
        values = [self.conv_assembly(level) for level in pyramid]
        return self.conv_match_L_base(x), keys, values

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to the same shape."""
        query, keys, values = self.embed(x)
        response = patch_attention(
            query,
            keys,
            values,
            ksize=self.ksize,
            softmax_scale=self.softmax_scale,
            norm_floor=ESCAPE_NAN,
            kernel=self.kernel,
            memory_budget=self.memory_budget,
        )
        return response / self.overlap + x * self.res_scale
