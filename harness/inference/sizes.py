"""Applying a network to an image of a size that it does not take."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional


def whole(network: nn.Module, x: Tensor) -> Tensor:
    """Apply a network at once; a size that it cannot take is padded on the right and at the bottom.

    Networks say what they need in ``size_multiple`` (RNAN 2, CSNLN 2 or 3, KiT 64). The released code fails
    for other sizes, and its tiles never have them; here the last row and column are repeated, and the result
    is cropped.

    Parameters
    ----------
    network : Module
        The network.
    x : Tensor
        ``(B, C, H, W)`` in the network's own range.

    Returns
    -------
    Tensor
        ``(B, C', scale H, scale W)``.
    """
    multiple, scale = getattr(network, "size_multiple", 1), getattr(network, "scale", 1)
    height, width = x.shape[-2:]
    below, right = -height % multiple, -width % multiple
    if not below and not right:
        return network(x)
    padded = network(functional.pad(x, (0, right, 0, below), mode="replicate"))
    return padded[:, :, : scale * height, : scale * width]
