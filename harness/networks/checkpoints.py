"""Loading a network's weights completely or not at all, and knowing whether that has happened."""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec
import torch
from torch import Tensor, nn

from harness.errors import HarnessError, NotAvailableError
from harness.networks.blocks import MeanShift
from harness.networks.wrappers import fitted

ORIGINS = ("released", "trained")
"""Where weights come from: the authors' checkpoint, or a training run of this harness."""

# Programs of EDSR's family mean to freeze their mean shifts, and under some versions of PyTorch did not: in the
# released SRFBN-S they moved by up to 0.6 % and mix the colours. What was trained is loaded as it is; a network for
# another range is off by a factor of 255.
_DRIFT = 0.1

Network = TypeVar("Network", bound=nn.Module)


class Origin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where the weights in a network come from, and the weights themselves as a fingerprint.

    Attributes
    ----------
    kind : str
        ``released`` or ``trained``.
    source : str
        What a reader needs to find them: file name and SHA-256, or the recipe and its budget.
    fingerprint : tuple of (str, int)
        For each tensor of the state its dtype and the CRC-32 of its bytes.
    """

    kind: str
    source: str
    fingerprint: tuple[tuple[str, int], ...]


def load_released(network: Network, state_dict: Mapping[str, Tensor], source: str, kind: str = "released") -> Network:
    """Load a checkpoint strictly and mark the network as ready.

    Every key of the network must be there with its shape, no other key may be, every value must be finite,
    and the constants that checkpoints hold (``escape_NaN``, and mean shifts but for what training moved them) must be
    the network's own. Nothing is loaded otherwise.

    Parameters
    ----------
    network : Module
        Any network of this package; changed in place. Its ``when_missing``, if it has one, says what it means that a
        tensor of some last name is not there.
    state_dict : mapping
        Key to tensor, as ``torch.save`` stored it. What training programs wrap around names is taken off
        (`harness.networks.wrappers`).
    source : str
        File name and SHA-256, or another description that a reader can follow; it appears in errors.
    kind : str
        ``"released"``, or ``"trained"`` for a checkpoint of this harness.

    Returns
    -------
    Module
        The network itself, in evaluation mode.

    Raises
    ------
    HarnessError
        One sentence that names what is missing, left over, misshaped or not finite.
    """
    name = type(network).__name__
    own = network.state_dict()
    given = fitted(state_dict, own.keys())
    missing, left = [key for key in own if key not in given], [key for key in given if key not in own]
    if missing or left:
        known: Mapping[str, str] = getattr(network, "when_missing", {})
        reasons = [known[key.rpartition(".")[2]] for key in missing if key.rpartition(".")[2] in known]
        raise HarnessError(f"{source}: {_misfit(missing, left, name)}; {(reasons or [_ANOTHER])[0]}")
    misshaped = [key for key in own if tuple(given[key].shape) != tuple(own[key].shape)]
    if misshaped:
        key = misshaped[0]
        others = f" (and {len(misshaped) - 1} more differ)" if misshaped[1:] else ""
        raise HarnessError(
            f"{source}: '{key}' is {_shape(given[key])}, {name} needs {_shape(own[key])}{others}; "
            "build the network with the checkpoint's sizes"
        )
    for key, value in given.items():
        if not torch.isfinite(value).all():
            raise HarnessError(f"{source}: '{key}' holds NaN or infinity; the checkpoint is damaged")
    _check_constants(network, given, own, source)
    network.__dict__.pop("weights_origin", None)
    network.load_state_dict(given, strict=True)
    network.eval()
    return mark_ready(network, kind, source)


def mark_ready(network: Network, kind: str, source: str) -> Network:
    """State that the weights now in a network are complete, and where they come from.

    ``load_released`` does this for checkpoints; training does it when a run has used its budget. The mark
    holds for exactly these weights: any later change of one tensor undoes it (a copy to another device does
    not, a change of dtype that loses digits does).

    Parameters
    ----------
    network : Module
        A network whose state is finite.
    kind : str
        ``"released"`` or ``"trained"``.
    source : str
        See ``Origin``.

    Raises
    ------
    HarnessError
        The kind is unknown, or a tensor holds NaN or infinity.
    """
    if kind not in ORIGINS:
        raise HarnessError(f"weights are {' or '.join(ORIGINS)}, not '{kind}'")
    if not source.strip():
        raise HarnessError(f"the weights of {type(network).__name__} need a source that a reader can follow")
    for key, value in network.state_dict().items():
        if value.is_meta or not torch.isfinite(value).all():
            raise HarnessError(f"'{key}' of {type(network).__name__} has no finite values; load its weights first")
    network.weights_origin = Origin(kind, source, _fingerprint(network))  # type: ignore[assignment]
    return network


def require_ready(network: nn.Module) -> Origin:
    """Return where a network's weights come from, or refuse a network whose weights mean nothing.

    Every way of applying a network to images in ``harness.inference`` calls this first.

    Raises
    ------
    NotAvailableError
        The weights were never marked as complete, or have changed since.
    """
    name = type(network).__name__
    origin = getattr(network, "weights_origin", None)
    if origin is None:
        if not any(True for _ in network.parameters()):
            return Origin("released", "no parameters", ())
        raise NotAvailableError(f"{name} has no weights yet: import a released checkpoint or train it first")
    dtypes = [dtype for dtype, _ in origin.fingerprint]
    if _fingerprint(network, dtypes) != origin.fingerprint:
        raise NotAvailableError(
            f"the weights of {name} have changed since they were loaded from {origin.source}: "
            "load them again, or mark the new ones with their own source"
        )
    return origin


def _fingerprint(network: nn.Module, dtypes: list[str] | None = None) -> tuple[tuple[str, int], ...]:
    out = []
    for index, value in enumerate(network.state_dict().values()):
        dtype = str(value.dtype).removeprefix("torch.")
        if dtypes is not None and index < len(dtypes):
            dtype = dtypes[index]
        data = value.detach().to("cpu", getattr(torch, dtype)).contiguous().flatten().view(torch.uint8)
        out.append((dtype, zlib.crc32(data.numpy())))
    return tuple(out)


def _check_constants(network: nn.Module, given: Mapping[str, Tensor], own: Mapping[str, Tensor], source: str) -> None:
    # By key: how far a value may be from the network's, relatively and absolutely.
    constants = {key: (1e-3, 0.0) for key in own if key.rpartition(".")[2] == "escape_NaN"}
    if getattr(network, "uses_mean_shift", True):
        for prefix, module in network.named_modules():
            if isinstance(module, MeanShift):
                constants |= {f"{prefix}.weight": (0.0, _DRIFT), f"{prefix}.bias": (_DRIFT, 0.0)}
    for key, (relative, absolute) in constants.items():
        value = given[key].to(own[key])
        if own[key].is_meta or torch.allclose(value, own[key], rtol=relative, atol=absolute):
            continue
        raise HarnessError(
            f"{source}: the constant '{key}' is not that of {type(network).__name__}"
            + (f" with rgb_range {network.rgb_range:g}" if hasattr(network, "rgb_range") else "")
            + "; build the network as the checkpoint was"
        )


_ANOTHER = "this is not a checkpoint of this network"


def _misfit(missing: Sequence[str], left: Sequence[str], name: str) -> str:
    """Say which names a network and a checkpoint do not share, with the nearest ones."""
    said = []
    if missing:
        near = difflib.get_close_matches(missing[0], left, n=1, cutoff=0.5)
        hint = f" (near it: '{near[0]}')" if near else ""
        said.append(f"no weights for '{missing[0]}'{_more(missing)} of {name}{hint}")
    if left:
        verb = "are" if left[1:] else "is"
        said.append(f"'{left[0]}'{_more(left)} {verb} no part of {name}")
    return ", and ".join(said)


def _more(names: Sequence[str]) -> str:
    return f" and {len(names) - 1} more" if names[1:] else ""


def _shape(value: Tensor) -> str:
    return "x".join(str(n) for n in value.shape) or "a scalar"
