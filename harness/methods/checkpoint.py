"""Building a method from a checkpoint: of the weights registry, or a file of the user's own."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from harness.errors import HarnessError, NotAvailableError
from harness.errors import path as path_of
from harness.files import file_sha256
from harness.records.in_use import name_in_use, root_in_use

if TYPE_CHECKING:
    from torch import Tensor, nn

    from harness.networks.recognition import RecognisedNetwork

Network = TypeVar("Network", bound="nn.Module")


def load_weights(network: Network, path: str | os.PathLike[str]) -> Network:
    """Fill a network of your own with a checkpoint, strictly, and record the file with every result.

    Nothing is unpickled. What training programs wrap around the weights is taken off (`harness.networks.wrappers`):
    ``{"params_ema": …}``, ``{"state_dict": …}``, ``module.`` before every name. The file's name, size and SHA-256 stand
    in the record of whatever the network restores (``harness why``).

    Parameters
    ----------
    network : Module
        The network as your program builds it; changed in place.
    path : path
        A PyTorch or safetensors file; a relative path is taken from the workspace. Name it in the method's ``depends``,
        too: a changed file then runs the method again.

    Returns
    -------
    Module
        The network itself, in evaluation mode, ready to be returned by ``build``.

    Raises
    ------
    NotAvailableError
        The file is not here: the method's cells are then ``not run``.
    HarnessError
        One sentence: the file holds no weights, or code; or what is missing, left over, misshaped or not finite.

    Examples
    --------
    >>> import torch
    >>> import harness
    >>> trained = torch.nn.Conv2d(3, 3, 3, padding=1)
    >>> state = {f"module.{name}": value for name, value in trained.state_dict().items()}
    >>> torch.save({"epoch": 7, "state_dict": state}, "my_net.pth")
    >>> network = harness.load_weights(torch.nn.Conv2d(3, 3, 3, padding=1), "my_net.pth")
    >>> bool((network.weight == trained.weight).all())
    True
    """
    from harness.networks.checkpoints import load_released

    found = (root_in_use() or Path()) / path_of(path, "the checkpoint of harness.load_weights")
    sha256 = checkpoint_sha256(found)
    return load_released(network, _own_weights(found, sha256), f"{path} (SHA-256 {sha256[:12]}…)", kind="trained")


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
        The method's name, for errors.
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
    return _checked(recognise(_own_weights(path, found), str(path)), str(path), task, level)


def _own_weights(path: Path, sha256: str) -> dict[str, Tensor]:
    """Read a file of the user's own, and record it as used."""
    import torch

    from harness.assets.weights.importers import import_checkpoint
    from harness.assets.weights.recording import UsedWeights, record

    arrays, part = import_checkpoint(path, remedy="save it again")
    if checkpoint_sha256(path) != sha256:
        raise HarnessError(f"{path}: was replaced while it was read; run the same command again")
    record(UsedWeights("", name_in_use(path), sha256, path.stat().st_size, part))
    return {key: torch.from_numpy(array) for key, array in arrays.items()}


def checkpoint_sha256(path: Path) -> str:
    """Hash a checkpoint; NotAvailableError where it is gone."""
    try:
        return file_sha256(path)
    except FileNotFoundError:
        raise NotAvailableError(f"the checkpoint {path} is not here; put the file there, or correct the path") from None
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
