"""Networks recognised by the names and shapes of a checkpoint's tensors: those of this package, else of `spandrel`.

The file is read by this project's own importer (`harness.assets.weights.importers.read_checkpoint`), which unpickles
nothing; spandrel only gets named tensors.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import msgspec
import torch
from torch import Tensor
from torch.nn import functional

from harness.errors import HarnessError, Missing, NotAvailableError, missing_package
from harness.networks.checkpoints import load_released
from harness.networks.mirnet import MIRNet
from harness.networks.mprnet import MPRNet
from harness.networks.wrappers import unwrapped

# Transformers look at windows of up to 8 pixels and mirror the image by as many: thinner images are widened first.
_THINNEST = 16


class Recognised(msgspec.Struct, frozen=True):
    """What a checkpoint is.

    Attributes
    ----------
    architecture : str
        Such as ``NAFNet``.
    tags : tuple of str
        Sizes, as spandrel words them: ``64w``, ``medium``.
    scale : int
        By how much the output is larger than the input.
    inputs, outputs : int
        Channels.
    parameters : int
        Number of learned values.
    """

    architecture: str
    tags: tuple[str, ...]
    scale: int
    inputs: int
    outputs: int
    parameters: int


class RecognisedNetwork:
    """A network with a checkpoint's weights in it; made by `recognise`.

    Attributes
    ----------
    about : Recognised
        What it is.
    """

    def __init__(
        self,
        about: Recognised,
        apply: Callable[[Tensor], Tensor],
        multiple: int = 1,
        least: int = 1,
        square: bool = False,
    ) -> None:
        self.about = about
        self._apply = apply
        self._multiple = max(multiple, 1)
        self._least = max(least, _THINNEST)
        self._square = square

    def __call__(self, batch: Tensor) -> Tensor:
        """Restore (B, C, H, W) float32 in [0, 1]; the result is clipped to [0, 1].

        Sizes that the architecture cannot take are padded at the right and bottom and cropped again: mirrored, or by
        repeating the edge where an image is too thin to be mirrored.
        """
        height, width = batch.shape[2:]
        wanted = self._widened(height, width)
        if wanted != [height, width]:
            batch = functional.pad(batch, (0, wanted[1] - width, 0, wanted[0] - height), mode="replicate")
        with torch.inference_mode():
            result = torch.cat([self._apply(image[None]) for image in batch]).clamp(0, 1)
        return result[..., : height * self.about.scale, : width * self.about.scale]

    def _widened(self, height: int, width: int) -> list[int]:
        """Sizes from which mirroring can reach what the architecture takes: it adds less than is there."""
        sides = [max(side, self._least) for side in (height, width)]
        taken = [-(-side // self._multiple) * self._multiple for side in sides]
        taken = [max(taken)] * 2 if self._square else taken
        return [
            max(side, target // 2 + 1) if target > side else side for side, target in zip(sides, taken, strict=True)
        ]


def recognise(weights: Mapping[str, Tensor], source: str) -> RecognisedNetwork:
    """Make the network that a checkpoint's tensors belong to.

    Parameters
    ----------
    weights : mapping
        Named tensors.
    source : str
        File name and the like; begins every error.

    Raises
    ------
    NotAvailableError
        Nobody here knows the architecture, or spandrel is not installed.
    HarnessError
        Tensors are missing, left over or misshaped.
    """
    weights = unwrapped(weights)
    if weights.keys() >= _MPRNET:
        return _mprnet(weights, source)
    if weights.keys() >= _MIRNET:
        return _mirnet(weights, source)
    library = _import_spandrel()
    try:
        descriptor = library.ModelLoader().load_from_state_dict(dict(weights))
    except library.UnsupportedModelError:
        begin = ", ".join(list(dict.fromkeys(name.split(".")[0] for name in weights))[:5])
        raise NotAvailableError(
            f"{source}: is of an architecture that spandrel {version('spandrel')} does not read (its tensors' names "
            f"begin with {begin}; other networks and losses beside it have to be taken out first); the package "
            "spandrel_extra_arches adds some whose licences are not commercial (Restormer, MIRNet v2), or write the "
            "network as a method (harness new method)",
            Missing("package", "spandrel_extra_arches"),
        ) from None
    except Exception as error:  # each architecture fails in its own way on names and shapes it did not expect
        brief = " ".join(str(error).split())[:200]
        raise HarnessError(f"{source}: is damaged or of an unusual size ({type(error).__name__}: {brief})") from None
    if not isinstance(descriptor, library.ImageModelDescriptor):
        raise HarnessError(f"{source}: a network that takes an image alone is needed; this one also takes a mask")
    descriptor.eval()
    descriptor.model.requires_grad_(False)
    needs = descriptor.size_requirements
    about = Recognised(
        architecture=str(descriptor.architecture.name),
        tags=tuple(descriptor.tags),
        scale=int(descriptor.scale),
        inputs=int(descriptor.input_channels),
        outputs=int(descriptor.output_channels),
        parameters=sum(parameter.numel() for parameter in descriptor.model.parameters()),
    )

    def apply(image: Tensor) -> Tensor:
        # A copy: some architectures scale their input in place (RCAN).
        result: Tensor = descriptor.to(image.device)(image.clone())
        return result

    return RecognisedNetwork(about, apply, int(needs.multiple_of), int(needs.minimum), bool(needs.square))


# Two layers that no other network has under these names.
_MPRNET = {"stage3_orsnet.orb1.body.0.CA.conv_du.0.weight", "sam12.conv1.weight"}


def _mprnet(weights: Mapping[str, Tensor], source: str) -> RecognisedNetwork:
    try:
        features = weights["shallow_feat1.0.weight"].shape[0]
        added = weights["stage1_encoder.down12.down.1.weight"].shape[0] - features
        widened = weights["tail.weight"].shape[1] - features
    except (KeyError, IndexError):
        raise HarnessError(f"{source}: lacks layers of MPRNet; this is not a checkpoint of this network") from None
    network = load_released(MPRNet(features, added, widened), weights, source)
    count = sum(parameter.numel() for parameter in network.parameters())

    def apply(image: Tensor) -> Tensor:
        result: Tensor = network.to(image.device)(image)
        return result

    return RecognisedNetwork(Recognised("MPRNet", (f"{features}nf",), 1, 3, 3, count), apply, MPRNet.multiple)


_MIRNET = {"body.0.body.0.blocks.0.0.SA.spatial.conv.weight", "body.0.body.0.selective_kernel.0.conv_du.0.weight"}


def _mirnet(weights: Mapping[str, Tensor], source: str) -> RecognisedNetwork:
    groups = len({name.split(".")[1] for name in weights if name.startswith("body.")})
    features = weights["conv_in.weight"].shape[0] if "conv_in.weight" in weights else 0
    if features < 1:
        raise HarnessError(f"{source}: lacks layers of MIRNet; this is not a checkpoint of this network")
    network = load_released(MIRNet(features, groups), weights, source)
    count = sum(parameter.numel() for parameter in network.parameters())

    def apply(image: Tensor) -> Tensor:
        result: Tensor = network.to(image.device)(image)
        return result

    return RecognisedNetwork(Recognised("MIRNet", (f"{features}nf",), 1, 3, 3, count), apply, MIRNet.multiple)


def _import_spandrel() -> Any:
    """Import spandrel, and the package with further architectures where it is installed."""
    _declare_operators()
    try:
        import spandrel
    except ImportError as error:
        raise NotAvailableError(
            f"the package '{error.name}' is not installed; pip install 'restoration-harness[spandrel]'",
            missing_package(error),
        ) from None
    try:
        import spandrel_extra_arches
    except ImportError:
        return spandrel
    spandrel_extra_arches.install(ignore_duplicates=True)
    return spandrel


# What torchvision declares on import and only its compiled part defines; kept alive, for it ends with the object.
_library: list[Any] = []


def _declare_operators() -> None:
    """Declare torchvision's compiled operators where they are missing: beside a CPU-only torch its import fails."""
    if _library or hasattr(torch.ops.torchvision, "nms"):
        return
    try:
        import torchvision  # noqa: F401
    except ImportError:
        return
    except RuntimeError:
        library = torch.library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            if not hasattr(torch.ops.torchvision, name):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.append(library)
