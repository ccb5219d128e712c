"""IRCNN's denoisers with the authors' weights: the model whose range of noise levels begins at the given one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.errors import NotAvailableError
from harness.methods import method

SINGLE = (10, 30, 50)  # levels that the weight set `ircnn` has as files of their own


def _file(task: str, level: int) -> str:
    colour = "color" if task == "denoise-rgb" else "gray"
    if level in SINGLE:
        return f"ircnn/{colour}-sigma{level}to{level + 2}.npz"
    return f"ircnn-release/{colour}.mat" if 2 <= level <= 50 else ""


@method(
    "ircnn",
    tasks=["denoise-rgb", "denoise-gray"],
    title="IRCNN",
    paper="Zhang et al., CVPR 2017",
    url="https://github.com/cszn/IRCNN",
    origin="released",
    weights=["ircnn", "ircnn-release"],
    file=_file,
    rgb_range=1,
)
def build(task: str, level: int) -> Callable[[Any], Any]:
    """Build the denoiser of a noise level up to 50: from its single file, or from the release of all 25."""
    from harness.assets.weights.loading import load_weights, ready
    from harness.networks.checkpoints import load_released
    from harness.networks.ircnn import IRCNN

    if not 2 <= level <= 50:
        raise NotAvailableError(f"IRCNN was released for sigma 2 to 50, not for {level}")
    colour, channels = ("color", 3) if task == "denoise-rgb" else ("gray", 1)
    tensors = None
    if level in SINGLE:
        where = f"weights ircnn/{colour}-sigma{level}to{level + 2}.npz"
        try:
            tensors = load_weights("ircnn", where.rpartition("/")[2])
        except NotAvailableError:
            tensors = None
    if tensors is None:
        # The k-th of the 25 denoisers is for sigma 2k to 2k + 2.
        prefix = f"level{(level + 1) // 2}."
        where = f"weights ircnn-release/{colour}.mat"
        released = load_weights("ircnn-release", f"{colour}.mat")
        tensors = {name.removeprefix(prefix): t for name, t in released.items() if name.startswith(prefix)}
    network = IRCNN(channels)
    load_released(network, tensors, where)
    return ready(network)
