"""VDN (Yue et al., NeurIPS 2019): a U-Net for the clean image and a small network for the noise, trained together.

Names of layers are those of the released checkpoint. Both networks give the parameters of a distribution (section 3.3):
the mean and log variance of the image, the logarithms of the two parameters of an inverse gamma for the noise variance.
"""

from __future__ import annotations

import itertools

from torch import Tensor, nn
from torch.nn import functional

from harness.networks.unet_blocks import LeakyUNetBlock, LeakyUNetUp

# ``--slope`` 0.2 in options.py of zsyOAOA/VDNet.
SLOPE = 0.2


class DenoisingUNet(nn.Module):
    """D-Net: a U-Net of `depth` scales that halves by averages."""

    def __init__(self, inputs: int, outputs: int, wf: int, depth: int) -> None:
        super().__init__()
        widths = [wf * 2**level for level in range(depth)]
        self.down_path = nn.ModuleList(
            LeakyUNetBlock(before, width, SLOPE) for before, width in itertools.pairwise([inputs, *widths])
        )
        ups = widths[::-1]
        self.up_path = nn.ModuleList(LeakyUNetUp(before, width, SLOPE) for before, width in itertools.pairwise(ups))
        self.last = nn.Conv2d(wf, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        bridges: list[Tensor] = []
        for block in self.down_path:
            x = block(x if not bridges else functional.avg_pool2d(x, 2))
            bridges.append(x)
        for up, bridge in zip(self.up_path, bridges[-2::-1], strict=True):
            x = up(x, bridge)
        return self.last(x)


class SigmaNetwork(nn.Module):
    """S-Net: `depth` convolutions of 64 features."""

    def __init__(self, inputs: int, outputs: int, depth: int, features: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, features, 3, padding=1)
        middle: list[nn.Module] = []
        for _ in range(depth - 2):
            middle += [nn.Conv2d(features, features, 3, padding=1), nn.LeakyReLU(SLOPE, inplace=True)]
        self.mid_layer = nn.Sequential(*middle)
        self.conv_last = nn.Conv2d(features, outputs, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, outputs, H, W)."""
        return self.conv_last(self.mid_layer(functional.leaky_relu(self.conv1(x), SLOPE)))


class VDN(nn.Module):
    """The network.

    Parameters
    ----------
    n_colors : int
        Channels of the image.
    wf : int
        Features of the U-Net at full size.
    dep_S, dep_U : int
        Convolutions of S-Net, scales of D-Net.
    """

    rgb_range = 1.0
    reentrant = True

    def __init__(self, n_colors: int = 3, wf: int = 64, dep_S: int = 5, dep_U: int = 4) -> None:
        super().__init__()
        self.n_colors = n_colors
        # The released demo crops images to multiples of 16, twice what the three halvings need.
        self.size_multiple = 2 ** (dep_U - 1)
        self.DNet = DenoisingUNet(n_colors, 2 * n_colors, wf, dep_U)
        self.SNet = SigmaNetwork(n_colors, 2 * n_colors, dep_S)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, n_colors, H, W) in [0, 1], sides multiples of `size_multiple`; not clipped.

        The posterior mean of the image is the input minus the first half of D-Net's output.
        """
        return x - self.DNet(x)[:, : self.n_colors]

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Give what both networks say of (B, n_colors, H, W): each (B, 2 n_colors, H, W).

        First the mean of the noise and the log variance of the image, then log alpha and log beta of the noise.
        """
        return self.DNet(x), self.SNet(x)
