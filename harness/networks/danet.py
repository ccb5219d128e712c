"""DANet (Yue et al., ECCV 2020): the denoiser of a dual adversarial network, a U-Net that halves by convolutions.

Names of layers are those of the released checkpoints. Generator and discriminator serve training alone.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from harness.networks.padding import mirrored
from harness.networks.unet_blocks import LeakyUNetBlock, LeakyUNetUp


class DANet(nn.Module):
    """The denoiser R of section 3.1.

    Parameters
    ----------
    n_colors : int
        Channels of the image.
    wf : int
        Features at full size.
    depth : int
        Scales.
    """

    rgb_range = 1.0
    reentrant = True

    def __init__(self, n_colors: int = 3, wf: int = 32, depth: int = 5) -> None:
        super().__init__()
        widths = [wf * 2**level for level in range(depth)]
        self.multiple = 2 ** (depth - 1)
        self.down_path = nn.ModuleList(
            LeakyUNetBlock(before, width, halves=width != widths[-1])
            for before, width in itertools.pairwise([n_colors, *widths])
        )
        ups = widths[::-1]
        self.up_path = nn.ModuleList(LeakyUNetUp(before, width) for before, width in itertools.pairwise(ups))
        self.last = nn.Conv2d(wf, n_colors, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, n_colors, H, W) in [0, 1]; not clipped.

        Sides that are no multiples of 16 are mirrored at the right and bottom and cropped again, as `PadUNet` of the
        released test programs does.
        """
        padded = mirrored(x, self.multiple)
        return (padded - self.noise(padded))[:, :, : x.shape[2], : x.shape[3]]

    def noise(self, x: Tensor) -> Tensor:
        """Estimate the noise of (B, n_colors, H, W), sides multiples of 16: what the released network itself gives."""
        bridges = []
        for block in self.down_path:
            assert isinstance(block, LeakyUNetBlock)
            x = block(x)
            if block.downsample is not None:
                bridges.append(x)
                x = block.downsample(x)
        for up, bridge in zip(self.up_path, reversed(bridges), strict=True):
            x = up(x, bridge)
        return self.last(x)
