"""A network applied to an image whose 2x2 pixels have become channels, as FFDNet does: a quarter of the work."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from harness.networks.ranges import rgb_range


class HalfResolution(nn.Module):
    """Pixel-unshuffle by 2, the network, pixel-shuffle (Zhang et al., FFDNet, IEEE TIP 2018, section III-B).

    Input and output are ``(B, C, H, W)`` in the inner network's range, H and W even.

    Parameters
    ----------
    inner : Module
        Takes and returns ``(B, 4 C, H / 2, W / 2)``.
    """

    size_multiple = 2

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.reentrant = getattr(inner, "reentrant", False)
        self.rgb_range = rgb_range(inner)

    def forward(self, x: Tensor) -> Tensor:
        """Restore ``(B, C, H, W)``."""
        return functional.pixel_shuffle(self.inner(functional.pixel_unshuffle(x, 2)), 2)


def initialise_he(network: nn.Module) -> nn.Module:
    """Draw a ReLU network's weights as DnCNN does (He et al., ICCV 2015); biases are 0. Changed in place.

    PyTorch's own choice shrinks a signal in every layer: a stack without skips then hardly learns at first.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return network
