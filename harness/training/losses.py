"""Losses by name; a recipe adds weighted terms."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

# KiT section 3.4: the Charbonnier penalty's epsilon, "empirically set" there.
CHARBONNIER_EPSILON = 1e-3


def l1(output: Tensor, target: Tensor) -> Tensor:
    """Mean absolute difference."""
    return functional.l1_loss(output, target)


def mse(output: Tensor, target: Tensor) -> Tensor:
    """Mean squared difference."""
    return functional.mse_loss(output, target)


def charbonnier(output: Tensor, target: Tensor) -> Tensor:
    """Mean over all samples of sqrt(d² + eps²); KiT's eq. 11 takes one root, of the norm over the image."""
    difference = output - target
    return torch.sqrt(difference * difference + CHARBONNIER_EPSILON**2).mean()


def edge(output: Tensor, target: Tensor) -> Tensor:
    """Charbonnier of the difference of the Laplacians (KiT eq. 11, as `charbonnier`).

    The paper does not print its discrete Laplacian: the five-point one is taken, with repeated borders.
    """
    return charbonnier(_laplacian(output), _laplacian(target))


def _laplacian(image: Tensor) -> Tensor:
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    centre = padded[:, :, 1:-1, 1:-1]
    return (
        padded[:, :, :-2, 1:-1] + padded[:, :, 2:, 1:-1] + padded[:, :, 1:-1, :-2] + padded[:, :, 1:-1, 2:] - 4 * centre
    )


TERMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l1": l1,
    "mse": mse,
    "charbonnier": charbonnier,
    "edge": edge,
}


def weighted(terms: Mapping[str, float]) -> Callable[[Tensor, Tensor], Tensor]:
    """Make the sum of weighted terms; both tensors are compared in float32."""

    def loss(output: Tensor, target: Tensor) -> Tensor:
        output, target = output.float(), target.float()
        total = output.new_zeros(())
        for name, weight in terms.items():
            total = total + weight * TERMS[name](output, target)
        return total

    return loss
