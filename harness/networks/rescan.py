"""RESCAN (Li et al., ECCV 2018): dilated recurrent units with channel attention take rain off in stages.

From the released program (XiaLiPKU/RESCAN, ``config/model.py`` and ``settings.py``): the unit is a GRU, the frame is
"Full": each stage estimates all the rain anew, from the image less the rain of the stage before.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

REDUCED = 6
"""Features between the two layers of an attention."""


class SqueezeExcitation(nn.Module):
    """Scale channels by what their means say (section 3.2)."""

    def __init__(self, channel: int) -> None:
        super().__init__()
        self.fc = nn.Sequential(nn.Linear(channel, REDUCED), nn.ReLU(), nn.Linear(REDUCED, channel), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, channel, H, W)."""
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class ConvGRU(nn.Module):
    """A convolutional gated recurrent unit, attention and leaky ReLU (equation 9)."""

    conv_xz: nn.Conv2d
    conv_xr: nn.Conv2d
    conv_xn: nn.Conv2d
    conv_hz: nn.Conv2d
    conv_hr: nn.Conv2d
    conv_hn: nn.Conv2d

    def __init__(self, inputs: int, channel: int, dilation: int) -> None:
        super().__init__()
        for gate in "zrn":
            setattr(self, f"conv_x{gate}", nn.Conv2d(inputs, channel, 3, padding=dilation, dilation=dilation))
            setattr(self, f"conv_h{gate}", nn.Conv2d(channel, channel, 3, padding=1))
        self.se = SqueezeExcitation(channel)

    def forward(self, x: Tensor, state: Tensor | None) -> Tensor:
        """Map (B, inputs, H, W) and the state of the stage before to the features, which are the state."""
        if state is None:
            state = torch.sigmoid(self.conv_xz(x)) * torch.tanh(self.conv_xn(x))
        else:
            update = torch.sigmoid(self.conv_xz(x) + self.conv_hz(state))
            reset = torch.sigmoid(self.conv_xr(x) + self.conv_hr(state))
            fresh = torch.tanh(self.conv_xn(x) + self.conv_hn(reset * state))
            state = (1 - update) * state + update * fresh
        return functional.leaky_relu(self.se(state), 0.2)


class RESCAN(nn.Module):
    """The network.

    Parameters
    ----------
    channel, depth, stages : int
        Features, layers and stages: 24, 7, 4 as released.
    """

    rgb_range = 1.0
    reentrant = True

    def __init__(self, channel: int = 24, depth: int = 7, stages: int = 4) -> None:
        super().__init__()
        self.stages = stages
        dilated = [ConvGRU(channel, channel, 2**power) for power in range(depth - 3)]
        self.rnns = nn.ModuleList([ConvGRU(3, channel, 1), *dilated])
        self.dec = nn.Sequential(
            nn.Conv2d(channel, channel, 3, padding=1),
            SqueezeExcitation(channel),
            nn.LeakyReLU(0.2),
            nn.Conv2d(channel, 3, 1),
        )

    def rain_layers(self, image: Tensor) -> list[Tensor]:
        """Estimate the rain of (B, 3, H, W) in [0, 1], its channels in the order blue, green, red: once a stage."""
        states: list[Tensor | None] = [None] * len(self.rnns)
        rains: list[Tensor] = []
        x = image
        for _ in range(self.stages):
            for index, unit in enumerate(self.rnns):
                x = unit(x, states[index])
                states[index] = x
            rains.append(self.dec(x))
            x = image - rains[-1]
        return rains

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) RGB in [0, 1]: the image less the last stage's rain."""
        # The released program reads and writes its images with OpenCV and never turns their channels.
        return x - self.rain_layers(x.flip(1))[-1].flip(1)
