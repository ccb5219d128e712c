"""Normalisation by the image at hand, as the released programs of SEMI, DID-MDN and UMRL do it.

They keep their networks in training mode, or know no other, and restore one image at a time; DID-MDN and UMRL stretch
the result, too, before they save it.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

Statistics = Literal["image", "running"]


class ImageNorm2d(nn.BatchNorm2d):
    """Normalise channels: in training by the batch, in inference by each image.

    Parameters
    ----------
    features : int
        Channels.
    statistics : {"image", "running"}
        ``running``: in inference by the means and variances that training has gathered, as usual.
    """

    def __init__(self, features: int, statistics: Statistics = "image") -> None:
        super().__init__(features)
        self.statistics = statistics

    def forward(self, x: Tensor) -> Tensor:
        """Take and return (B, features, H, W)."""
        if self.training or self.statistics == "running":
            return super().forward(x)
        variance, mean = torch.var_mean(x, (2, 3), correction=0, keepdim=True)
        scale = self.weight.view(-1, 1, 1) * (variance + self.eps).rsqrt()
        return (x - mean) * scale + self.bias.view(-1, 1, 1)


def stretched(images: Tensor) -> Tensor:
    """Bring the darkest sample of each image (B, C, H, W) to 0 and the brightest to 1; a flat image becomes 0."""
    least, most = images.amin((1, 2, 3), keepdim=True), images.amax((1, 2, 3), keepdim=True)
    return (images - least) / (most - least).clamp(min=torch.finfo(images.dtype).tiny)


def unused(*modules: nn.Module) -> None:
    """Mark layers that released files hold and no forward pass uses: training must not wait for their gradients."""
    for module in modules:
        module.requires_grad_(False)
