"""What runs leave on disk: checkpoints of unfinished ones, and the folders of finished ones, which DVC tracks.

A checkpoint is one safetensors file, replaced whole, that holds no code.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import msgspec
import torch
from torch import Tensor, nn

from harness.errors import HarnessError
from harness.files import file_sha256, whole_file, write_json
from harness.records.training_runs import RECORD, WEIGHTS, TrainedRecord

FILE = "checkpoint.safetensors"


class Progress(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a run stands.

    `code`: Fingerprints of the code that made them.
    """

    iteration: int = 0
    seconds: float = 0.0
    code: tuple[str, ...] = ()


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> None:
    """Write a safetensors file whole and to the disk itself; HarnessError leaves the old one as it was."""
    from safetensors.torch import save

    # PANet names its one PReLU slope under every block; a file holds each name with bytes of its own.
    data = save(
        {key: value.detach().cpu().clone().contiguous() for key, value in tensors.items()}, dict(metadata or {})
    )
    with whole_file(path) as part, open(part, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise HarnessError(f"{path}: damaged ({error}); delete it, and the run begins again") from None


def write_checkpoint(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: Mapping[str, Tensor],
    progress: Progress,
) -> None:
    """Write everything that the next step depends on: weights, optimiser, moving average, number of steps.

    Samples and noise need no state: they follow from the number of the step.
    """
    tensors = {f"network.{key}": value for key, value in network.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in average.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    write_tensors(path, tensors, {"progress": msgspec.json.encode(progress).decode()})


def read_checkpoint(path: Path) -> tuple[Progress, dict[str, Tensor]]:
    """Read where a run stands, and all tensors of its file.

    Raises HarnessError: The file is damaged.
    """
    tensors = read_tensors(path)
    return read_progress(path), tensors


def read_progress(path: Path) -> Progress:
    """Read where a run stands, and none of its tensors; the file is a checkpoint's and whole."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return msgspec.json.decode(file.metadata()["progress"], type=Progress)


def restore_checkpoint(
    tensors: Mapping[str, Tensor],
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    average: dict[str, Tensor],
) -> None:
    """Fill network, optimiser and average from a checkpoint's tensors.

    Raises HarnessError: They belong to another network; `path` is where they were read.
    """
    parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimizer": {}}
    for name, tensor in tensors.items():
        part, _, key = name.partition(".")
        parts[part][key] = tensor
    try:
        network.load_state_dict(parts["network"], strict=True)
    except RuntimeError:
        raise HarnessError(f"{path}: belongs to another network; delete it, and the run begins again") from None
    for key in average:
        average[key].copy_(parts["average"][key])
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        index, _, key = name.partition(".")
        state.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})


def begin_with(network: nn.Module, path: Path, sha256: str, name: str) -> str:
    """Fill a network with the trained weights that fit it by name and shape; the others stay as they are.

    So a network for one scale begins with the body of another's, and keeps its own upsampling.

    `network`: Is changed.
    `path`: Weights of another run.
    Returns: What was taken, in words.
    Raises HarnessError: The file is damaged or has another checksum, or nothing fits.
    """
    if file_sha256(path, "") != sha256:
        raise HarnessError(f"{path}: has another SHA-256 than its record says; train '{name}' again")
    there, own = read_tensors(path), network.state_dict()
    fitting = {key: value for key, value in there.items() if key in own and own[key].shape == value.shape}
    if not fitting:
        raise HarnessError(f"nothing of '{name}' fits this network; start from a run of a network that is built alike")
    network.load_state_dict(fitting, strict=False)
    left = [key for key in own if key not in fitting]
    text = f"begins with {len(fitting)} of {len(own)} tensors of {name}"
    more = f" and {len(left) - 3} more" if len(left) > 3 else ""
    return text + (f"; random: {', '.join(left[:3])}{more}" if left else "")


def export(record: TrainedRecord, source: Path | None, target: Path) -> None:
    """Replace the folder `target` by a run's result, or by the reason why there is none.

    Raises HarnessError: The disk is full or the like; the old folder is as it was.
    """
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        if source is not None:
            for name in (WEIGHTS, "recipe.json", "log.csv"):
                shutil.copyfile(source / name, part / name)
        write_json(part / RECORD, record)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
    except OSError as error:
        raise HarnessError(
            f"{target}: cannot be written ({error.strerror or error}); the training itself is kept, "
            "run the same command again"
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
