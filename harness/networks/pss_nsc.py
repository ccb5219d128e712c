"""PSS-NSC (Gao, Tao, Shen, Jia, CVPR 2019): three scales that share what transforms features, and nothing else.

Names of layers are those of the variables in the released TensorFlow 1 checkpoints (firenxygao/deblur, model.py). Each
colour channel is restored as a gray image of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from harness.networks.tensorflow_layers import (
    SameConv,
    as_colour,
    as_gray,
    doubled,
    doubling,
    from_variables,
    halved,
    landscape,
)

FEATURES = (32, 64, 128)
SCALES = 3


class PSSConvolutions(nn.Module):
    """Convolution, ReLU, convolution."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = SameConv(features, features, 3)
        self.conv2 = SameConv(features, features, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, features, H, W) to the same shape."""
        return self.conv2(torch.relu(self.conv1(x)))


class PSSNestedSkips(nn.Module):
    """Four pairs of convolutions; each sees the sum of the input and of all earlier pairs (section 3.3)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        for number in (1, 2, 3, 4):
            self.add_module(f"d{number}", PSSConvolutions(features))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, features, H, W) to the same shape."""
        for number in (1, 2, 3, 4):
            x = x + getattr(self, f"d{number}")(x)
        return x


class PSSNSC(nn.Module):
    """The network.

    A module of nested skips transforms the features of a level twice, and is the same at every scale. What extracts
    features, shrinks, enlarges and makes the image is each scale's own (parameter selective sharing, section 3.2).
    """

    reentrant = True

    rgb_range = 1.0

    size_multiple = 16
    """The smallest scale is halved twice more."""

    def __init__(self) -> None:
        super().__init__()
        inputs = 2
        for level, features in enumerate(FEATURES, 1):
            self.add_module(f"enc{level}_2", PSSNestedSkips(features))
            self.add_module(f"dec{level}_2", PSSNestedSkips(features))
            for scale in range(SCALES):
                extract = SameConv(inputs, features, 3, stride=1 if level == 1 else 2)
                self.add_module(f"enc{level}_1_{scale}", extract)
                if level > 1:
                    self.add_module(f"dec{level - 1}_3_{scale}", doubling(features, inputs))
            inputs = features
        for scale in range(SCALES):
            self.add_module(f"dec1_0_{scale}", SameConv(FEATURES[0], 1, 3))

    def forward(self, x: Tensor) -> Tensor:
        """Restore (B, 3, H, W) in [0, 1], H and W multiples of 16; not clipped."""
        return as_colour(landscape(lambda gray: self.restore_scales(gray)[-1], as_gray(x)))

    def restore_scales(self, gray: Tensor) -> list[Tensor]:
        """Restore (B, 1, H, W) at a quarter, at half and at the full size."""
        restored: list[Tensor] = []
        image = halved(gray, 2)
        for scale in range(SCALES):
            blurred = halved(gray, 2 - scale)
            image = doubled(image) if scale else image
            image = self._scale(scale, torch.cat([blurred, image], 1)) + blurred
            restored.append(image)
        return restored

    def _scale(self, scale: int, x: Tensor) -> Tensor:
        encoded = []
        for level in (1, 2, 3):
            x = torch.relu(getattr(self, f"enc{level}_1_{scale}")(x))
            x = self._twice(f"enc{level}_2", x)
            encoded.append(x)
        x = self._twice("dec3_2", x)
        for level in (2, 1):
            x = torch.relu(getattr(self, f"dec{level}_3_{scale}")(x)) + encoded[level - 1]
            x = self._twice(f"dec{level}_2", x)
        return getattr(self, f"dec1_0_{scale}")(x)

    def _twice(self, name: str, x: Tensor) -> Tensor:
        module = getattr(self, name)
        return module(module(x))


def pss_nsc_state(variables: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """Turn the variables of a released checkpoint into the state of `PSSNSC`."""
    return from_variables(variables, "g_net", where)
