"""How a network is applied to an image, and the one function that applies it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

from harness.errors import HarnessError, unknown_name
from harness.inference.chop import ChopRule, chop
from harness.inference.ensemble import self_ensemble
from harness.networks.checkpoints import require_ready
from harness.networks.ranges import from_network, to_network


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way of applying a network.

    Attributes
    ----------
    name : str
        ``whole``, ``chop``, ``x8`` or ``chop+x8``.
    tiled : bool
        In the tiles of the paper's test command instead of at once.
    ensemble : bool
        Averaged over the eight flips and transposes.
    """

    name: str
    tiled: bool
    ensemble: bool


POLICIES = {
    p.name: p
    for p in (
        Policy("whole", False, False),
        Policy("chop", True, False),
        Policy("x8", False, True),
        Policy("chop+x8", True, True),
    )
}


def policy(name: str) -> Policy:
    """Look a policy up by its name."""
    if name not in POLICIES:
        raise unknown_name("inference policy", name, POLICIES)
    return POLICIES[name]


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


def restore(
    network: nn.Module,
    x: Tensor,
    policy_name: str = "whole",
    rule: ChopRule | None = None,
    at_once: int | None = None,
) -> Tensor:
    """Restore images with a network whose weights are known to be complete.

    Parameters
    ----------
    network : Module
        A network that ``load_released`` or ``mark_ready`` has marked; it is put into evaluation mode.
    x : Tensor
        ``(B, C, H, W)`` in [0, 1], whatever range the network works in.
    policy_name : str
        ``"whole"``, ``"chop"``, ``"x8"`` or ``"chop+x8"``.
    rule : ChopRule, optional
        The paper's tiling; needed by the policies with ``chop``.
    at_once : int, optional
        See ``chop``. Networks that say ``reentrant = True``, as those of this project do, may be called in several
        threads at once: they keep nothing between their layers.

    Returns
    -------
    Tensor
        ``(B, C', scale H, scale W)``, about [0, 1], not clipped.

    Raises
    ------
    NotAvailableError
        The network has no weights, or they have changed since they were loaded.
    HarnessError
        The policy is unknown or lacks its rule.
    """
    how = policy(policy_name)
    if how.tiled and rule is None:
        raise HarnessError(f"the policy '{how.name}' needs the paper's chop rule, such as 'panet-denoise'")
    require_ready(network)
    scale = getattr(network, "scale", 1)
    reentrant = getattr(network, "reentrant", False)

    def apply(tiles: Tensor) -> Tensor:
        return whole(network, tiles)

    def tiled(image: Tensor) -> Tensor:
        assert rule is not None
        return chop(apply, image, rule, scale, at_once, reentrant)

    step: Callable[[Tensor], Tensor] = tiled if how.tiled else apply
    network.eval()
    with torch.inference_mode():
        own = to_network(network, x)
        return from_network(network, self_ensemble(step, own) if how.ensemble else step(own))
