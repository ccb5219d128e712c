"""How a network is applied to an image, and the one function that applies it."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import torch
from torch import Tensor, nn

from harness.errors import HarnessError, unknown_name
from harness.inference.chop import ChopRule, chop
from harness.inference.engine import on_onnxruntime
from harness.inference.ensemble import self_ensemble
from harness.inference.sizes import whole
from harness.networks.checkpoints import require_ready
from harness.networks.ranges import from_network, to_network


class Policy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A way of applying a network.

    Attributes
    ----------
    name : str
        ``whole``, ``chop``, ``x8`` or ``chop+x8``; with ``+onnx1`` behind it on another engine.
    tiled : bool
        In the tiles of the paper's test command instead of at once.
    ensemble : bool
        Averaged over the eight flips and transposes.
    onnx : bool
        Computed by onnxruntime on a CPU instead of torch (`harness.inference.engine`). Pixels may differ by a level, so
        it is another policy; the number in its name is a version, which rises when what is computed changes.
    """

    name: str
    tiled: bool
    ensemble: bool
    onnx: bool = False


POLICIES = {
    p.name: p
    for p in (
        Policy("whole", False, False),
        Policy("chop", True, False),
        Policy("x8", False, True),
        Policy("chop+x8", True, True),
        Policy("whole+onnx1", False, False, onnx=True),
        Policy("chop+onnx1", True, False, onnx=True),
        Policy("x8+onnx1", False, True, onnx=True),
        Policy("chop+x8+onnx1", True, True, onnx=True),
    )
}


def policy(name: str) -> Policy:
    """Look a policy up by its name."""
    if name not in POLICIES:
        raise unknown_name("inference policy", name, POLICIES)
    return POLICIES[name]


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
        A name of `POLICIES`: ``"whole"``, ``"chop"``, ``"x8"``, ``"chop+x8"``, ``"whole+onnx1"``, …
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
        The network has no weights, or they have changed since they were loaded; or onnxruntime is not here.
    HarnessError
        The policy is unknown or lacks its rule, or the network cannot be computed by onnxruntime.
    """
    how = policy(policy_name)
    if how.tiled and rule is None:
        raise HarnessError(f"the policy '{how.name}' needs the paper's chop rule, such as 'panet-denoise'")
    require_ready(network)
    scale = getattr(network, "scale", 1)
    reentrant = getattr(network, "reentrant", False) and not how.onnx

    network.eval()
    other = on_onnxruntime(network) if how.onnx else None

    def apply(tiles: Tensor) -> Tensor:
        return other(tiles) if other else whole(network, tiles)

    def tiled(image: Tensor) -> Tensor:
        assert rule is not None
        return chop(apply, image, rule, scale, at_once, reentrant)

    step: Callable[[Tensor], Tensor] = tiled if how.tiled else apply
    with torch.inference_mode():
        # What onnxruntime computes has the conversion inside.
        own = x if other else to_network(network, x)
        restored = self_ensemble(step, own) if how.ensemble else step(own)
        return restored if other else from_network(network, restored)
