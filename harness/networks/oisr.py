"""OISR: EDSR with residual blocks that follow numerical schemes for ordinary differential equations.

He, Mo, Wang, Liu, Yang, Cheng, "ODE-inspired Network Design for Single Image Super-Resolution", CVPR 2019. Names of
layers, sizes and initial step lengths are those of the authors' program (HolmesShuan/OISR-PyTorch, `model/common.py` of
its folders). G, what a block takes for the derivative, is a PReLU and a convolution; in RK2 it is two of each.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from harness.networks.blocks import conv
from harness.networks.edsr import EDSR


class _Block(nn.Module):
    """Convolutions `conv1` .., PReLUs `relu1` .. of a slope each channel, and learned step lengths `scale1` .."""

    def __init__(self, n_feats: int, convs: int, steps: tuple[float, ...]) -> None:
        super().__init__()
        for index in range(1, convs + 1):
            setattr(self, f"conv{index}", conv(n_feats, n_feats))
            setattr(self, f"relu{index}", nn.PReLU(n_feats, 0.25))
        for index, step in enumerate(steps, 1):
            setattr(self, f"scale{index}", nn.Parameter(torch.tensor([step])))

    def derivative(self, index: int, y: Tensor) -> Tensor:
        """Apply PReLU and convolution number `index`."""
        result: Tensor = getattr(self, f"conv{index}")(getattr(self, f"relu{index}")(y))
        return result


class RK3Block(_Block):
    """Three-stage Runge-Kutta block (section 3.1, eq. 19 to 21).

    Parameters
    ----------
    n_feats : int
        Channels.
    """

    scale1: Tensor
    scale2: Tensor
    scale3: Tensor
    scale4: Tensor
    scale5: Tensor

    def __init__(self, n_feats: int) -> None:
        super().__init__(n_feats, 3, (0.5, 2.0, -1.0, 4.0, 1 / 6))

    def forward(self, y: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape."""
        k1 = self.derivative(1, y)
        k2 = self.derivative(2, y + self.scale1 * k1)
        k3 = self.derivative(3, y + self.scale2 * k2 + self.scale3 * k1)
        return y + self.scale5 * (k3 + self.scale4 * k2 + k1)


class LeapfrogBlock(_Block):
    """Two leapfrog steps, each from the value before the last (section 3.1).

    Parameters
    ----------
    n_feats : int
        Channels.
    """

    scale1: Tensor
    scale2: Tensor
    scale3: Tensor
    scale4: Tensor

    def __init__(self, n_feats: int) -> None:
        super().__init__(n_feats, 4, (2.0, 2.0, 2.0, 2.0))

    def forward(self, y: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape."""
        first = self.scale1 * self.derivative(1, y)
        second = self.scale2 * self.derivative(2, first) + y
        third = self.scale3 * self.derivative(3, second) + first
        return self.scale4 * self.derivative(4, third) + second


class HeunBlock(_Block):
    """Two-stage Runge-Kutta block, Heun's method (section 3.1); G is two PReLUs and convolutions.

    Parameters
    ----------
    n_feats : int
        Channels.
    """

    scale1: Tensor

    def __init__(self, n_feats: int) -> None:
        super().__init__(n_feats, 4, (0.5,))

    def forward(self, y: Tensor) -> Tensor:
        """Map ``(B, n_feats, H, W)`` to the same shape."""
        k1 = self.derivative(3, self.derivative(1, y))
        k2 = self.derivative(4, self.derivative(2, y + k1))
        return y + self.scale1 * (k1 + k2)


BLOCKS: dict[str, Callable[[int], nn.Module]] = {"rk3": RK3Block, "lf": LeapfrogBlock, "rk2": HeunBlock}
SIZES = {"rk3": (22, 256), "lf-s": (8, 64), "rk2-s": (8, 64), "lf-m": (8, 122), "rk2-m": (8, 122)}
"""Blocks and features of the released models, by the names of the program's folders (`demo.sh`)."""


class OISR(EDSR):
    """EDSR's frame around the blocks of a scheme; no factor on residuals but the blocks' own.

    Input ``(B, n_colors, H, W)`` in ``[0, rgb_range]``, output ``(B, n_colors, scale H, scale W)``.

    Parameters
    ----------
    scale : int
        2, 3 or 4.
    scheme : str
        ``rk3``, ``lf`` or ``rk2``.
    n_resblocks, n_feats : int
        22 and 256 in OISR-RK3.
    rgb_range : float
        Largest sample value, 255 in the authors' program.
    """

    def __init__(
        self, scale: int, scheme: str = "rk3", n_resblocks: int = 22, n_feats: int = 256, rgb_range: float = 255.0
    ) -> None:
        self._scheme = scheme
        super().__init__(scale, n_resblocks, n_feats, rgb_range=rgb_range)

    def _block(self, n_feats: int, res_scale: float) -> nn.Module:
        return BLOCKS[self._scheme](n_feats)


def oisr(name: str, scale: int) -> OISR:
    """Make a released model of OISR: ``rk3``, ``lf-s``, ``lf-m``, ``rk2-s`` or ``rk2-m``."""
    return OISR(scale, name.partition("-")[0], *SIZES[name])
