"""The range of samples that a network works in, and the conversion around it.

Images are in [0, 1] everywhere else. A network says in ``rgb_range`` what its released program feeds it, 1 or 255; it
is fed that by inference, training and validation alike, through the two functions here.
"""

from __future__ import annotations

from torch import Tensor, nn


def rgb_range(network: nn.Module) -> float:
    """Largest sample value of the range a network works in; 1 where it says nothing."""
    return float(getattr(network, "rgb_range", 1.0))


def to_network(network: nn.Module, images: Tensor) -> Tensor:
    """Bring images of any shape from [0, 1] into the range of a network; where that is [0, 1] they are not copied."""
    largest = rgb_range(network)
    return images if largest == 1 else images * largest


def from_network(network: nn.Module, images: Tensor) -> Tensor:
    """Bring a network's output into [0, 1]; the reverse of `to_network`."""
    largest = rgb_range(network)
    return images if largest == 1 else images / largest
