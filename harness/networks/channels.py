"""Gray networks on colour images: each channel by itself, or luma alone between bicubic chroma."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from harness.networks.ranges import from_network, rgb_range, to_network

# MATLAB's rgb2ycbcr: luma of [0, 1] colours is 16/255 to 235/255.
_TO_LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
_BLACK, _SPAN = 16 / 255, 219 / 255


def each_channel(network: Callable[[Tensor], Tensor], image: Tensor) -> Tensor:
    """Apply a network on gray images ``(B, 1, H, W)`` to every channel of ``(B, C, H, W)``."""
    if image.shape[1] == 1:
        return network(image)
    return network(image.flatten(0, 1)[:, None]).unflatten(0, image.shape[:2])[:, :, 0]


class EnlargedLuma(nn.Module):
    """Enlarge an image by MATLAB's bicubic, and let a network restore its luma.

    Parameters
    ----------
    network : Module
        ``(B, 1, H, W)`` to the same shape; the whole works in its range.
    scale : int
        2, 3 or 4.
    """

    reentrant = True

    def __init__(self, network: nn.Module, scale: int) -> None:
        super().__init__()
        self.network = network
        self.scale = scale
        self.rgb_range = rgb_range(network)

    def forward(self, image: Tensor) -> Tensor:
        """Map ``(B, C, H, W)``, RGB or its own luma, to ``(B, C, scale H, scale W)``."""
        return to_network(self, self.enlarged(from_network(self, image), self._restored))

    def _restored(self, luma: Tensor) -> Tensor:
        return from_network(self, self.network(to_network(self, luma)))

    def enlarged(self, image: Tensor, restore: Callable[[Tensor], Tensor]) -> Tensor:
        """Do as `forward` does, in [0, 1] and with something else in the network's place, such as its tiles."""
        rows, columns = (_bicubic(length, self.scale).to(image.device) for length in image.shape[-2:])
        large = (rows @ image.double() @ columns.T).float()
        if image.shape[1] == 1:
            return restore(large)
        luma = torch.tensordot(large, large.new_tensor(_TO_LUMA), dims=([1], [0]))[:, None] + _BLACK
        # Chroma stays: what is added to luma is added to each colour.
        return large + (restore(luma) - luma) / _SPAN


@functools.lru_cache(8)
def _bicubic(length: int, scale: int) -> Tensor:
    """Give the matrix that enlarges columns of that length: (scale length, length) float64."""
    from harness.degradations.resize import imresize

    return torch.from_numpy(imresize(np.eye(length), size=(scale * length, length), border="symmetric"))
