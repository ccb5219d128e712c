"""DBPN: dense deep back-projection network, features taken up and down by turns with their errors fed back.

Haris, Shakhnarovich, Ukita, "Deep Back-Projection Networks for Super-Resolution", CVPR 2018 (D-DBPN). Names of layers
and sizes are those of the authors' PyTorch program (alterzero/DBPN-Pytorch): seven stages in `dbpn.py`, ten in
`dbpn_v1.py`, which it calls DBPNLL. The layers and their sizes in the Caffe program, which made the paper's numbers
(alterzero/DBPN-caffe, `caffe/DBPN_mat_2x.prototxt` and `_4x`), are the same: seven stages, one slope in each PReLU.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from harness.errors import HarnessError

GEOMETRY = {2: (6, 2, 2), 4: (8, 4, 2), 8: (12, 8, 2)}
"""Kernel, stride and padding of the projections by scale (`dbpn.py`)."""


class _Layer(nn.Module):
    """A convolution or a transposed one, and a PReLU of one slope."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, up: bool = False):
        super().__init__()
        if up:
            self.deconv = nn.ConvTranspose2d(inputs, outputs, kernel, stride, padding)
        else:
            self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding)
        self.act = nn.PReLU()

    def forward(self, x: Tensor) -> Tensor:
        return self.act((self.deconv if hasattr(self, "deconv") else self.conv)(x))


class _Projection(nn.Module):
    """Up- or down-projection (sections 3.2 and 3.3): there, back, and what was lost on the way there once more.

    With `groups` above 1 the features of as many stages come in, and a 1x1 convolution merges them first (section 3.4).
    """

    def __init__(self, filters: int, geometry: tuple[int, int, int], groups: int, *, up: bool) -> None:
        super().__init__()
        self.prefix = "up" if up else "down"
        if groups > 1:
            self.conv = _Layer(groups * filters, filters, 1)
        for place, enlarges in enumerate((up, not up, up), 1):
            setattr(self, f"{self.prefix}_conv{place}", _Layer(filters, filters, *geometry, up=enlarges))

    def forward(self, x: Tensor) -> Tensor:
        there, back, again = (getattr(self, f"{self.prefix}_conv{place}") for place in (1, 2, 3))
        if hasattr(self, "conv"):
            x = self.conv(x)
        projected = there(x)
        return again(back(projected) - x) + projected


class DBPN(nn.Module):
    """D-DBPN: first features, projection stages that see all earlier ones, and a convolution of all large features.

    Input ``(B, 3, H, W)`` in [0, 1], output ``(B, 3, scale H, scale W)``.

    Parameters
    ----------
    scale : int
        2, 4 or 8.
    num_stages : int
        Up-projections: 7 (DBPN), or 10 (DBPNLL); there is one down-projection less.
    base_filter, feat : int
        Channels of the projections, 64, and of the first convolution, 256.
    num_channels : int
        3.
    """

    rgb_range = 1.0
    size_multiple = 1
    reentrant = True

    up1: _Projection

    def __init__(
        self, scale: int, num_stages: int = 7, base_filter: int = 64, feat: int = 256, num_channels: int = 3
    ) -> None:
        super().__init__()
        if scale not in GEOMETRY:
            raise HarnessError(f"DBPN enlarges by 2, 4 or 8, not by {scale}")
        self.scale = scale
        self.num_stages = num_stages
        geometry = GEOMETRY[scale]
        self.feat0 = _Layer(num_channels, feat, 3, padding=1)
        self.feat1 = _Layer(feat, base_filter, 1)
        for stage in range(1, num_stages + 1):
            # The first two up-projections see one group: the shallow features, and what the first went down to.
            setattr(self, f"up{stage}", _Projection(base_filter, geometry, max(1, stage - 1), up=True))
            if stage < num_stages:
                setattr(self, f"down{stage}", _Projection(base_filter, geometry, stage, up=False))
        self.output_conv = nn.Sequential()
        self.output_conv.add_module("conv", nn.Conv2d(num_stages * base_filter, num_channels, 3, padding=1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """Enlarge ``(B, 3, H, W)`` by ``scale``."""
        # The newest features come first in what the merging convolutions and the last one see.
        small: Tensor | None = None
        large = self.up1(self.feat1(self.feat0(x)))
        for stage in range(2, self.num_stages + 1):
            down = getattr(self, f"down{stage - 1}")(large)
            small = down if small is None else torch.cat([down, small], 1)
            large = torch.cat([getattr(self, f"up{stage}")(small), large], 1)
        return self.output_conv(large)
