"""Building a method from a checkpoint: of the weights registry, or a file of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError, NotAvailableError
from harness.files import file_sha256

if TYPE_CHECKING:
    from harness.networks.recognition import RecognisedNetwork


def released_checkpoint(name: str, file: str, architecture: str, task: str, level: int) -> Callable[[Any], Any]:
    """Build the network of a released checkpoint that spandrel recognises.

    Parameters
    ----------
    name, file : str
        Weight set and file in the registry; its format is ``checkpoint``.
    architecture : str
        What it has to be.
    task : str
        Task it is for.
    level : int
        Level it is for.

    Raises
    ------
    NotAvailableError
        The file or spandrel is not here.
    HarnessError
        The file is damaged, or of another architecture, task or scale.
    """
    from harness.assets.weights.loading import load_weights
    from harness.networks.recognition import recognise

    where = f"weights {name}/{file}"
    network = recognise(load_weights(name, file), where)
    if network.about.architecture != architecture:
        raise HarnessError(f"{where}: holds a {network.about.architecture}, not a {architecture}; fetch the right file")
    return _checked(network, where, task, level)


def own_checkpoint(
    name: str, path: Path, sha256: str, task: str, level: int, levels: tuple[int, ...] = ()
) -> Callable[[Any], Any]:
    """Build the network of a checkpoint of the user's own.

    Parameters
    ----------
    name : str
        The method's name, for the record of what was used.
    path : path
        The file (PyTorch or safetensors).
    sha256 : str
        Checksum that it had when the method was written; another file is refused.
    task : str
        Task that is asked for.
    level : int
        Level that is asked for.
    levels : tuple of int
        Levels it was trained for; empty for all.

    Raises
    ------
    NotAvailableError
        The file or spandrel is not here, or it was not trained for this level.
    HarnessError
        The file is another one than it was, damaged, or made for another task or scale.
    """
    import torch

    from harness.assets.weights.importers import import_weights
    from harness.assets.weights.recording import UsedWeights, record
    from harness.networks.recognition import recognise

    if levels and level not in levels:
        known = ", ".join(str(value) for value in levels)
        raise NotAvailableError(f"the checkpoint of '{name}' is for level {known}, not for {level}")
    found = checkpoint_sha256(path)
    if found != sha256:
        raise HarnessError(
            f"{path}: has the SHA-256 {found[:12]}… instead of {sha256[:12]}…; put the former file back, or write "
            f"SHA256 of the method '{name}' anew"
        )
    arrays = import_weights(path, "checkpoint")
    network = recognise({key: torch.from_numpy(array) for key, array in arrays.items()}, str(path))
    record(UsedWeights(name, path.name, found))
    return _checked(network, str(path), task, level)


def checkpoint_sha256(path: Path) -> str:
    """Hash a checkpoint; NotAvailableError where it is gone."""
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise NotAvailableError(f"the checkpoint {path} is not here; put it back") from None
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror or error})") from None


def misfit(inputs: int, outputs: int, scale: int, task: str, level: int) -> str:
    """Say why a network does not fit a task; empty where it does.

    Parameters
    ----------
    inputs, outputs, scale : int
        Channels, and by how much it enlarges.
    task : str
        Task.
    level : int
        Level; the scale in super-resolution.
    """
    from harness.records.tasks import task as task_of

    wanted = task_of(task)
    if task == "sr" and scale != level:
        return f"enlarges by {scale}, not by {level}"
    if task != "sr" and scale != 1:
        return f"enlarges by {scale}, {wanted.title} keeps the size"
    if (inputs, outputs) != (wanted.channels, wanted.channels):
        return f"takes {inputs} and gives {outputs} channels, {wanted.title} has {wanted.channels}"
    return ""


def _checked(network: RecognisedNetwork, where: str, task: str, level: int) -> Callable[[Any], Any]:
    about = network.about
    problem = misfit(about.inputs, about.outputs, about.scale, task, level)
    if task == "sr" and about.scale != level:
        raise NotAvailableError(f"{where}: {problem}")
    if problem:
        raise HarnessError(f"{where}: this {about.architecture} {problem}")
    return network
