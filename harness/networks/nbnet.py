"""NBNet (Cheng et al., CVPR 2021): a U-Net whose skips are projected on a basis that the image itself gives.

Names of layers are those of the released MegEngine program (MegEngine/NBNet, model.py). Its biases have four axes;
`from_megengine` takes three of them off.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.networks.unet_blocks import LeakyUNetBlock


class SkipConvolutions(nn.Module):
    """Blocks on a skip, at least two, between which it has 128 channels; a 1x1 convolution of the input is added."""

    def __init__(self, features: int, blocks: int, between: int = 128) -> None:
        super().__init__()
        widths = [features, *[between] * (max(blocks, 2) - 1), features]
        self.blocks = nn.ModuleList(
            LeakyUNetBlock(before, after, shortcut=True) for before, after in itertools.pairwise(widths)
        )
        self.shortcut = nn.Conv2d(features, features, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, features, H, W)."""
        features = x
        for block in self.blocks:
            features = block(features)
        return features + self.shortcut(x)


class BasisGeneration(nn.Module):
    """Make K maps out of both inputs of a level: the vectors that span the signal's subspace (section 3.1)."""

    def __init__(self, inputs: int, vectors: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([LeakyUNetBlock(inputs, vectors, shortcut=True)])
        self.shortcut = nn.Conv2d(inputs, vectors, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) → (B, K, H, W)."""
        return self.blocks[0](x) + self.shortcut(x)


def project(features: Tensor, basis: Tensor) -> Tensor:
    """Project each channel on the subspace that the maps of a basis span (equations 2 and 3).

    Computed in float64. Where an image has fewer pixels than the basis has maps, or maps depend on each other, the
    pseudo-inverse stands for the inverse of the paper.

    Parameters
    ----------
    features : Tensor
        ``(B, C, H, W)``.
    basis : Tensor
        ``(B, K, H, W)``; each map is first divided by the sum of its magnitudes, as in the released program.

    Returns
    -------
    Tensor
        ``(B, C, H, W)`` of the dtype of `features`.
    """
    vectors = basis.flatten(2).double()
    vectors = vectors / (1e-6 + vectors.abs().sum(2, keepdim=True))
    samples = features.flatten(2).double().transpose(1, 2)
    # Of NaN pinv makes an error of its own; left out there, it still reaches the result through `vectors`.
    products = (vectors @ vectors.transpose(1, 2)).nan_to_num()
    inverse = torch.linalg.pinv(products, rtol=1e-12, hermitian=True)
    projected = vectors.transpose(1, 2) @ (inverse @ (vectors @ samples))
    return projected.transpose(1, 2).reshape(features.shape).to(features.dtype)


class SubspaceUp(nn.Module):
    """A level of the way up, with subspace attention on its skip."""

    def __init__(self, inputs: int, outputs: int, skip_blocks: int, vectors: int) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.conv_block = LeakyUNetBlock(inputs, outputs, shortcut=True)
        self.subnet = BasisGeneration(inputs, vectors)
        self.skip_m = SkipConvolutions(outputs, skip_blocks)

    def forward(self, x: Tensor, bridge: Tensor) -> Tensor:
        """Take (B, inputs, H, W) and (B, outputs, 2H, 2W), return the size of the latter."""
        x, bridge = self.up(x), self.skip_m(bridge)
        bridge = project(bridge, self.subnet(torch.cat((x, bridge), 1)))
        return self.conv_block(torch.cat((x, bridge), 1))


class NBNet(nn.Module):
    """The network.

    Parameters
    ----------
    n_colors : int
        Channels of the image.
    wf : int
        Features at full size.
    depth : int
        Scales.
    vectors : int
        K, maps in a basis.
    """

    rgb_range = 1.0
    reentrant = True

    def __init__(self, n_colors: int = 3, wf: int = 32, depth: int = 5, vectors: int = 16) -> None:
        super().__init__()
        widths = [wf * 2**level for level in range(depth)]
        self.size_multiple = 2 ** (depth - 1)
        self.down_path = nn.ModuleList(
            LeakyUNetBlock(before, width, halves=width != widths[-1], shortcut=True)
            for before, width in itertools.pairwise([n_colors, *widths])
        )
        ups = widths[::-1]
        self.up_path = nn.ModuleList(
            SubspaceUp(before, width, blocks, vectors)
            for blocks, (before, width) in enumerate(itertools.pairwise(ups), 1)
        )
        self.last = nn.Conv2d(wf, n_colors, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Denoise (B, n_colors, H, W) in [0, 1], sides multiples of `size_multiple`; not clipped."""
        features, bridges = x, []
        for block in self.down_path:
            assert isinstance(block, LeakyUNetBlock)
            features = block(features)
            if block.downsample is not None:
                bridges.append(features)
                features = block.downsample(features)
        for up, bridge in zip(self.up_path, reversed(bridges), strict=True):
            features = up(features, bridge)
        return x - self.last(features)


def from_megengine(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give MegEngine's biases (1, O, 1, 1) the one axis that they have here; filters lie alike in both."""
    return {name: value.flatten() if name.endswith("bias") else value for name, value in tensors.items()}
