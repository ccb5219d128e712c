"""Loading released weights: found, hashed, imported, checked and cached.

Nothing is downloaded here: `harness weights fetch` does that, before a method runs.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from harness.assets.hosts import mirrors
from harness.assets.places import AssetPaths, data_folder
from harness.assets.weights.importers import VERSION, Arrays, import_weights
from harness.assets.weights.recording import UsedWeights, record
from harness.assets.weights.registry import WeightFile, WeightSet, weight_set
from harness.errors import HarnessError, Missing, NotAvailableError
from harness.files import file_sha256, git_blob, whole_file

if TYPE_CHECKING:
    from torch import Tensor, nn


def load_weights(name: str, file: str, data_root: str | os.PathLike[str] | None = None) -> dict[str, Tensor]:
    """Load the named arrays of a released weights file.

    `data_root`: Folder of fetched files; by default that of the project in use, HARNESS_DATA or ``data``. A mirror's
        folder is looked at too.
    Returns: On the CPU, sorted by name; names are those of `harness.assets.weights.importers`.
    Raises NotAvailableError: The file is not here; says how to supply it.
    Raises HarnessError: The name is unknown, or the file is not the registered one, or damaged, or holds NaN, infinity
        or code.
    """
    known = weight_set(name)
    entry = known.file(file)
    data = data_folder(data_root)
    held = [
        _Held(part, path, _checked(known, part, path))
        for part in (entry, *map(known.file, entry.with_files))
        for path in [find_weights(known, part, data)]
    ]
    import torch

    arrays = _cached(data, held)
    for part in held:
        record(UsedWeights(name, part.entry.name, part.sha256))
    return {key: torch.from_numpy(array) for key, array in sorted(arrays.items())}


def released_network(
    name: str,
    file: str,
    make: Callable[[], nn.Module],
    data_root: str | os.PathLike[str] | None = None,
    translate: Callable[[dict[str, Tensor], str], Mapping[str, Tensor]] | None = None,
) -> nn.Module:
    """Make a network and fill it with a released checkpoint, strictly; it is then ready for evaluation.

    `name`, `file`: Weight set and file; they are looked for first, so that a missing file is told at once.
    `data_root`: See `load_weights`, whose errors these are too.
    `translate`: Makes the network's state of what the file holds; gets the arrays, and words for errors that name the
        file.
    """
    weights = load_weights(name, file, data_root)
    from harness.networks.checkpoints import load_released

    where = f"weights {name}/{file}"
    return load_released(make(), translate(weights, where) if translate else weights, where)


def find_weights(known: WeightSet, entry: WeightFile, data: Path) -> Path:
    """Find a file of a weight set: in the folder of fetched files, or else in a mirror's.

    Raises NotAvailableError: It is in neither; says why and how to supply it.
    """
    candidates = [AssetPaths(data, "weights", known.name).folder / entry.name]
    candidates += [mirror / path for mirror in mirrors()[0] for path in known.in_mirror(entry)]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    raise NotAvailableError(missing_reason(known, entry), Missing("weights", known.name, entry.name))


def missing_reason(known: WeightSet, entry: WeightFile) -> str:
    """Say in one sentence that a file is not here and how it is to be had."""
    what = f"the {known.title} weights {known.name}/{entry.name} are not here"
    if entry.at:
        return f"{what}; run `harness weights fetch {known.name}`"
    name = " or ".join(dict.fromkeys(name for name in (entry.name, entry.released_as) if name))
    return (
        f"{what}; {known.obtain}, put the file into a folder as {name}, "
        f"and run `harness weights fetch {known.name} --from FOLDER`"
    )


class _Held(NamedTuple):
    """A file of a set, where it lies and what it was found to be."""

    entry: WeightFile
    path: Path
    sha256: str


def _checked(known: WeightSet, entry: WeightFile, path: Path) -> str:
    """Hash a file; HarnessError where it is not the registered one."""
    sha256 = _sha256(path)
    if entry.sha256 and sha256 != entry.sha256:
        raise HarnessError(
            f"{path}: has the SHA-256 {sha256[:12]}… instead of {entry.sha256[:12]}…, it is not the released file; "
            f"delete it and run `harness weights fetch {known.name}`"
        )
    if entry.git_blob and not entry.sha256 and git_blob(path) != entry.git_blob:
        raise HarnessError(
            f"{path}: is not the released file, whose git blob is {entry.git_blob[:12]}…; "
            f"delete it and run `harness weights fetch {known.name}`"
        )
    return sha256


def _sha256(path: Path) -> str:
    try:
        return file_sha256(path)
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror or error}); fetch the weights again") from None


def _cached(data: Path, held: Sequence[_Held]) -> Arrays:
    """Import a file, or take its earlier import; a damaged or unwritable cache costs time and nothing else."""
    from safetensors import SafetensorError, safe_open
    from safetensors.numpy import save

    first, *others = held
    sha256 = first.sha256
    if others:
        sha256 = hashlib.sha256("".join(part.sha256 for part in held).encode()).hexdigest()
    # Importer and version are part of the name.
    cache = data / "weights-cache" / f"{sha256}-{first.entry.format}-{VERSION}.safetensors"
    with contextlib.suppress(OSError, SafetensorError, ValueError), safe_open(cache, framework="numpy") as stored:
        cached = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no mapping)
        # A number that has changed on the disk would make wrong results: safetensors has no checksum of its own.
        if (stored.metadata() or {}).get("arrays") == _arrays_sha256(cached):
            return cached
    arrays = import_weights(first.path, first.entry.format, *(part.path for part in others))
    for part in held:
        if _sha256(part.path) != part.sha256:
            raise HarnessError(f"{part.path}: was replaced while it was read; run the same command again")
    with contextlib.suppress(HarnessError), whole_file(cache) as written:
        written.write_bytes(save(arrays, {"arrays": _arrays_sha256(arrays)}))
    return arrays


def _arrays_sha256(arrays: Arrays) -> str:
    """Hash names, types, shapes and samples of arrays."""
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name}\0{array.dtype.str}\0{array.shape}\0".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def rename(tensors: Mapping[str, Tensor], names: Mapping[str, str], where: str) -> dict[str, Tensor]:
    """Rename layers: ``conv1.weight`` becomes ``extraction.weight`` where `names` maps conv1 to extraction.

    Raises HarnessError: A tensor belongs to no layer of `names`.
    """
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        layer, _, kind = name.rpartition(".")
        if layer not in names:
            raise HarnessError(f"{where}: '{name}' is left over; these are the weights of another network")
        renamed[f"{names[layer]}.{kind}"] = tensor
    return renamed


def numbered(tensors: Mapping[str, Tensor], prefix: str = "convs") -> dict[str, Tensor]:
    """Name the layers of a plain chain by their place in it: ``convolution10.weight`` becomes ``convs.3.weight``.

    `tensors`: Their layers are numbered in the order of the numbers in their names.
    `prefix`: What comes before the new numbers.
    """
    layers = {name.rpartition(".")[0] for name in tensors}
    ordered = sorted(layers, key=lambda layer: [int(part) for part in re.findall(r"\d+", layer)])
    names = {layer: f"{prefix}.{index}" for index, layer in enumerate(ordered)}
    return rename(tensors, names, prefix)


def ready(network: nn.Module) -> Callable[..., Any]:
    """Freeze a network for evaluation; the returned callable moves it to the device of its input, which is in [0, 1].

    Filters are stored channels-last: convolutions are then up to 1.7 times as fast on a CPU, and their results agree
    to about 1e-6.
    """
    import torch

    from harness.networks.ranges import from_network, to_network

    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def apply(batch: Tensor, *arguments: Any) -> Tensor:
        network.to(batch.device)
        with torch.inference_mode():
            result: Tensor = from_network(network, network(to_network(network, batch), *arguments))
        return result

    return apply
