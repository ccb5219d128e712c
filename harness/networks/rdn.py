"""RDN: residual dense network (RDN section 3). The release is Torch7; names are those of SRFBN's PyTorch copy of it."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.networks.blocks import MeanShift, Upsampler, conv


class DenseLayer(nn.Module):
    """One layer of a dense block: convolution and ReLU; the result is appended to the input's channels (eq. 6)."""

    def __init__(self, in_channels: int, growth: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(conv(in_channels, growth), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, C, H, W)`` to ``(B, C + growth, H, W)``."""
        return torch.cat((x, self.conv(x)), 1)


class ResidualDenseBlock(nn.Module):
    """Residual dense block, RDB (section 3.2): dense layers, local feature fusion, plus the input."""

    def __init__(self, n_feats: int, growth: int, n_layers: int) -> None:
        super().__init__()
        self.convs = nn.Sequential(*(DenseLayer(n_feats + c * growth, growth) for c in range(n_layers)))
        self.LFF = conv(n_feats + n_layers * growth, n_feats, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape."""
        return self.LFF(self.convs(x)) + x


class RDN(nn.Module):
    """RDN: shallow features, D residual dense blocks whose outputs are fused, pixel-shuffle upsampling.

    Input ``(B, 3, H, W)`` in 0..255, output ``(B, 3, scale H, scale W)``.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    n_blocks, n_layers : int
        D = 16 blocks of C = 8 layers: the released model.
    n_feats : int
        Channels between the blocks (G0), which is also the growth of a layer (G): 64.
    mean_shift : bool
        Whether the mean of DIV2K is taken off before and put back after the network, as RDN's authors do
        (``-subMean``); SRFBN's copy does not.
    """

    size_multiple = 1
    rgb_range = 255.0

    reentrant = True

    def __init__(
        self, scale: int, n_blocks: int = 16, n_layers: int = 8, n_feats: int = 64, mean_shift: bool = True
    ) -> None:
        super().__init__()
        self.scale = scale
        self.sub_mean: nn.Module = MeanShift(self.rgb_range, -1) if mean_shift else nn.Identity()
        self.SFENet1 = conv(3, n_feats)
        self.SFENet2 = conv(n_feats, n_feats)
        self.RDBs = nn.ModuleList(ResidualDenseBlock(n_feats, n_feats, n_layers) for _ in range(n_blocks))
        self.GFF = nn.Sequential(conv(n_blocks * n_feats, n_feats, 1), conv(n_feats, n_feats))
        self.UPNet = nn.Sequential(*Upsampler(scale, n_feats), conv(n_feats, 3))
        self.add_mean: nn.Module = MeanShift(self.rgb_range, 1) if mean_shift else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Upscale ``(B, 3, H, W)`` by ``scale``; dense feature fusion (section 3.3) adds the first features."""
        first = self.SFENet1(self.sub_mean(x))
        features = self.SFENet2(first)
        outputs = []
        for block in self.RDBs:
            features = block(features)
            outputs.append(features)
        return self.add_mean(self.UPNet(self.GFF(torch.cat(outputs, 1)) + first))


def from_torch7(tensors: Mapping[str, Tensor], scale: int, where: str) -> dict[str, Tensor]:
    """Name the tensors of the authors' Torch7 models as the state of `RDN`.

    Parameters
    ----------
    tensors : mapping
        As `harness.assets.weights.torch7` numbers them: the convolutions in the order in which they run, which is that
        of RDN.lua and of the state here, between the two of the mean shift.
    scale : int
        2, 3 or 4.
    where : str
        Begins a sentence about what is wrong.

    Raises
    ------
    HarnessError
        There are more convolutions or fewer, or one has another number of weights.
    """
    with torch.device("meta"):
        own = RDN(scale).state_dict()
    layers = list(dict.fromkeys(key.rpartition(".")[0] for key in own))
    if (given := len({key.rpartition(".")[0] for key in tensors})) != len(layers):
        raise HarnessError(f"{where}: has {given} convolutions where RDN has {len(layers)}; it is another network")
    named = {}
    for number, layer in enumerate(layers):
        for kind in ("weight", "bias"):
            found, wanted = tensors.get(f"{number}.{kind}"), own[f"{layer}.{kind}"]
            if found is None or found.shape != wanted.shape:
                raise HarnessError(
                    f"{where}: the {kind} of convolution {number} is not of the shape {tuple(wanted.shape)} that "
                    f"'{layer}' of RDN x{scale} has; it is another network"
                )
            named[f"{layer}.{kind}"] = found
    return named
