"""Loading weights that were trained here: held to their checksum, loaded strictly, marked as trained."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from harness.assets.weights.recording import UsedWeights, record
from harness.errors import HarnessError
from harness.records.in_use import root_in_use
from harness.records.training_runs import TrainingRun, require_trained

if TYPE_CHECKING:
    from torch import nn


def trained_network(method: str, task: str, level: int, make: Callable[[], nn.Module]) -> nn.Module:
    """Make a network and fill it with the weights of its training run; it is then ready for evaluation.

    Raises NotAvailableError: The run was not made; says how to make it.
    Raises HarnessError: The weights are not those of the record, are damaged, or belong to another network.
    """
    run = TrainingRun(task, method, level)
    about, path = require_trained(root_in_use() or Path(), run)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise HarnessError(f"{path}: cannot be read ({error.strerror or error}); train '{run.name}' again") from None
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != about.weights:
        raise HarnessError(
            f"{path}: has the SHA-256 {sha256[:12]}… instead of {about.weights[:12]}… of its record; "
            f"train '{run.name}' again"
        )
    from safetensors import SafetensorError
    from safetensors.torch import load

    from harness.networks.checkpoints import load_released
    from harness.networks.ranges import rgb_range

    try:
        arrays = load(data)
    except SafetensorError as error:
        raise HarnessError(f"{path}: not a safetensors file ({error}); train '{run.name}' again") from None
    network = load_released(make(), arrays, f"{about.origin} ({run.name}, {sha256[:12]})", kind="trained")
    if about.rgb_range != rgb_range(network):
        raise HarnessError(
            f"{path}: was trained on samples up to {about.rgb_range:g}, the network of '{method}' works in "
            f"0..{rgb_range(network):g}; train '{run.name}' again"
        )
    record(UsedWeights(run.name, path.name, sha256))
    return network
